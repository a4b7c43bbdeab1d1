//! What a fetch has read.

use bytes::{Buf, Bytes};
use prost::Message;
use sluicegate_protocol::KafkaMessage;
use sluicegate_shared_log::Ends;

/// The result of a fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fetched {
    /// The `messages` of a `KafkaFetchResp`, encoded. Empty at the end of the log.
    pub(crate) messages: Bytes,
    /// The number of records.
    pub(crate) count: usize,
    /// The offset to continue from. It can be beyond the requested offset even without records.
    pub(crate) next_offset: i64,
    pub(crate) ends: Ends,
}

impl Fetched {
    /// No records.
    pub(crate) fn nothing(next_offset: i64, ends: Ends) -> Self {
        Self { messages: Bytes::new(), count: 0, next_offset, ends }
    }

    /// The message at the front, and those after it. Decodes one at a time, because decoded messages take more memory.
    pub(crate) fn first(&self) -> Option<(KafkaMessage, Bytes)> {
        first_message(&self.messages)
    }

    /// Drops the message at the front: these are left.
    pub(crate) fn advance_to(&mut self, rest: Bytes) {
        self.messages = rest;
        self.count = self.count.saturating_sub(1);
    }

    /// Leaves the message at the front, and those after it, to the next request.
    pub(crate) fn end(&mut self) {
        if let Some((message, _)) = self.first() {
            self.next_offset = message.offset;
        }
        (self.messages, self.count) = (Bytes::new(), 0);
    }
}

/// The first of encoded `messages`, and those after it.
pub(crate) fn first_message(messages: &Bytes) -> Option<(KafkaMessage, Bytes)> {
    let mut rest = messages.clone();
    if rest.is_empty() {
        return None;
    }
    rest.advance(TAG_BYTES);
    // Cannot fail: the bytes are our own encoding.
    Some((KafkaMessage::decode_length_delimited(&mut rest).ok()?, rest))
}

/// The tag of an entry: one byte, because its field number is below 16.
const TAG_BYTES: usize = 1;

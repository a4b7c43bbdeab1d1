//! Messages that a fetch has read.

use bytes::{Buf, Bytes};
use prost::Message;
use sluicegate_protocol::KafkaMessage;
use sluicegate_shared_log::Chunk;

/// Decodes messages one at a time, because decoded ones take more memory.
pub trait DecodeMessages {
    /// The message at the front, and those after it.
    fn first(&self) -> Option<(KafkaMessage, Bytes)>;

    /// Drops the message at the front: these are left.
    fn advance_to(&mut self, rest: Bytes);

    /// Leaves the message at the front, and those after it, to the next request.
    fn end(&mut self);
}

impl DecodeMessages for Chunk {
    fn first(&self) -> Option<(KafkaMessage, Bytes)> {
        first_message(&self.messages)
    }

    fn advance_to(&mut self, rest: Bytes) {
        self.messages = rest;
        self.count = self.count.saturating_sub(1);
    }

    fn end(&mut self) {
        if let Some((message, _)) = self.first() {
            self.next_offset = message.offset;
        }
        (self.messages, self.count) = (Bytes::new(), 0);
    }
}

/// The first of encoded `messages`, and those after it.
pub fn first_message(messages: &Bytes) -> Option<(KafkaMessage, Bytes)> {
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

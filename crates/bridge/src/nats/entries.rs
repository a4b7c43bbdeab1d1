//! Messages as the entries of a shared log: encoded as the `messages` of a `KafkaFetchResp`.

use bytes::Buf;
use prost::encoding::{WireType, decode_key, decode_varint, message};
use sluicegate_protocol::KafkaMessage;
use sluicegate_shared_log::{Chunk, Ends, Entry};

use crate::backend::{Fetch, Fetched};

/// Encoded messages of one stream, in order.
#[derive(Debug, Default)]
pub(super) struct Entries {
    bytes: Vec<u8>,
    count: usize,
    first: i64,
    last: i64,
}

impl Entries {
    /// Adds a message. False if it does not come after those before.
    pub(super) fn push(&mut self, message: &KafkaMessage) -> bool {
        let is_next = message.offset > self.last;
        if is_next {
            message::encode(MESSAGES, message, &mut self.bytes);
            self.count = self.count.saturating_add(1);
            self.last = message.offset;
            if self.count == 1 {
                self.first = message.offset;
            }
        }
        is_next
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The encoded size in bytes.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The sequence of the first message; 0 without one.
    pub(super) fn first(&self) -> i64 {
        self.first
    }

    /// The sequence of the last message; 0 without one.
    pub(super) fn last(&self) -> i64 {
        self.last
    }

    /// A chunk that begins at `base`: the stream has no message between that and the first one.
    pub(super) fn into_chunk(mut self, base: i64, ends: Ends) -> Chunk {
        self.bytes.shrink_to_fit();
        let next = self.last.saturating_add(1).max(base);
        let Ends { end, .. } = ends.reaching(next);
        let ends = Ends { stable: end, end, ..ends };
        Chunk { base, next, entries: self.bytes.into(), count: self.count, ends }
    }
}

/// The first of encoded messages.
pub(super) fn first_entry(bytes: &[u8]) -> Option<Entry> {
    let mut rest = bytes;
    let (MESSAGES, WireType::LengthDelimited) = decode_key(&mut rest).ok()? else { return None };
    let fields_len = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
    let mut fields = rest.get(..fields_len)?;
    let len = bytes.len().checked_sub(rest.remaining())?.checked_add(fields_len)?;
    let (OFFSET, WireType::Varint) = decode_key(&mut fields).ok()? else { return None };
    Some(Entry { position: decode_varint(&mut fields).ok()?.cast_signed(), len })
}

/// Whether a fetch waits for more messages than these.
pub(super) fn is_too_small(read: &Chunk, fetch: &Fetch) -> bool {
    read.is_too_small(fetch.min_bytes.min(fetch.max_bytes), fetch.max_records)
}

/// Whether a fetch that fills its answer goes on after these.
pub(super) fn is_half_empty(read: &Chunk, fetch: &Fetch) -> bool {
    fetch.fill && read.is_too_small(fetch.max_bytes / 2, fetch.max_records)
}

/// The first `max_records` of a chunk; 0: all.
pub(super) fn fetched(chunk: Chunk, max_records: usize) -> Fetched {
    let Chunk { entries: messages, count, next: next_offset, ends, .. } =
        chunk.first_entries(max_records, first_entry);
    Fetched { messages, count, next_offset, ends }
}

/// The field number in `KafkaFetchResp`.
const MESSAGES: u32 = 1;
/// The field number in `KafkaMessage`. The field is always there, because sequences begin with 1.
const OFFSET: u32 = 1;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::{collection::vec, prelude::*};
    use prost::Message;
    use sluicegate_protocol::{Header, KafkaFetchResp};

    use super::*;

    fn stored(sequence: i64, data: Vec<u8>, headers: &[(String, Vec<u8>)]) -> KafkaMessage {
        let header = |(key, value): &(String, Vec<u8>)| Header {
            key: key.clone(),
            value: Some(Bytes::copy_from_slice(value)),
        };
        KafkaMessage {
            offset: sequence,
            timestamp: 7,
            key: Some("orders.eu".into()),
            value: Some(data.into()),
            headers: headers.iter().map(header).collect(),
            ..KafkaMessage::default()
        }
    }

    fn chunk(messages: &[KafkaMessage]) -> Chunk {
        let mut entries = Entries::default();
        assert!(messages.iter().all(|message| entries.push(message)));
        entries.into_chunk(1, Ends::UNKNOWN)
    }

    proptest! {
        #[test]
        fn entries_are_the_messages_of_a_response(
            messages in vec((1_i64..1000, vec(any::<u8>(), 0..200), vec((".{0,9}", vec(any::<u8>(), 0..9)), 0..3)), 1..20),
        ) {
            let mut sequence = 0;
            let messages: Vec<KafkaMessage> = messages
                .into_iter()
                .map(|(gap, data, headers)| {
                    sequence += gap;
                    stored(sequence, data, &headers)
                })
                .collect();
            let chunk = chunk(&messages);
            prop_assert_eq!((chunk.base, chunk.next, chunk.count), (1, sequence + 1, messages.len()));
            let response = KafkaFetchResp { messages: messages.clone(), ..KafkaFetchResp::default() };
            prop_assert_eq!(&chunk.entries[..], &response.encode_to_vec()[..]);
            let mut rest = &chunk.entries[..];
            for message in &messages {
                let entry = first_entry(rest).unwrap();
                prop_assert_eq!(entry.position, message.offset);
                rest = &rest[entry.len..];
            }
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn random_bytes_are_read_within_their_end(bytes in vec(any::<u8>(), 0..30)) {
            if let Some(entry) = first_entry(&bytes) {
                prop_assert!((2..=bytes.len()).contains(&entry.len));
            }
        }
    }

    #[test]
    fn cut_entry_has_no_end() {
        let chunk = chunk(&[stored(1 << 40, vec![1; 300], &[("a".to_owned(), vec![2])])]);
        for cut in 0..chunk.entries.len() {
            assert_eq!(first_entry(&chunk.entries[..cut]), None, "cut at byte {cut}");
        }
    }

    #[test]
    fn repeated_message_is_left_out() {
        let mut entries = Entries::default();
        let pushed = [3, 3, 2, 4].map(|sequence| entries.push(&stored(sequence, Vec::new(), &[])));
        assert_eq!(pushed, [true, false, false, true]);
        let ends = Ends { start: 1, stable: 3, end: 3 };
        let chunk = entries.into_chunk(2, ends);
        assert_eq!((chunk.count, chunk.next), (2, 5));
        assert_eq!(chunk.ends, Ends { start: 1, stable: 5, end: 5 }, "the log has what was read");
    }

    #[test]
    fn answer_has_at_most_so_many_records() {
        let messages: Vec<KafkaMessage> = [2, 5, 9].map(|sequence| stored(sequence, Vec::new(), &[])).into();
        let next = |max_records| {
            let fetched = fetched(chunk(&messages), max_records);
            (fetched.count, fetched.next_offset)
        };
        assert_eq!([1, 2, 3, 4, 0].map(next), [(1, 3), (2, 6), (3, 10), (3, 10), (3, 10)]);
    }
}

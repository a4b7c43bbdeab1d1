//! Messages as the entries of a shared log: encoded as the `messages` of a `KafkaFetchResp`.

use std::ops::Range;

use bytes::{Buf, Bytes};
use prost::encoding::{WireType, decode_key, decode_varint, message};
use sluicegate_protocol::KafkaMessage;
use sluicegate_shared_log::{Chunk, Ends, Entry};

/// Encoded messages of one stream, in order.
#[derive(Debug, Default)]
pub(super) struct Entries {
    bytes: Vec<u8>,
    count: usize,
    first: i64,
    last: i64,
    /// The number of messages that followed the last one where it was read.
    pending: i64,
    gaps: Vec<Gap>,
}

/// Sequences between two messages.
#[derive(Debug)]
struct Gap {
    from: i64,
    to: i64,
    /// Of the messages before it.
    bytes: usize,
    count: usize,
}

impl Entries {
    /// Adds a message. False if it does not come after those before.
    pub(super) fn push(&mut self, message: &KafkaMessage) -> bool {
        let (from, to) = (self.last.saturating_add(1), message.offset);
        if to < from {
            return false;
        }
        match self.count {
            0 => self.first = to,
            count if from < to => self.gaps.push(Gap { from, to, bytes: self.bytes.len(), count }),
            _ => {}
        }
        message::encode(MESSAGES, message, &mut self.bytes);
        self.count = self.count.saturating_add(1);
        self.last = to;
        true
    }

    /// Notes how many messages followed the last one where it was read.
    pub(super) fn note_pending(&mut self, pending: i64) {
        self.pending = pending.max(0);
    }

    /// The stream had at least this end where the messages were read.
    pub(super) fn known_end(&self) -> i64 {
        self.last.saturating_add(1).saturating_add(self.pending)
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

    /// The ranges without a message, from `base` to before `next`, that a stream which begins at `start` has not
    /// discarded as a whole. A later answer of its leader can say that it has.
    pub(super) fn doubtful_gaps(&self, base: i64, next: i64, start: i64) -> impl Iterator<Item = (i64, i64)> {
        let (first, end) =
            if self.is_empty() { (next, next) } else { (self.first, self.last.saturating_add(1)) };
        // 0 is the beginning of any stream.
        let outer = [(base, first), (end, next)].into_iter().filter(|(from, to)| (1..*to).contains(from));
        let inner = self.gaps.iter().map(|gap| (gap.from, gap.to));
        outer.chain(inner).filter(move |(_, to)| *to > start)
    }

    /// The messages as chunks that are consecutive but for what a stream with these `ends` has discarded. What is
    /// missing within a chunk was deleted one by one. The first chunk begins where `range` does, and is empty if the
    /// messages there were discarded. The last one ends where `range` does, unless the stream has discarded messages
    /// before that.
    ///
    /// The chunks' own start is not after the first message: what was read can be given, also if it was discarded
    /// meanwhile.
    pub(super) fn into_chunks(self, range: Range<i64>, ends: Ends) -> Vec<Chunk> {
        let Self { bytes, count, first, last, gaps, .. } = self;
        let (base, Ends { start, .. }) = (range.start, ends);
        let next = last.saturating_add(1).max(base);
        // An empty answer from 0 on covers the whole range.
        let has_rest = next >= start || (base == 0 && count == 0);
        let next = if has_rest { next.max(range.end) } else { next };
        let Ends { end, .. } = ends.reaching(next);
        let ends = Ends { start: if count == 0 { start } else { start.min(first) }, stable: end, end };
        // 0 is the beginning of any stream.
        let before = Some(Gap { from: base, to: first, bytes: 0, count: 0 });
        let before = before.filter(|gap| (1..gap.to).contains(&gap.from));
        let mut bytes = Bytes::from(bytes);
        let (mut chunks, mut base, mut cut, mut counted) = (Vec::new(), base, 0_usize, 0_usize);
        for gap in before.into_iter().chain(gaps).filter(|gap| gap.from < start) {
            let messages = bytes.split_to(gap.bytes.saturating_sub(cut).min(bytes.len()));
            let count = gap.count.saturating_sub(counted);
            chunks.push(Chunk { base, messages, count, next_offset: gap.from, ends });
            (base, cut, counted) = (start.min(gap.to), gap.bytes, gap.count);
        }
        let count = count.saturating_sub(counted);
        chunks.push(Chunk { base, messages: bytes, count, next_offset: next, ends });
        chunks
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

/// The field number in `KafkaFetchResp`.
const MESSAGES: u32 = 1;
/// The field number in `KafkaMessage`. The field is always there, because sequences begin with 1.
const OFFSET: u32 = 1;

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};
    use prost::Message;
    use sluicegate_protocol::{Header, KafkaFetchResp};
    use sluicegate_shared_log::{AnswerSize, assemble};

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
        only(entries.into_chunks(1..1, Ends::UNKNOWN))
    }

    fn only(chunks: Vec<Chunk>) -> Chunk {
        let [chunk] = chunks.try_into().unwrap();
        chunk
    }

    /// Messages with these sequences.
    fn entries(sequences: &[i64]) -> Entries {
        let mut entries = Entries::default();
        assert!(sequences.iter().all(|sequence| entries.push(&stored(*sequence, vec![7; 9], &[]))));
        entries
    }

    #[test]
    fn chunks_end_where_the_stream_has_discarded_messages() {
        for (sequences, range, start, want) in [
            (&[5, 6, 9][..], 5..10, 5, &[(5, 10, 3)][..]),
            // Deleted one by one.
            (&[5, 6, 9], 4..10, 4, &[(4, 10, 3)]),
            (&[5, 6, 9], 4..12, 10, &[(4, 4, 0), (5, 7, 2), (9, 12, 1)]),
            (&[5, 6, 9], 4..10, 5, &[(4, 4, 0), (5, 10, 3)]),
            (&[5, 6, 9], 5..10, 8, &[(5, 7, 2), (8, 10, 1)]),
            (&[5, 6, 9], 5..12, 100, &[(5, 7, 2), (9, 10, 1)]),
            (&[3, 5, 9], 1..10, 5, &[(1, 1, 0), (3, 4, 1), (5, 10, 2)]),
            (&[3, 5, 9], 0..10, 5, &[(0, 4, 1), (5, 10, 2)]),
            (&[1, 2, 3], 0..5, 5, &[(0, 4, 3)]),
            (&[], 5..9, 100, &[(5, 5, 0)]),
            (&[], 0..9, 9, &[(0, 9, 0)]),
        ] {
            let ends = Ends { start, stable: 200, end: 200 };
            let chunks = entries(sequences).into_chunks(range.clone(), ends);
            let got: Vec<_> =
                chunks.iter().map(|chunk| (chunk.base, chunk.next_offset, chunk.count)).collect();
            assert_eq!(got, want, "{sequences:?} in {range:?}, of a stream from {start}");
            for Chunk { base, messages, count, next_offset, .. } in chunks {
                let within = sequences.iter().filter(|sequence| (base..next_offset).contains(*sequence));
                let own = entries(&within.copied().collect::<Vec<i64>>());
                assert_eq!((own.count(), &own.bytes[..]), (count, &messages[..]));
            }
        }
    }

    #[test]
    fn gap_is_doubtful_until_the_stream_begins_after_it() {
        for (sequences, base, next, want) in [
            (&[5, 6][..], 5, 7, None),
            (&[5, 6], 0, 7, None),
            (&[5, 6], 3, 7, Some(4)),
            (&[5, 6], 5, 9, Some(8)),
            (&[5, 8], 5, 9, Some(7)),
            (&[], 3, 3, None),
            (&[], 3, 9, Some(8)),
            (&[], 0, 9, None),
        ] {
            let entries = entries(sequences);
            let last =
                (0..20).filter(|start| entries.doubtful_gaps(base, next, *start).next().is_some()).max();
            assert_eq!(last, want, "{sequences:?} from {base} to {next}");
        }
    }

    proptest! {
        #[test]
        fn entries_are_the_messages_of_a_response(
            messages in vec(
                (1_i64..1000, vec(any::<u8>(), 0..200), vec((".{0,9}", vec(any::<u8>(), 0..9)), 0..3)),
                1..20,
            ),
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
            prop_assert_eq!((chunk.base, chunk.next_offset, chunk.count), (1, sequence + 1, messages.len()));
            let response = KafkaFetchResp { messages: messages.clone(), ..KafkaFetchResp::default() };
            prop_assert_eq!(&chunk.messages[..], &response.encode_to_vec()[..]);
            let mut rest = &chunk.messages[..];
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
        for cut in 0..chunk.messages.len() {
            assert_eq!(first_entry(&chunk.messages[..cut]), None, "cut at byte {cut}");
        }
    }

    #[test]
    fn repeated_message_is_left_out() {
        let mut entries = Entries::default();
        let pushed = [3, 3, 2, 4].map(|sequence| entries.push(&stored(sequence, Vec::new(), &[])));
        assert_eq!(pushed, [true, false, false, true]);
        let ends = Ends { start: 1, stable: 3, end: 3 };
        let chunk = only(entries.into_chunks(2..2, ends));
        assert_eq!((chunk.count, chunk.next_offset), (2, 5));
        assert_eq!(chunk.ends, Ends { start: 1, stable: 5, end: 5 }, "the log has what was read");
    }

    #[test]
    fn answer_has_at_most_so_many_records() {
        let messages: Vec<KafkaMessage> = [2, 5, 9].map(|sequence| stored(sequence, Vec::new(), &[])).into();
        let next = |max_records| {
            let size = AnswerSize { bytes: usize::MAX, entries: max_records };
            let answer = assemble(&[chunk(&messages)], 2, size, first_entry);
            (answer.count, answer.next_offset)
        };
        assert_eq!([1, 2, 3, 4, 0].map(next), [(1, 3), (2, 6), (3, 10), (3, 10), (3, 10)]);
    }
}

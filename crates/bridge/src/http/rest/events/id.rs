//! The `id` of an event: where the client is in every partition, after the event.
//!
//! A client has only the last `id` that it saw, and bridges keep no state. So an `id` that resumes exactly, without
//! repeated or missing records, contains the position of every partition. Its base is the positions before a delivery,
//! which is encoded once for all records of the delivery; the partition and the position after the record follow as
//! `.PARTITION.OFFSET`. This is exact: a delivery has records of one partition only, in order, and other partitions do
//! not move during it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use prost::encoding::{decode_varint, encode_varint};
use sluicegate_backend::number::whole_number;
use sluicegate_delivery::NOT_BEGUN;

use super::super::super::problem::{Problem, ProblemKind};

/// An `id` that a client has sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Id {
    pub(super) positions: Positions,
    /// The stream ended with an error that a retry does not help.
    pub(super) is_over: bool,
}

/// A position in each partition of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Positions {
    pub(super) topic_id: Option<u128>,
    /// When a table had all that was in its logs last, in seconds since 1970; None: the stream is no table.
    pub(super) at: Option<u64>,
    of: Of,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Of {
    /// The next offset of each partition, from 0 on, or [`NOT_BEGUN`]. A partition that is missing is new: it is at 0 too.
    Topic(Vec<i64>),
    Partition(i32, i64),
}

impl Id {
    /// Parses an `id` of a stream of the topic, or of this partition.
    ///
    /// # Errors
    /// It is invalid, or of another stream.
    pub(super) fn parse(text: &str, partition: Option<i32>) -> Result<Self, Problem> {
        let id = Self::decode(text).filter(|id| match (&id.positions.of, partition) {
            (Of::Topic(_), None) => true,
            (Of::Partition(of, _), Some(partition)) => *of == partition,
            (Of::Topic(_), Some(_)) | (Of::Partition(..), None) => false,
        });
        id.ok_or_else(|| {
            let detail = "Last-Event-ID: expected the id of an event of this stream, or none";
            Problem::new(ProblemKind::Malformed, detail)
        })
    }

    fn decode(text: &str) -> Option<Self> {
        if text.len() > MAX_BYTES {
            return None;
        }
        let mut parts = text.split('.');
        let base = BASE64.decode(parts.next()?).ok()?;
        let mut positions = Positions::decode(&base)?;
        let is_over = match [parts.next(), parts.next(), parts.next()] {
            [None, ..] => false,
            [Some(OVER), None, _] => true,
            [Some(partition), Some(next), None] => {
                let partition = i32::try_from(whole_number(partition)?).ok()?;
                let next = whole_number(next).filter(|next| *next >= 0)?;
                let is_of_base = positions.partitions().any(|of_base| of_base == partition);
                (is_of_base && positions.set(partition, next)).then_some(false)?
            }
            _ => return None,
        };
        Some(Self { positions, is_over })
    }
}

impl Positions {
    /// No positions yet of a topic, or of one partition. The topic's id is not known yet.
    pub(super) fn new(partition: Option<i32>) -> Self {
        let of = partition.map_or(Of::Topic(Vec::new()), |partition| Of::Partition(partition, 0));
        Self { topic_id: None, at: None, of }
    }

    /// No positions yet of the same topic or partition.
    pub(super) fn emptied(&self) -> Self {
        Self::new(match self.of {
            Of::Topic(_) => None,
            Of::Partition(partition, _) => Some(partition),
        })
    }

    /// Moves a partition. False if there is no room for it: more than [`MAX_PARTITIONS`] do not fit into an `id`.
    #[must_use]
    pub(super) fn set(&mut self, partition: i32, offset: i64) -> bool {
        match &mut self.of {
            Of::Partition(of, next) if *of == partition => {
                *next = offset;
                true
            }
            Of::Partition(..) => false,
            Of::Topic(next) => {
                let index = usize::try_from(partition).ok().filter(|index| *index < MAX_PARTITIONS);
                let Some(index) = index else { return false };
                if next.len() <= index {
                    next.resize(index.saturating_add(1), 0);
                }
                next.get_mut(index).map(|next| *next = offset).is_some()
            }
        }
    }

    /// The time since `at`, rounded up. None: unknown, because it is no table, or because `at` is ahead of this
    /// bridge's clock.
    pub(super) fn away(&self, now: u64) -> Option<Duration> {
        let at = self.at.filter(|at| *at <= now.saturating_add(1))?;
        // Both are cut to seconds.
        Some(Duration::from_secs(now.saturating_sub(at).saturating_add(1)))
    }

    pub(super) fn partitions(&self) -> impl Iterator<Item = i32> {
        self.each().map(|(partition, _)| partition)
    }

    /// Where a subscription continues.
    pub(super) fn next(&self) -> Vec<(i32, i64)> {
        self.each().collect()
    }

    fn each(&self) -> impl Iterator<Item = (i32, i64)> {
        let (first, offsets) = match &self.of {
            Of::Topic(next) => (0, next.as_slice()),
            Of::Partition(partition, next) => (*partition, std::slice::from_ref(next)),
        };
        let number = move |index: usize| first.saturating_add(i32::try_from(index).unwrap_or(i32::MAX));
        offsets.iter().enumerate().map(move |(index, offset)| (number(index), *offset))
    }

    /// As the base of an `id`: a first byte, the topic's id if the cluster tells it, the time if it is a table, and the
    /// partition if it is one. The offsets are differences from the one before, because those of a topic are often
    /// similar.
    pub(super) fn encode(&self) -> String {
        let flag = |flag: u8, is_set: bool| if is_set { flag } else { 0 };
        let mut bytes = vec![
            VERSION
                | flag(TOPIC_ID, self.topic_id.is_some())
                | flag(TABLE, self.at.is_some())
                | flag(PARTITION, matches!(self.of, Of::Partition(..))),
        ];
        bytes.extend(self.topic_id.iter().flat_map(|id| id.to_be_bytes()));
        if let Some(at) = self.at {
            encode_varint(at, &mut bytes);
        }
        if let Of::Partition(partition, _) = self.of {
            encode_varint(u64::from(partition.unsigned_abs()), &mut bytes);
        }
        let mut before = 0;
        for (_, offset) in self.each() {
            let difference = offset.wrapping_sub(before);
            // Zigzag: the sign goes to the last bit.
            encode_varint(
                (difference.wrapping_shl(1) ^ difference.wrapping_shr(63)).cast_unsigned(),
                &mut bytes,
            );
            before = offset;
        }
        BASE64.encode(bytes)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (first, mut rest) = bytes.split_first()?;
        if first & !(TOPIC_ID | PARTITION | TABLE) != VERSION {
            return None;
        }
        let topic_id = match first & TOPIC_ID {
            0 => None,
            _ => {
                let (id, behind) = rest.split_first_chunk::<16>()?;
                rest = behind;
                Some(u128::from_be_bytes(*id))
            }
        };
        let at = match first & TABLE {
            0 => None,
            _ => Some(decode_varint(&mut rest).ok()?),
        };
        let partition = match first & PARTITION {
            0 => None,
            _ => Some(i32::try_from(decode_varint(&mut rest).ok()?).ok()?),
        };
        let mut offsets = Vec::new();
        let mut before = 0_i64;
        while !rest.is_empty() && offsets.len() < MAX_PARTITIONS {
            let zigzag = decode_varint(&mut rest).ok()?;
            let difference = (zigzag >> 1).cast_signed() ^ (zigzag & 1).cast_signed().wrapping_neg();
            before = before.wrapping_add(difference);
            if before < NOT_BEGUN {
                return None;
            }
            offsets.push(before);
        }
        let of = match (partition, &offsets[..]) {
            (None, [_, ..]) => Of::Topic(offsets),
            (Some(partition), [offset]) => Of::Partition(partition, *offset),
            _ => return None,
        };
        rest.is_empty().then_some(Self { topic_id, at, of })
    }
}

/// The time so long ago, in seconds since 1970.
pub(super) fn ago(time: Duration) -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.saturating_sub(time).as_secs())
}

/// The `id` of a stream that has ended with an error that a retry does not help.
pub(super) fn over(base: &str) -> String {
    format!("{base}.{OVER}")
}

/// Partitions of a stream. nginx accepts 8 KiB in a header, which [`MAX_BYTES`] must leave room in.
pub(super) const MAX_PARTITIONS: usize = 256;

const VERSION: u8 = 1 << 2;
/// The first byte's flag for a topic id.
const TOPIC_ID: u8 = 1 << 1;
/// The first byte's flag for a table.
const TABLE: u8 = 1 << 3;
/// The first byte's flag for a stream of one partition.
const PARTITION: u8 = 1;
const OVER: &str = "over";

/// The longest `id`: that of the most partitions, with offsets that need ten bytes each.
const MAX_BYTES: usize =
    (4 * (1 + 16 + 10 + 10 * MAX_PARTITIONS)).div_ceil(3) + ".2147483647.9223372036854775807".len();
const _: () = assert!(MAX_BYTES < 4 * 1024);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of_topic(offsets: &[i64]) -> Positions {
        let mut positions = Positions { topic_id: Some(u128::MAX / 3), ..Positions::new(None) };
        for (partition, offset) in (0..).zip(offsets) {
            assert!(positions.set(partition, *offset));
        }
        positions
    }

    #[track_caller]
    fn check(text: &str, want: Option<(&Positions, bool)>) {
        let id = Id::decode(text);
        assert_eq!(id.as_ref().map(|id| (&id.positions, id.is_over)), want, "{text}");
    }

    #[test]
    fn id_has_every_position() {
        let base = of_topic(&[5, 9, 0]);
        let text = base.encode();
        check(&text, Some((&base, false)));
        check(&over(&text), Some((&base, true)));
        check(&format!("{text}.1.12"), Some((&of_topic(&[5, 12, 0]), false)));
        let mut one = Positions::new(Some(7));
        assert!(one.set(7, 12) && !one.clone().set(6, 12));
        check(&one.encode(), Some((&one, false)));
        for bad in ["", ".", ".over", "!", "AA", "BA", "over"] {
            check(bad, None);
        }
        for bad in [".", ".1", ".1.", ".3.1", ".-1.1", ".1.-1", ".1.x", ".1.2.3", ".over.1", ".1.2.over", "="]
        {
            check(&format!("{text}{bad}"), None);
        }
        check(&format!("{}.6.1", one.encode()), None);
        assert!(Id::parse(&one.encode(), Some(7)).is_ok());
        for (text, partition) in [(&one.encode(), None), (&one.encode(), Some(6)), (&text, Some(0))] {
            assert!(Id::parse(text, partition).is_err());
        }
    }

    /// nginx accepts header lines of 8 KiB.
    #[test]
    fn longest_id_fits_into_a_header() {
        let offsets: Vec<i64> =
            (0..MAX_PARTITIONS).map(|number| if number % 2 == 0 { i64::MAX } else { 0 }).collect();
        let mut positions = of_topic(&offsets);
        assert!(!positions.set(256, 0) && !positions.set(-1, 0));
        positions.at = Some(u64::MAX);
        let text = format!("{}.{}.{}", positions.encode(), i32::MAX, i64::MAX);
        assert_eq!(text.len(), MAX_BYTES);
        check(&positions.encode(), Some((&positions, false)));
        let usual: Vec<i64> = (0..256).map(|number| 1_000_000_000 + number * 619_937 % 1_000_000).collect();
        for (partitions, want) in [(1, 30), (16, 90), (256, 1050)] {
            assert_eq!(of_topic(&usual[..partitions]).encode().len(), want, "{partitions} partitions");
        }
    }

    #[test]
    fn absence_is_unknown_if_the_time_is_ahead() {
        for (at, want) in [
            (None, None),
            (Some(90), Some(11)),
            (Some(100), Some(1)),
            (Some(101), Some(1)),
            (Some(102), None),
        ] {
            let away = Positions { at, ..Positions::new(None) }.away(100);
            assert_eq!(away, want.map(Duration::from_secs), "{at:?}");
        }
    }

    proptest! {
        #[test]
        fn ids_are_exact_and_cut_ones_are_safe(
            topic_id: Option<u128>,
            at: Option<u64>,
            partition in prop::option::of(0..=i32::MAX),
            offsets in prop::collection::vec(prop_oneof![0..=i64::MAX, 0..1000_i64], 1..=MAX_PARTITIONS),
        ) {
            let mut positions = Positions { topic_id, at, ..Positions::new(partition) };
            for (number, offset) in (0..).zip(&offsets) {
                prop_assert!(positions.set(partition.unwrap_or(number), *offset));
            }
            let text = positions.encode();
            prop_assert_eq!(Id::decode(&text).map(|id| id.positions), Some(positions));
            for cut in 0..text.len() {
                let _ = Id::decode(&text[..cut]);
            }
        }

        #[test]
        fn arbitrary_bytes_are_safe(flags in 0..16_u8, bytes in prop::collection::vec(any::<u8>(), 0..100), tail in "[.0-9over-]{0,12}") {
            let all = [&[flags], &bytes[..]].concat();
            if let Some(id) = Id::decode(&(BASE64.encode(&all) + &tail)) {
                prop_assert!(id.positions.each().all(|(partition, offset)| partition >= 0 && offset >= 0));
                prop_assert_eq!(Positions::decode(&BASE64.decode(id.positions.encode()).unwrap()), Some(id.positions));
            }
        }
    }
}

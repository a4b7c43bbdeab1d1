//! Transactions: what readers of committed records get.

use proptest::prelude::*;
use prost::Message;
use sluicegate_protocol::KafkaFetchResp;
use sluicegate_records::{AbortedTransaction, Encoder, Limits};

use super::batch::{Batch, CONTROL, Record, TRANSACTIONAL};
use super::{LIMITS, concat};

/// The next event in a log.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// A batch of so many records, by this producer in its transaction.
    Write(i64, usize),
    /// By no transaction.
    Plain(usize),
    Commit(i64),
    Abort(i64),
}

/// A log, and what should be read from it.
#[derive(Default)]
struct Log {
    batches: Vec<Batch>,
    /// With the offset of their markers.
    aborted: Vec<(AbortedTransaction, i64)>,
    committed: Vec<i64>,
}

impl Log {
    fn of(events: &[Event]) -> Self {
        let mut log = Self::default();
        // The offsets of each producer's open transaction.
        let mut open = [const { Vec::<i64>::new() }; 3];
        for event in events {
            let base = log.batches.last().map_or(0, Batch::next_offset);
            let offsets = |count: usize| (base..).take(count);
            match *event {
                Event::Plain(count) => {
                    log.committed.extend(offsets(count));
                    log.batches.push(Batch::of_values(base, &vec!["v"; count]));
                }
                Event::Write(producer, count) => {
                    open[producer as usize].extend(offsets(count));
                    let batch = Batch::of_values(base, &vec!["v"; count]);
                    log.batches.push(batch.with(|batch| {
                        (batch.producer_id, batch.attributes) = (producer, TRANSACTIONAL);
                        // Of a marker that aborts, which a batch of records is not.
                        batch.records[0].key = Some(vec![0; 4]);
                    }));
                }
                Event::Commit(producer) => {
                    log.committed.append(&mut open[producer as usize]);
                    log.batches.push(marker(base, producer, 1));
                }
                Event::Abort(producer) => {
                    let offsets = std::mem::take(&mut open[producer as usize]);
                    if let Some(first) = offsets.first() {
                        let aborted = AbortedTransaction { producer_id: producer, first_offset: *first };
                        log.aborted.push((aborted, base));
                    }
                    log.batches.push(marker(base, producer, 0));
                }
            }
        }
        log.committed.sort_unstable();
        // Open transactions are beyond the last stable offset: brokers do not send them.
        let stable = open.iter().flatten().min().copied().unwrap_or(i64::MAX);
        log.batches.retain(|batch| batch.base_offset < stable);
        log.committed.retain(|offset| *offset < stable);
        log
    }

    /// The offsets of a walk. As a broker does, it lists the transactions that end at or after the fetch offset.
    fn read(&self, from: i64, max_bytes: usize) -> Vec<i64> {
        let (mut offsets, mut next) = (Vec::new(), from);
        loop {
            // Brokers begin with the batch that holds the offset.
            let rest: Vec<Batch> =
                self.batches.iter().filter(|batch| batch.next_offset() > next).cloned().collect();
            let aborted = self.aborted.iter().filter(|(_, end)| *end >= next);
            let aborted: Vec<_> = aborted.map(|(aborted, _)| *aborted).collect();
            let mut out = Vec::new();
            let limits = Limits { max_bytes, ..LIMITS };
            let encoded =
                Encoder::new().encode_committed(&concat(&rest), next, &limits, &aborted, &mut out).unwrap();
            let messages = KafkaFetchResp::decode(&out[..]).unwrap().messages;
            offsets.extend(messages.iter().map(|message| message.offset));
            if encoded.next_offset == next {
                return offsets;
            }
            next = encoded.next_offset;
        }
    }
}

/// The end of a transaction: 0 for an abort, 1 for a commit.
fn marker(base_offset: i64, producer_id: i64, kind: u8) -> Batch {
    let record = Record { key: Some(vec![0, 0, 0, kind]), value: Some(vec![0; 6]), ..Record::default() };
    let attributes = TRANSACTIONAL | CONTROL;
    Batch { base_offset, producer_id, attributes, records: vec![record], ..Batch::default() }
}

#[test]
fn aborted_records_are_read_if_they_are_not_listed() {
    let log = Log::of(&[Event::Write(0, 2), Event::Abort(0)]);
    let mut out = Vec::new();
    let encoded = Encoder::new().encode(&concat(&log.batches), 0, &LIMITS, &mut out).unwrap();
    assert_eq!((encoded.count, encoded.next_offset), (2, 3));
}

fn event() -> impl Strategy<Value = Event> {
    let producer = || 0_i64..3;
    prop_oneof![
        4 => (producer(), 1_usize..4).prop_map(|(producer, count)| Event::Write(producer, count)),
        1 => (1_usize..4).prop_map(Event::Plain),
        1 => producer().prop_map(Event::Commit),
        1 => producer().prop_map(Event::Abort),
    ]
}

proptest! {
    #[test]
    fn committed_records_are_read_from_every_offset(
        events in proptest::collection::vec(event(), 1..30),
        max_bytes in 0_usize..60,
    ) {
        let log = Log::of(&events);
        let end = log.batches.last().map_or(0, Batch::next_offset);
        for from in 0..=end {
            let want: Vec<i64> = log.committed.iter().copied().filter(|offset| *offset >= from).collect();
            prop_assert_eq!(log.read(from, max_bytes), want, "from offset {}", from);
        }
    }
}

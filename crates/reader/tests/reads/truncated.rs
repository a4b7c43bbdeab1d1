//! A log that a new leader has cut, as after an unclean election: no answer mixes records of both leaders.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kafka_protocol::messages::RequestKind;
use sluicegate_shared_log::Fetch;

use crate::scripted::{Broker, EPOCH, TOPIC, Topic};
use crate::support::{Calls as _, at, switch, values, waiting};

const OFFSET_OUT_OF_RANGE: i16 = 1;
const FENCED_LEADER_EPOCH: i16 = 74;

/// A log of one record in each answer: `o` up to offset 99, and from the second epoch on, `n` up to `end`.
async fn log(is_cut: &'static AtomicBool, end: i64) -> Broker {
    Broker::start(move |asked| {
        let is_cut = is_cut.load(Ordering::SeqCst);
        let (epoch, end, value) = if is_cut { (EPOCH + 1, end, b'n') } else { (EPOCH, 100, b'o') };
        let request = match &asked.kind {
            RequestKind::Fetch(request) => request,
            RequestKind::Metadata(_) => return asked.metadata(&[asked.broker], Topic { epoch, ..TOPIC }),
            _ => return asked.usual(),
        };
        match asked.offset() {
            _ if request.topics[0].partitions[0].current_leader_epoch != epoch => {
                asked.rejected(FENCED_LEADER_EPOCH)
            }
            offset if offset > end => asked.rejected(OFFSET_OUT_OF_RANGE),
            offset if offset == end => asked.fetched(end, b"").after(asked.wait()),
            _ => asked.record(end, value),
        }
    })
    .await
}

/// Records 0 and 1 were read from the old leader. What this fetch of many records from 0 on gives then.
async fn read_across(end: i64, across: Fetch) -> String {
    let is_cut = switch();
    let broker = log(is_cut, end).await;
    let reader = broker.reader();
    for offset in 0..2 {
        assert_eq!(reader.read("t", at(offset)).await.expect("a record").count, 1);
    }
    is_cut.store(true, Ordering::SeqCst);
    let fetched = reader.read("t", across).await.expect("records");
    assert_eq!(fetched.next_offset, end.min(4));
    values(&fetched)
}

#[tokio::test]
async fn answer_has_records_of_one_leader() {
    // Waits for more than there is, or reads on while there is more.
    let gathering = Fetch { min_bytes: 10_000, max_records: 4, ..waiting(0, Duration::from_secs(2)) };
    let filling = Fetch { fill: true, max_records: 4, ..at(0) };
    // The shorter log is no error for an offset that it has.
    for (end, want) in [(100, "nnnn"), (1, "n")] {
        for across in [gathering, filling] {
            assert_eq!(read_across(end, across).await, want);
        }
    }
}

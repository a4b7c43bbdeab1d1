//! A log that a new leader has cut, as after an unclean election: no answer mixes records of both leaders.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kafka_protocol::messages::RequestKind;

use crate::batches::one_record;
use crate::scripted::{self, Broker, EPOCH, Step, reader, usual};
use crate::support::{Fetch, Read as _, at, messages};

const OFFSET_OUT_OF_RANGE: i16 = 1;
const FENCED_LEADER_EPOCH: i16 = 74;

/// A log of one record in each answer: `o` up to offset 99, and from the second epoch on, `n` up to `end`.
async fn log(is_cut: Arc<AtomicBool>, end: i64) -> Broker {
    Broker::start(move |asked, address| {
        let is_cut = is_cut.load(Ordering::SeqCst);
        let (epoch, end, value) = if is_cut { (EPOCH + 1, end, b'n') } else { (EPOCH, 100, b'o') };
        let RequestKind::Fetch(request) = &asked.kind else {
            return match asked.kind {
                RequestKind::Metadata(_) => {
                    Step::Answer(scripted::metadata_in(asked, &[address], 0, 1, epoch))
                }
                _ => usual(asked, address),
            };
        };
        let partition = &request.topics[0].partitions[0];
        let offset = partition.fetch_offset;
        let (error, records) = match offset {
            _ if partition.current_leader_epoch != epoch => (FENCED_LEADER_EPOCH, Vec::new()),
            _ if offset > end => (OFFSET_OUT_OF_RANGE, Vec::new()),
            _ if offset == end => (0, Vec::new()),
            _ => (0, one_record(offset, value)),
        };
        let wait = if offset == end { request.max_wait_ms.try_into().expect("a wait") } else { 0 };
        Step::Later(Duration::from_millis(wait), scripted::fetched(asked, error, end, &records))
    })
    .await
}

/// Records 0 and 1 were read from the old leader. What this fetch of many records from 0 on gives then.
async fn read_across(end: i64, across: Fetch<'_>) -> Vec<(i64, u8)> {
    let is_cut = Arc::new(AtomicBool::new(false));
    let broker = log(Arc::clone(&is_cut), end).await;
    let reader = reader(&[broker.address]);
    for offset in 0..2 {
        assert_eq!(reader.read(at("t", 0, offset)).await.expect("a record").count, 1);
    }
    is_cut.store(true, Ordering::SeqCst);
    let fetched = reader.read(across).await.expect("records");
    assert_eq!(fetched.next_offset, end.min(4));
    let record =
        |message: sluicegate_protocol::KafkaMessage| (message.offset, message.value.expect("one")[0]);
    messages(&fetched).into_iter().map(record).collect()
}

/// Waits for more than there is.
fn waiting() -> Fetch<'static> {
    Fetch { min_bytes: 10_000, max_wait: Duration::from_secs(2), max_records: 4, ..at("t", 0, 0) }
}

/// Reads on while there is more.
fn filling() -> Fetch<'static> {
    Fetch { fill: true, max_records: 4, ..at("t", 0, 0) }
}

#[tokio::test]
async fn answer_has_records_of_one_leader() {
    let new: Vec<(i64, u8)> = (0..4).map(|offset| (offset, b'n')).collect();
    assert_eq!(read_across(100, waiting()).await, new);
    assert_eq!(read_across(100, filling()).await, new);
}

#[tokio::test]
async fn shorter_log_is_no_error_for_an_offset_that_it_has() {
    assert_eq!(read_across(1, waiting()).await, [(0, b'n')]);
    assert_eq!(read_across(1, filling()).await, [(0, b'n')]);
}

#[tokio::test]
async fn filled_answer_goes_up_to_its_bounds_or_the_log_end() {
    let broker = log(Arc::default(), 100).await;
    let reader = reader(&[broker.address]);
    let one = reader.read(at("t", 0, 1)).await.expect("a record");
    assert_eq!(one.count, 1);
    let max_bytes = 20 * one.messages.len();
    for (fetch, count) in [
        (filling(), 4),
        (Fetch { max_records: 0, offset: 1, max_bytes, ..filling() }, 10),
        (Fetch { max_records: 0, offset: 97, ..filling() }, 3),
        (Fetch { offset: 100, ..filling() }, 0),
    ] {
        let fetched = reader.read(fetch).await.expect("records");
        assert_eq!((fetched.count, fetched.next_offset), (count, fetch.offset + count as i64), "{fetch:?}");
    }
}

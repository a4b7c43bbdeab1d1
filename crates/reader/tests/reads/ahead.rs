//! Reads ahead of clients that read a log in order.

use sluicegate_reader::Reader;

use crate::scripted::Broker;
use crate::support::{Calls as _, at, until};

#[tokio::test]
async fn records_that_follow_are_read_before_they_are_asked_for() {
    let broker = Broker::of_log(100, 100).await;
    let reader = broker.reader();
    for offset in 7..10 {
        assert_eq!(reader.read("t", at(offset)).await.expect("a record").next_offset, offset + 1);
        let last = if offset == 7 { 7 } else { offset + 1 };
        until(|| broker.fetched() == (7..=last).collect::<Vec<_>>()).await;
    }
    let next = reader.recent("t", 0, at(10)).expect("what was read ahead");
    assert_eq!(next.next_offset, 11);
    until(|| broker.fetched() == [7, 8, 9, 10, 11]).await;
}

/// Reads a log of `end` records, which tells that it ends at `told`, at `offsets`. The offsets of the fetches.
async fn fetched((end, told): (i64, i64), offsets: &[i64]) -> Vec<i64> {
    let broker = Broker::of_log(end, told).await;
    let reader = broker.reader();
    for offset in offsets {
        reader.read("t", at(*offset)).await.expect("an answer");
        settle(&reader).await;
    }
    broker.fetched()
}

#[tokio::test]
async fn nothing_is_read_ahead_of_reads_in_no_order_and_of_the_end() {
    assert_eq!(fetched((100, 100), &[50, 20, 80, 30, 10]).await, [50, 20, 80, 30, 10]);
    assert_eq!(fetched((3, 3), &[0, 1, 2, 3]).await, [0, 1, 2, 3]);
}

#[tokio::test]
async fn place_where_nothing_was_found_is_left_alone() {
    // The log seems longer than it is.
    assert_eq!(fetched((9, 100), &[7, 8, 8, 8, 8, 8]).await, [7, 8, 9]);
}

/// A read ahead that was begun before is sent before this is answered.
async fn settle(reader: &Reader) {
    reader.list("t", -1).await.expect("an end");
}

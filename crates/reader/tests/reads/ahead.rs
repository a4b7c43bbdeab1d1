//! Reads ahead of clients that read a log in order.

use sluicegate_reader::Reader;

use crate::scripted::{Broker, reader};
use crate::support::{Read as _, at, list_offset, until};

#[tokio::test]
async fn records_that_follow_are_read_before_they_are_asked_for() {
    let broker = Broker::of_log(100, 100).await;
    let reader = reader(&[broker.address]);
    let read = async |offset| {
        let fetched = reader.read(at("t", 0, offset)).await.expect("a record");
        assert_eq!(fetched.next_offset, offset + 1);
    };
    read(7).await;
    read(8).await;
    until(|| broker.fetched() == [7, 8, 9]).await;
    read(9).await;
    until(|| broker.fetched() == [7, 8, 9, 10]).await;
    let next = reader.recent("t", 0, at("t", 0, 10).of_log()).expect("what was read ahead");
    assert_eq!(next.next_offset, 11);
    until(|| broker.fetched() == [7, 8, 9, 10, 11]).await;
}

#[tokio::test]
async fn nothing_is_read_ahead_of_reads_in_no_order() {
    let broker = Broker::of_log(100, 100).await;
    let reader = reader(&[broker.address]);
    let offsets = [50, 20, 80, 30, 10];
    for offset in offsets {
        reader.read(at("t", 0, offset)).await.expect("a record");
    }
    settle(&reader).await;
    assert_eq!(broker.fetched(), offsets);
}

#[tokio::test]
async fn nothing_is_read_ahead_of_the_end() {
    let broker = Broker::of_log(3, 3).await;
    let reader = reader(&[broker.address]);
    for offset in 0..=3 {
        reader.read(at("t", 0, offset)).await.expect("an answer");
    }
    settle(&reader).await;
    assert_eq!(broker.fetched(), [0, 1, 2, 3]);
}

#[tokio::test]
async fn place_where_nothing_was_found_is_left_alone() {
    // The log seems longer than it is.
    let broker = Broker::of_log(9, 100).await;
    let reader = reader(&[broker.address]);
    for offset in [7, 8] {
        reader.read(at("t", 0, offset)).await.expect("a record");
    }
    until(|| broker.fetched() == [7, 8, 9]).await;
    for _ in 0..5 {
        reader.read(at("t", 0, 8)).await.expect("a record");
        settle(&reader).await;
    }
    assert_eq!(broker.fetched(), [7, 8, 9]);
}

/// A read ahead that was begun before is sent before this is answered.
async fn settle(reader: &Reader) {
    list_offset(reader, "t", 0, -1, false).await.expect("an end");
}

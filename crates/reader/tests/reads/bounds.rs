//! Bounds of a fetch: its size, and its wait.

use std::time::{Duration, Instant};

use crate::scripted::{Broker, reader};
use crate::support::{Fetch, Read as _, at, messages};

#[tokio::test]
async fn fetch_collects_min_bytes() {
    let broker = Broker::of_log(20, 20).await;
    let reader = reader(&[broker.address]);
    let one = reader.read(at("t", 0, 0)).await.expect("a record").messages.len();
    let fetch = Fetch { min_bytes: 5 * one, max_wait: Duration::from_secs(10), ..at("t", 0, 0) };
    let fetched = reader.read(fetch).await.expect("records");
    let offsets: Vec<i64> = messages(&fetched).iter().map(|message| message.offset).collect();
    assert!(fetched.messages.len() >= 5 * one && fetched.count < 20, "{fetched:?}");
    assert_eq!(offsets, (0..fetched.next_offset).collect::<Vec<_>>());
}

#[tokio::test]
async fn fetch_returns_what_there_is_when_its_time_is_over() {
    let broker = Broker::of_log(3, 3).await;
    let (reader, start) = (reader(&[broker.address]), Instant::now());
    let fetch = Fetch { min_bytes: 10_000, max_wait: Duration::from_millis(300), ..at("t", 0, 0) };
    let fetched = reader.read(fetch).await.expect("records");
    assert_eq!((fetched.count, fetched.next_offset, fetched.ends.end), (3, 3, 3));
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn answer_that_cannot_grow_does_not_wait() {
    let broker = Broker::of_log(3, 3).await;
    let (reader, start) = (reader(&[broker.address]), Instant::now());
    let wait = Fetch { min_bytes: 10_000, max_wait: Duration::from_secs(30), ..at("t", 0, 0) };
    for (fetch, count) in [(Fetch { max_bytes: 1, ..wait }, 1), (Fetch { max_records: 2, ..wait }, 2)] {
        assert_eq!(reader.read(fetch).await.expect("records").count, count);
    }
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn empty_answer_after_a_wait_has_the_ends_of_the_log() {
    let broker = Broker::of_log(3, 3).await;
    let fetch = Fetch { max_wait: Duration::from_millis(200), ..at("t", 0, 3) };
    let fetched = reader(&[broker.address]).read(fetch).await.expect("an empty answer");
    assert_eq!((fetched.count, fetched.next_offset, fetched.ends.end), (0, 3, 3));
}

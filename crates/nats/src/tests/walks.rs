//! Reads of a long stream from its beginning, by which a consumer reads ahead.

use super::*;

/// Far more messages than a walk reads at a time.
const COUNT: u32 = 14_000;

fn all() -> Vec<i64> {
    (1..=i64::from(COUNT)).collect()
}

#[tokio::test]
async fn walk_reads_every_message_once() {
    let case = Case::start().await;
    for (stream, settings) in
        [("S", json!({})), ("SLOW", json!({ "allow_direct": false })), ("R", json!({ "storage": "memory" }))]
    {
        case.streams.create(stream, settings).await.unwrap();
        case.write(stream, 1..=COUNT).await;
        let deleted = [2_000, 2_001, 5_000, i64::from(COUNT)];
        case.delete(stream, &deleted).await;
        let kept: Vec<i64> = all().into_iter().filter(|sequence| !deleted.contains(sequence)).collect();
        let (found, ()) = tokio::join!(case.walk(stream, 1), case.consumers(stream, 1));
        assert_eq!(found, kept, "{stream}");
    }
}

#[tokio::test]
async fn many_walks_read_every_message_once() {
    let case = Case::of(COUNT).await;
    let walks = (0..20).map(|walk| case.walk("S", 1 + walk * 100));
    for (walk, found) in futures_util::future::join_all(walks).await.into_iter().enumerate() {
        assert_eq!(found, all()[walk * 100..], "walk {walk}");
    }
}

#[tokio::test]
async fn read_without_one_before_it_begins_no_walk() {
    let case = Case::of(COUNT).await;
    for offset in [1, 3_000, 6_000] {
        case.read("S", offset).await.unwrap();
    }
    case.consumers("S", 0).await;
}

#[tokio::test]
async fn walk_notices_that_the_stream_is_recreated() {
    let case = Case::of(COUNT).await;
    let mut next = 1;
    for _ in 0..2 {
        next = case.read("S", next).await.unwrap().next_offset;
    }
    case.consumers("S", 1).await;
    // The messages that the consumer has delivered at once. It is parked then.
    while let Some(kept) = case.nats.recent(log("S"), at(next)) {
        next = kept.next_offset;
    }
    assert!(next < i64::from(COUNT), "the walk has not read everything");
    case.call("STREAM.DELETE.S", json!({})).await;
    // A message at the same place, while the last answer about the former stream still holds.
    case.streams.create("S", json!({ "first_seq": next })).await.unwrap();
    case.write("S", [0]).await;
    let found = case.read("S", next).await.unwrap();
    assert_eq!((sequences(&found), data(&found)), (vec![next], vec!["0".to_owned()]), "of the new stream");
}

#[tokio::test]
async fn message_that_ends_connections_does_not_end_a_walk() {
    let case = Case::of(8_000).await;
    case.streams.write_raw(b"S.a", b"NATS/1.0\r\na: caf\xe9\r\n\r\n", b"odd").unwrap();
    case.write("S", 8_002..=COUNT + 1).await;
    assert_eq!(case.walk("S", 1).await.len(), COUNT as usize + 1);
}

/// A consumer on such a stream would change what is kept, or is refused.
#[tokio::test]
async fn stream_that_a_consumer_would_change_is_read_and_polled_without() {
    let case = Case::start().await;
    for (stream, settings) in [
        ("QUEUE", json!({ "retention": "workqueue" })),
        ("INTEREST", json!({ "retention": "interest" })),
        ("FULL", json!({ "max_consumers": 1 })),
    ] {
        case.streams.create(stream, settings).await.unwrap();
        let config = json!({ "name": "theirs", "durable_name": "theirs", "ack_policy": "explicit" });
        let request = json!({ "stream_name": stream, "config": config });
        case.call(&format!("CONSUMER.CREATE.{stream}.theirs"), request).await;
        case.write(stream, 1..=COUNT).await;
        assert_eq!(case.walk(stream, 1).await, all(), "{stream}");
        let wait = case.wait(stream, waiting(i64::from(COUNT) + 1)).await;
        case.write(stream, [0]).await;
        assert_eq!(data(&wait.await.unwrap().unwrap()), ["0"], "{stream}");
        case.consumers(stream, 1).await;
    }
}

#[tokio::test]
async fn walk_needs_no_permission_for_consumers() {
    for denied in ["$JS.API.CONSUMER.CREATE.>", "$JS.API.CONSUMER.MSG.NEXT.>"] {
        let case = Case::without(denied).await;
        case.stream("S", COUNT).await;
        assert_eq!(case.walk("S", 1).await, all(), "without {denied}");
    }
}

//! Waits at the ends of streams.

use tokio::time::Instant;

use super::*;

#[tokio::test]
async fn waiters_share_one_consumer() {
    let case = Case::of(3).await;
    let mut waits = Vec::new();
    for _ in 0..64 {
        waits.push(case.wait("S", waiting(4)).await);
    }
    case.consumers("S", 1).await;
    until(|| case.nats.is_watched(log("S"), 4, false)).await;
    assert!(!case.nats.is_watched(log("S"), 3, false) && !case.nats.is_watched(log("S"), 5, false));
    let before = case.shared.stats();
    assert_eq!((before.tails, before.waiters), (1, 64));
    case.write("S", [4]).await;
    for wait in waits {
        assert_eq!(data(&wait.await.unwrap().unwrap()), ["4"]);
    }
    let after = case.shared.stats();
    // Messages that the consumer delivers are kept for all.
    assert_eq!((after.misses, after.waiters), (before.misses, 0));
    case.consumers("S", 1).await;
}

#[tokio::test]
async fn wait_is_over_with_a_proof() {
    let case = Case::of(3).await;
    let ends = Ends { start: 1, stable: 4, end: 4 };
    let short = Fetch { wait: Duration::from_millis(50), ..at(4) };
    assert_eq!(case.fetch("S", short).await, Ok(Chunk::nothing(4, ends)));
    let until = Instant::now() + Duration::from_millis(50);
    assert_eq!(case.nats.wait_for_records(log("S"), 4, false, Some(until), SeenEnds::ALL).await, Some(ends));
    let wait = case.watch("S", 4).await;
    assert_eq!(case.fetch("S", short).await, Ok(Chunk::nothing(4, ends)), "without a look before");
    wait.abort();
}

#[tokio::test]
async fn wait_beyond_the_end_is_over_soon() {
    let case = Case::of(3).await;
    // As after the end of a stream that was created again.
    let beyond = case.nats.wait_for_records(log("S"), 9, false, None, SeenEnds::ALL);
    assert_eq!(timeout(Duration::from_secs(5), beyond).await, Ok(None));
}

#[tokio::test]
async fn wait_ends_when_the_stream_is_recreated_or_deleted() {
    let case = Case::start().await;
    // Consumers end with their stream, and polls find another id.
    for retention in ["limits", "workqueue"] {
        case.streams.create("S", json!({ "retention": retention })).await.unwrap();
        case.write("S", 1..=3).await;
        let wait = case.watch("S", 4).await;
        let before = case.nats.version(log("S"));
        case.recreate().await;
        let error = wait.await.unwrap().unwrap_err();
        assert_eq!((error.fault, error.ends), (Fault::OffsetOutOfRange, Some((1, 1))), "{retention}");
        assert_ne!(case.nats.version(log("S")), before);
        let wait = case.watch("S", 1).await;
        case.call("STREAM.DELETE.S", json!({})).await;
        assert_eq!(wait.await.unwrap().unwrap_err().fault, Fault::NotFound);
        assert!(!case.nats.is_watched(log("S"), 1, false));
    }
}

#[tokio::test]
async fn message_that_ends_connections_reaches_those_that_wait() {
    let case = Case::of(0).await;
    let wait = case.wait("S", waiting(1)).await;
    case.consumers("S", 1).await;
    case.streams.write_raw(b"S.a", b"NATS/1.0\r\na: caf\xe9\r\n\r\n", b"odd").unwrap();
    assert_eq!(data(&wait.await.unwrap().unwrap()), ["odd"]);
    let wait = case.wait("S", waiting(2)).await;
    case.streams.write_raw(b"S.a", b"NATS/1.0\r\na: x\ry\r\n\r\n", b"odder").unwrap();
    assert_eq!(data(&wait.await.unwrap().unwrap()), ["odder"]);
    let wait = case.wait("S", waiting(3)).await;
    case.write("S", [3]).await;
    assert_eq!(data(&wait.await.unwrap().unwrap()), ["3"]);
}

#[tokio::test]
async fn consumer_has_one_request_at_a_time() {
    let case = Case::of(0).await;
    let wait = case.wait("S", waiting(1)).await;
    case.consumers("S", 1).await;
    case.write("S", 1..=5_100).await;
    wait.await.unwrap().unwrap();
    until(|| case.nats.recent(log("S"), at(5_100)).is_some()).await;
    let consumers = case.call("CONSUMER.LIST.S", json!({})).await;
    assert_eq!(consumers["consumers"][0]["num_waiting"], 1, "{consumers}");
}

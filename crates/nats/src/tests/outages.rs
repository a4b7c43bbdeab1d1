//! Servers that are gone, come back, or refuse.

use super::*;

#[tokio::test]
async fn read_fails_while_no_server_is_reachable() {
    let mut case = Case::start_with("", |config| config.request_timeout = Duration::from_millis(500)).await;
    case.stream("S", 3).await;
    assert!(case.nats.ready(Duration::from_secs(5)).await.is_ok());
    case.server.process.kill();
    let error = case.read("S", 1).await.unwrap_err();
    assert_eq!(error.fault, Fault::Unreachable { retriable: true });
    assert!(!error.retry_after.is_zero() && !error.message.contains("127.0.0.1"), "{}", error.message);
    assert!(case.nats.ready(Duration::from_millis(100)).await.is_err());
    assert!(case.nats.wait_for_records(log("S"), 4, false, None, SeenEnds::ALL).await.is_none());
    case.server.up().await.unwrap();
    let ready = async { while case.nats.ready(Duration::from_secs(5)).await.is_err() {} };
    within(ready).await;
    assert_eq!(case.walk("S", 1).await, [1, 2, 3]);
}

#[tokio::test]
async fn silent_consumer_is_noticed_within_three_seconds() {
    let mut case = Case::of(3).await;
    let wait = case.watch("S", 4).await;
    case.server.process.freeze();
    // Nothing but timers goes on.
    tokio::time::pause();
    let frozen = Instant::now();
    until(|| !case.nats.is_watched(log("S"), 4, false)).await;
    assert!(frozen.elapsed() < Duration::from_secs(3), "after {:?}", frozen.elapsed());
    wait.abort();
}

/// So that a subscription of several streams begins with the others.
#[tokio::test]
async fn stream_that_does_not_answer_has_its_partition() {
    let mut case = Case::of(0).await;
    let nats = Arc::clone(&case.nats);
    let partitions = |stream| within(nats.partitions(ClientKey::default(), stream));
    assert_eq!(partitions("NONE").await.unwrap_err().fault, Fault::NotFound);
    // As if the only server with the stream were gone, and another one connected.
    case.server.process.freeze();
    assert!(nats.may_have_leader(log("S")));
    assert_eq!(partitions("S").await.unwrap().partitions.len(), 1);
    assert!(!nats.may_have_leader(log("S")));
}

#[tokio::test]
async fn server_without_jetstream_is_not_ready() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await.unwrap();
    let (nats, _shared) = nats(&server, |_| {});
    assert!(nats.ready(Duration::from_secs(5)).await.is_err());
    let error = fetch(&nats, "S", at(1)).await.unwrap_err();
    assert_eq!(error.fault, Fault::Unreachable { retriable: true });
}

#[tokio::test]
async fn dropped_read_has_no_effect() {
    let case = Case::of(100).await;
    for _ in 0..50 {
        tokio::select! {
            biased;
            _ = case.read("S", 1) => {}
            () = tokio::task::yield_now() => {}
        }
    }
    assert_eq!(case.walk("S", 1).await.len(), 100);
    let wait = case.wait("S", waiting(101)).await;
    wait.abort();
    until(|| case.shared.stats().waiters == 0).await;
    tokio::select! {
        () = pending() => {}
        error = case.read("NONE", 1) => assert_eq!(error.unwrap_err().fault, Fault::NotFound),
    }
}

//! Failing brokers: the errors of calls, how soon they come, and the recovery of the reader.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sluicegate_reader::ReadError;
use tokio::task::JoinSet;

use crate::scripted::{Asked, Broker, Key, Step, TOPIC};
use crate::support::{Calls as _, at, check_outage, nowhere, until, values, waiting};

#[tokio::test]
async fn cluster_with_unreachable_advertised_address_is_not_ready() {
    let nowhere = nowhere();
    let broker = Broker::of(Key::Metadata, move |asked| asked.metadata(&[nowhere], TOPIC)).await;
    let error = broker.reader().ready().await.expect_err("a broker that cannot be reached");
    check_outage(&error, &format!("connect to {nowhere}"));
}

#[tokio::test]
async fn invalid_calls_are_rejected_without_a_request() {
    let broker = Broker::start(Asked::usual).await;
    let reader = broker.reader();
    let topic = "INVALID_TOPIC_EXCEPTION";
    let times = "expected milliseconds, -1 (log end), -2 (log start) or -3 (latest timestamp)";
    for (error, code, want) in [
        (reader.read("a b", at(0)).await.err(), 17, topic),
        (reader.list("a b", -1).await.err(), 17, topic),
        (reader.read("t", at(-1)).await.err(), 1, "OFFSET_OUT_OF_RANGE: offset -1: expected 0 or more"),
        (reader.list("t", -4).await.err(), 42, &format!("INVALID_REQUEST: timestamp -4: {times}")),
    ] {
        let error = error.expect("a refusal");
        assert_eq!(error.code(), code);
        assert!(error.to_string().starts_with(want), "{error}");
    }
    assert_eq!(broker.connections(), 0);
}

#[tokio::test]
async fn many_missing_topics_cost_few_requests() {
    let broker = Broker::of(Key::Metadata, |asked| asked.missing(&[asked.broker])).await;
    let reader = broker.reader();
    let started = Instant::now();
    let mut callers = JoinSet::new();
    for name in 0..2_000 {
        let reader = reader.clone();
        callers.spawn(async move { reader.list(&format!("missing-{name}"), -1).await });
    }
    for listed in callers.join_all().await {
        let error = listed.expect_err("no such topic");
        assert_eq!((error.code(), error.retriable()), (3, false), "{error:?}");
    }
    // The first topic, what its source can have of the next request, and the rest.
    assert!((2..=6).contains(&broker.count(Key::Metadata)), "{} requests", broker.count(Key::Metadata));
    for _ in 0..50 {
        reader.list("missing-1999", -1).await.expect_err("no such topic");
    }
    let paced = started.elapsed().as_millis() / 20 + 1;
    let requests = broker.count(Key::Metadata);
    assert!(requests as u128 <= paced, "{requests} requests in {:?}", started.elapsed());
}

#[tokio::test]
async fn long_poll_has_a_dedicated_connection() {
    let pause = Duration::from_millis(500);
    let broker = Broker::of_waits(move |asked| asked.record(1, b'x').after(pause)).await;
    let reader = broker.reader();
    let started = Instant::now();
    let wait = waiting(0, Duration::from_secs(30));
    let listed = async {
        until(|| broker.waits().iter().any(|wait| !wait.is_zero())).await;
        let started = Instant::now();
        reader.list("t", -1).await.expect("the end");
        assert!(started.elapsed() < pause, "{:?}", started.elapsed());
    };
    let (fetched, ()) = tokio::join!(join_all((0..10).map(|_| reader.read("t", wait))), listed);
    for fetched in fetched {
        assert_eq!(values(&fetched.expect("a record")), "x");
    }
    // On a shared connection they would have taken 5 s.
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert!(broker.connections() <= 14, "{} connections", broker.connections());
}

/// The errors of two calls to a broker that fails on the first connection and is silent on the next.
async fn fail_twice(first: fn() -> Step) -> [ReadError; 2] {
    let asked_before = AtomicBool::new(false);
    let broker = Broker::start(move |asked| match asked.key == Key::ApiVersions {
        true if !asked_before.swap(true, Ordering::SeqCst) => first(),
        true => Step::Silence,
        false => asked.usual(),
    })
    .await;
    let reader = broker.reader();
    let first = reader.read("t", at(0)).await.expect_err("no Kafka");
    loop {
        let later = reader.read("t", at(0)).await.expect_err("a silent broker");
        // Calls fail without a connection during the back-off.
        if broker.connections() > 1 {
            return [first, later];
        }
    }
}

#[tokio::test]
async fn only_temporary_failure_is_repeated_to_a_later_call() {
    let [first, later] = fail_twice(|| Step::raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")).await;
    assert!(!first.retriable(), "{first:?}");
    check_outage(&later, " within 500.0ms");
    let [first, later] = fail_twice(|| Step::Close(vec![0])).await;
    check_outage(&first, "");
    check_outage(&later, "lost the connection to");
}

#[tokio::test]
async fn long_poll_fails_soon_after_its_broker_has_died() {
    let broker = Broker::of_waits(|_| Step::Silence).await;
    let reader = broker.reader();
    let wait = waiting(0, Duration::from_secs(30));
    let read = tokio::spawn(async move { reader.read("t", wait).await });
    until(|| broker.waits().iter().any(|wait| !wait.is_zero())).await;
    drop(broker);
    let died = Instant::now();
    check_outage(&read.await.expect("no panic").expect_err("nobody is there"), "");
    assert!(died.elapsed() < Duration::from_secs(3), "{:?}", died.elapsed());
}

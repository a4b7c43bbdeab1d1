//! Failing brokers: the errors of calls, how soon they come, and the recovery of the reader.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kafka_protocol::messages::RequestKind;
use sluicegate_reader::ReadError;

use crate::batches::one_record;
use crate::scripted::{self, Asked, Broker, Step, reader, usual};
use crate::support::{Fetch, Read as _, at, chain, list_offset, messages, until};

fn is_fetch(asked: &Asked) -> bool {
    matches!(asked.kind, RequestKind::Fetch(_))
}

/// A broker answers the first fetch with `step`, and the others as usual. The first call fails with `want`, the second
/// succeeds.
async fn check_once(step: fn(&Asked) -> Step, want: &str) {
    let done = AtomicBool::new(false);
    let broker = Broker::start(move |asked, address| {
        if is_fetch(asked) && !done.swap(true, Ordering::SeqCst) {
            step(asked)
        } else {
            usual(asked, address)
        }
    })
    .await;
    let reader = reader(&[broker.address]);
    let error = reader.read(at("t", 0, 0)).await.expect_err("a failure");
    assert!(chain(&error).contains(want), "{}, expected: {want}", chain(&error));
    assert_eq!(error.code(), 13);
    assert!(error.is_unavailable());
    assert_eq!(reader.read(at("t", 0, 0)).await.expect("an empty answer").next_offset, 0);
}

#[tokio::test]
async fn invalid_response_fails_one_call() {
    check_once(|_| Step::Raw(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()), "frame of 1213486160 bytes")
        .await;
    check_once(|_| Step::Raw(vec![0xFF; 64]), "frame of -1 bytes").await;
    check_once(
        |asked| Step::Raw([&[0, 0, 0, 5], &asked.id.to_be_bytes()[..], &[9]].concat()),
        "response ends",
    )
    .await;
}

#[tokio::test]
async fn silent_broker_fails_the_call_in_time() {
    let frozen = Arc::new(AtomicBool::new(true));
    let is_frozen = Arc::clone(&frozen);
    let broker = Broker::start(move |asked, address| {
        if is_fetch(asked) && is_frozen.load(Ordering::SeqCst) {
            Step::Silence
        } else {
            usual(asked, address)
        }
    })
    .await;
    let reader = reader(&[broker.address]);
    let started = Instant::now();
    let error = reader.read(at("t", 0, 0)).await.expect_err("no answer");
    let elapsed = started.elapsed();
    assert!(chain(&error).contains("no response from"), "{}", chain(&error));
    assert!(error.retriable() && error.is_unavailable());
    assert!((Duration::from_millis(1_000)..Duration::from_secs(3)).contains(&elapsed), "{elapsed:?}");
    frozen.store(false, Ordering::SeqCst);
    assert_eq!(reader.read(at("t", 0, 0)).await.expect("an empty answer").next_offset, 0);
}

#[tokio::test]
async fn cut_connection_is_replaced() {
    for len in [0, 2, 4, 9, 20] {
        let done = AtomicBool::new(false);
        let broker = Broker::start(move |asked, address| {
            if is_fetch(asked) && !done.swap(true, Ordering::SeqCst) {
                let answer = scripted::fetched(asked, 0, 1, &one_record(0, b'x'));
                Step::RawThenClose(answer[..len].to_vec())
            } else if is_fetch(asked) {
                Step::Answer(scripted::fetched(asked, 0, 1, &one_record(0, b'x')))
            } else {
                usual(asked, address)
            }
        })
        .await;
        let fetched = reader(&[broker.address]).read(at("t", 0, 0)).await.expect("a record");
        // One for metadata, and two for fetches.
        assert_eq!((fetched.count, broker.connections()), (1, 3), "cut at byte {len}");
    }
}

#[tokio::test]
async fn broker_that_closes_connections_fails_the_call_in_time() {
    let broker =
        Broker::start(
            |asked, address| {
                if is_fetch(asked) { Step::RawThenClose(Vec::new()) } else { usual(asked, address) }
            },
        )
        .await;
    let started = Instant::now();
    let error = reader(&[broker.address]).read(at("t", 0, 0)).await.expect_err("no answer");
    assert!(error.retriable() && error.is_unavailable(), "{}", chain(&error));
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[tokio::test]
async fn cluster_recovers_after_an_outage() {
    let broker = Broker::start(usual).await;
    let address = broker.address;
    let reader = reader(&[address]);
    reader.read(at("t", 0, 0)).await.expect("an empty answer");
    drop(broker);

    let started = Instant::now();
    for _ in 0..20 {
        for error in [
            reader.read(at("t", 0, 0)).await.expect_err("nobody is there"),
            list_offset(&reader, "other", 0, -1, false).await.expect_err("nobody is there"),
            reader.ready().await.expect_err("nobody is there"),
        ] {
            assert!(error.retriable() && error.is_unavailable(), "{}", chain(&error));
            assert_eq!(error.to_string(), format!("no broker of {address} could be reached"));
            assert!(
                chain(&error).contains(&format!("connect to {address}: Connection refused")),
                "{}",
                chain(&error)
            );
        }
    }
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());

    let _broker = Broker::start_at(address, usual).await;
    while reader.ready().await.is_err() {
        assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    }
    reader.read(at("t", 0, 0)).await.expect("an empty answer");
}

#[tokio::test]
async fn one_bootstrap_server_is_enough() {
    let refusing = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("an address")
    };
    let silent = Broker::start(|_, _| Step::Silence).await;
    let broker = Broker::start(usual).await;
    for servers in [[refusing, silent.address, broker.address], [broker.address, silent.address, refusing]] {
        let reader = reader(&servers);
        reader.read(at("t", 0, 0)).await.expect("an empty answer");
        reader.ready().await.expect("a ready cluster");
    }
}

#[tokio::test]
async fn cluster_with_unreachable_advertised_address_is_not_ready() {
    let nowhere = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("an address")
    };
    let broker = Broker::start(move |asked, address| match asked.kind {
        RequestKind::Metadata(_) => Step::Answer(scripted::metadata(asked, &[nowhere], 0)),
        _ => usual(asked, address),
    })
    .await;
    let error = reader(&[broker.address]).ready().await.expect_err("a broker that cannot be reached");
    assert!(chain(&error).contains(&format!("connect to {nowhere}")), "{}", chain(&error));
}

#[tokio::test]
async fn moved_leader_is_found() {
    for error in [3, 6] {
        let second = Broker::start(usual).await;
        let second_address = second.address;
        let asked_for_metadata = AtomicUsize::new(0);
        let first = Broker::start(move |asked, address| match asked.kind {
            RequestKind::Metadata(_) => {
                let leader = usize::from(asked_for_metadata.fetch_add(1, Ordering::SeqCst) > 0);
                Step::Answer(scripted::metadata(asked, &[address, second_address], leader))
            }
            RequestKind::Fetch(_) => Step::Answer(scripted::fetched(asked, error, -1, b"")),
            _ => usual(asked, address),
        })
        .await;
        let reader = reader(&[first.address]);
        reader.read(at("t", 0, 0)).await.expect("an empty answer");
        assert_eq!((first.fetched().len(), second.fetched().len()), (1, 1), "error {error}");
        assert_eq!(first.metadata().len(), 2, "error {error}");
    }
}

#[tokio::test]
async fn invalid_calls_are_rejected_without_a_request() {
    let broker = Broker::start(usual).await;
    let reader = reader(&[broker.address]);
    for (topic, partition, code) in [("", 0, 17), ("..", 0, 17), ("a b", 0, 17), ("t", -1, 3)] {
        assert_eq!(reader.read(at(topic, partition, 0)).await.expect_err("a refusal").code(), code);
        assert_eq!(
            list_offset(&reader, topic, partition, -1, false).await.expect_err("a refusal").code(),
            code
        );
    }
    let error = reader.read(at("t", 0, -1)).await.expect_err("a refusal");
    assert_eq!(
        (error.code(), error.to_string()),
        (1, "OFFSET_OUT_OF_RANGE: offset -1: expected 0 or more".to_owned())
    );
    let error = list_offset(&reader, "t", 0, -4, false).await.expect_err("a refusal");
    assert_eq!(
        (error.code(), error.to_string()),
        (
            42,
            "INVALID_REQUEST: timestamp -4: expected milliseconds, -1 (log end), -2 (log start) or -3 (latest \
             timestamp)"
                .to_owned()
        )
    );
    assert_eq!(broker.connections(), 0);
}

#[tokio::test]
async fn missing_common_version_is_an_error_with_both_ranges() {
    let broker = Broker::start(|asked, address| match asked.kind {
        RequestKind::ApiVersions(_) => Step::Answer(scripted::versions(asked, 19, 20)),
        _ => usual(asked, address),
    })
    .await;
    let error = reader(&[broker.address]).read(at("t", 0, 0)).await.expect_err("no common version");
    assert!(
        chain(&error).contains("supports Fetch in versions 19..=20, expected one of 4..=18"),
        "{}",
        chain(&error)
    );
    assert!(!error.retriable());
}

#[tokio::test]
async fn many_missing_topics_cost_few_requests() {
    let broker = Broker::start(|asked, address| match asked.kind {
        RequestKind::Metadata(_) => Step::Answer(scripted::missing(asked, address)),
        _ => usual(asked, address),
    })
    .await;
    let reader = reader(&[broker.address]);
    let started = Instant::now();
    let callers: Vec<_> = (0..2_000)
        .map(|at| {
            let reader = reader.clone();
            tokio::spawn(async move { list_offset(&reader, &format!("missing-{at}"), 0, -1, false).await })
        })
        .collect();
    for caller in callers {
        let error = caller.await.expect("no panic").expect_err("no such topic");
        assert_eq!((error.code(), error.retriable()), (3, false), "{error:?}");
    }
    // The first topic, what its source can have of the next request, and the rest.
    assert!((2..=6).contains(&broker.metadata().len()), "{} requests", broker.metadata().len());
    for _ in 0..50 {
        list_offset(&reader, "missing-1999", 0, -1, false).await.expect_err("no such topic");
    }
    let requests = broker.metadata();
    let paced = started.elapsed().as_millis() / 20 + 1;
    assert!(requests.len() as u128 <= paced, "{} requests in {:?}", requests.len(), started.elapsed());
    assert!(requests.iter().all(|request| !request.allow_auto_topic_creation));
}

#[tokio::test]
async fn dropped_call_leaves_the_connection_usable() {
    let broker = Broker::start(|asked, address| match &asked.kind {
        RequestKind::ListOffsets(_) => {
            let answer = scripted::listed_throttled(asked, 0, |timestamp| timestamp, 0);
            Step::Later(Duration::from_millis(100), answer)
        }
        _ => usual(asked, address),
    })
    .await;
    let reader = reader(&[broker.address]);
    reader.read(at("t", 0, 0)).await.expect("an empty answer");
    for timestamp in 0..5 {
        let dropped = tokio::time::timeout(
            Duration::from_millis(20),
            list_offset(&reader, "t", 0, 1_000 + timestamp, false),
        );
        dropped.await.expect_err("it takes longer");
        assert_eq!(
            list_offset(&reader, "t", 0, timestamp, false).await.expect("its own answer").offset,
            timestamp
        );
    }
    assert!(broker.connections() <= 4, "{} connections", broker.connections());
}

#[tokio::test]
async fn long_poll_has_a_dedicated_connection() {
    let broker = Broker::start(|asked, address| match &asked.kind {
        RequestKind::Fetch(request) if request.max_wait_ms > 0 => {
            let record = scripted::fetched(asked, 0, 1, &one_record(0, b'x'));
            Step::Later(Duration::from_millis(500), record)
        }
        _ => usual(asked, address),
    })
    .await;
    let reader = reader(&[broker.address]);
    let started = Instant::now();
    let waiting: Vec<_> = (0..10)
        .map(|_| {
            let reader = reader.clone();
            let max_wait = Duration::from_secs(30);
            tokio::spawn(async move { reader.read(Fetch { max_wait, ..at("t", 0, 0) }).await })
        })
        .collect();
    for caller in waiting {
        let fetched = caller.await.expect("no panic").expect("a record");
        assert_eq!(messages(&fetched)[0].value.as_deref(), Some(&b"x"[..]));
    }
    // On a shared connection they would have taken 5 s.
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert!(broker.connections() <= 14, "{} connections", broker.connections());
    let before = broker.connections();
    reader.read(Fetch { max_wait: Duration::from_secs(30), ..at("t", 0, 0) }).await.expect("a record");
    assert_eq!(broker.connections(), before, "the connection is used again");
}

#[tokio::test]
async fn long_polls_do_not_queue_for_slow_connections() {
    let broker = Broker::start(|asked, address| match &asked.kind {
        RequestKind::ApiVersions(_) => {
            Step::Later(Duration::from_millis(500), scripted::versions(asked, 4, 18))
        }
        _ => usual(asked, address),
    })
    .await;
    let reader = reader(&[broker.address]);
    let started = Instant::now();
    let waiting: Vec<_> = (0..16)
        .map(|_| {
            let (reader, max_wait) = (reader.clone(), Duration::from_millis(100));
            tokio::spawn(async move { reader.read(Fetch { max_wait, ..at("t", 0, 0) }).await })
        })
        .collect();
    for caller in waiting {
        assert_eq!(caller.await.expect("no panic").expect("an empty answer").count, 0);
    }
    // Two connections, for metadata and for a long poll, and time for the rest.
    assert!(started.elapsed() < Duration::from_millis(1_900), "{:?}", started.elapsed());
}

/// The errors of two calls to a broker that fails on the first connection and is silent on the next.
async fn fail_twice(first: fn() -> Step) -> [ReadError; 2] {
    let asked_before = AtomicBool::new(false);
    let broker = Broker::start(move |asked, address| match &asked.kind {
        RequestKind::ApiVersions(_) if !asked_before.swap(true, Ordering::SeqCst) => first(),
        RequestKind::ApiVersions(_) => Step::Silence,
        _ => usual(asked, address),
    })
    .await;
    let reader = reader(&[broker.address]);
    let first = reader.read(at("t", 0, 0)).await.expect_err("no Kafka");
    loop {
        let later = reader.read(at("t", 0, 0)).await.expect_err("a silent broker");
        // Calls fail without a connection during the back-off.
        if broker.connections() > 1 {
            return [first, later];
        }
    }
}

#[tokio::test]
async fn permanent_failure_is_not_repeated_to_a_later_call() {
    let [first, later] = fail_twice(|| Step::Raw(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec())).await;
    assert!(!first.retriable(), "{}", chain(&first));
    assert!(chain(&later).ends_with(" within 500.0ms"), "{}", chain(&later));
    assert!(later.retriable());
}

#[tokio::test]
async fn temporary_failure_is_repeated_to_a_later_call() {
    let [first, later] = fail_twice(|| Step::RawThenClose(vec![0])).await;
    assert!(first.retriable(), "{}", chain(&first));
    assert!(later.retriable() && chain(&later).contains("lost the connection to"), "{}", chain(&later));
}

#[tokio::test]
async fn long_poll_continues_after_a_cut_connection() {
    let cuts = AtomicUsize::new(0);
    let broker = Broker::start(move |asked, address| match &asked.kind {
        RequestKind::Fetch(request) if request.max_wait_ms > 0 => {
            if cuts.fetch_add(1, Ordering::SeqCst) < 3 {
                Step::RawThenClose(vec![0, 0])
            } else {
                Step::Answer(scripted::fetched(asked, 0, 1, &one_record(0, b'x')))
            }
        }
        _ => usual(asked, address),
    })
    .await;
    let max_wait = Duration::from_secs(30);
    let fetched = reader(&[broker.address]).read(Fetch { max_wait, ..at("t", 0, 0) }).await;
    assert_eq!(fetched.expect("a record").count, 1);
}

#[tokio::test]
async fn long_poll_fails_soon_after_its_broker_has_died() {
    let waits = Arc::new(AtomicBool::new(false));
    let is_waiting = Arc::clone(&waits);
    let broker = Broker::start(move |asked, address| match &asked.kind {
        RequestKind::Fetch(request) if request.max_wait_ms > 0 => {
            is_waiting.store(true, Ordering::SeqCst);
            Step::Silence
        }
        _ => usual(asked, address),
    })
    .await;
    let reader = reader(&[broker.address]);
    let max_wait = Duration::from_secs(30);
    let waiting = tokio::spawn(async move { reader.read(Fetch { max_wait, ..at("t", 0, 0) }).await });
    until(|| waits.load(Ordering::SeqCst)).await;
    drop(broker);
    let died = Instant::now();
    let error = waiting.await.expect("no panic").expect_err("nobody is there");
    assert!(error.retriable() && error.is_unavailable(), "{}", chain(&error));
    assert!(died.elapsed() < Duration::from_secs(3), "{:?}", died.elapsed());
}

//! Brokers that throttle: fetches, or all other requests, pause for the throttle time, and calls with enough time
//! succeed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kafka_protocol::messages::RequestKind;
use tokio::task::JoinSet;

use crate::batches::one_record;
use crate::scripted::{self, Broker, Step, reader, reader_within, usual};
use crate::support::{Fetch, Read as _, at, chain, list_offset, messages, source, until};

/// A broker that throttles the first `times` fetches and then has one record at offset 0.
async fn throttling(times: usize, throttle_time: i32) -> Broker {
    let fetches = AtomicUsize::new(0);
    Broker::start(move |asked, address| match &asked.kind {
        RequestKind::Fetch(_) if fetches.fetch_add(1, Ordering::SeqCst) < times => {
            Step::Answer(scripted::throttled(asked, throttle_time))
        }
        RequestKind::Fetch(_) => Step::Answer(scripted::fetched(asked, 0, 1, &one_record(0, b'x'))),
        _ => usual(asked, address),
    })
    .await
}

#[tokio::test]
async fn throttled_fetch_is_retried_after_the_throttle_time() {
    let broker = throttling(2, 400).await;
    let started = Instant::now();
    let fetched = reader(&[broker.address]).read(at("t", 0, 0)).await.expect("a record");
    assert_eq!((fetched.count, messages(&fetched)[0].value.as_deref()), (1, Some(&b"x"[..])));
    assert!(started.elapsed() >= Duration::from_millis(800), "{:?}", started.elapsed());
    assert_eq!((broker.fetched().len(), broker.metadata().len()), (3, 1));
}

#[tokio::test]
async fn throttle_time_beyond_the_deadline_is_an_error_at_once() {
    let broker = throttling(1, 20_000).await;
    let reader = reader(&[broker.address]);
    let started = Instant::now();
    for error in [
        reader.read(at("t", 0, 0)).await.expect_err("too long a wait"),
        reader.read(at("t", 0, 0)).await.expect_err("too long a wait"),
    ] {
        let want = format!("{} throttles this client for another ", broker.address);
        assert!(chain(&error).contains(&want), "{}", chain(&error));
        assert!(error.retriable());
    }
    reader.ready().await.expect("a broker that throttles is there");
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    assert_eq!(broker.fetched(), [0]);
}

#[tokio::test]
async fn throttled_fetch_delays_no_lookup() {
    let broker = throttling(1, 3_000).await;
    let reader = reader_within(&[broker.address], "10000");
    let fetching = tokio::spawn({
        let reader = reader.clone();
        async move { reader.read(at("t", 0, 0)).await }
    });
    until(|| !broker.fetched().is_empty()).await;
    let started = Instant::now();
    // The end, then with metadata of another topic, and a search.
    for (topic, timestamp) in [("t", -1), ("u", -1), ("t", 5)] {
        list_offset(&reader, topic, 0, timestamp, false).await.expect("an offset");
    }
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    assert_eq!(broker.fetched(), [0]);
    fetching.await.expect("no panic").expect("a record");
    assert!(started.elapsed() > Duration::from_millis(2_500), "{:?}", started.elapsed());
}

#[tokio::test]
async fn clients_take_turns_after_a_throttle_time() {
    // The quota has room for a fetch each 100 ms.
    let answered = Arc::new(Mutex::new((None::<Instant>, Vec::new())));
    let quota = Arc::clone(&answered);
    let broker = Broker::start(move |asked, address| match &asked.kind {
        RequestKind::Fetch(request) => {
            let (last, offsets) = &mut *quota.lock().expect("no panic");
            let elapsed = last.map_or(Duration::MAX, |last| last.elapsed());
            if let Some(left) = Duration::from_millis(100).checked_sub(elapsed) {
                let left = i32::try_from(left.as_millis()).expect("a short time");
                return Step::Answer(scripted::throttled(asked, left.max(1)));
            }
            *last = Some(Instant::now());
            offsets.push(request.topics[0].partitions[0].fetch_offset);
            Step::Answer(scripted::fetched(asked, 0, 0, b""))
        }
        _ => usual(asked, address),
    })
    .await;
    let reader = reader_within(&[broker.address], "20000");
    let mut greedy = JoinSet::new();
    for offset in (1..=40).map(|number| number * 1_000) {
        let (reader, source) = (reader.clone(), source(1));
        greedy.spawn(async move { reader.read(Fetch { source, ..at("t", 0, offset) }).await.is_ok() });
    }
    let offsets = || answered.lock().expect("no panic").1.clone();
    until(|| broker.fetched().len() >= 40).await;
    let before = offsets().len();
    let source = source(2);
    reader.read(Fetch { source, ..at("t", 0, 0) }).await.expect("an empty answer");
    let between = offsets().iter().position(|offset| *offset == 0).expect("it was answered") - before;
    assert!(between <= 3, "{between} fetches of another client were first");
}

#[tokio::test]
async fn nothing_is_sent_during_the_throttle_time() {
    let throttled = Mutex::new(None::<Instant>);
    let broker = Broker::start(move |asked, address| {
        let mut throttled = throttled.lock().expect("no panic");
        let is_lookup = matches!(&asked.kind, RequestKind::ListOffsets(_) | RequestKind::Metadata(_));
        if let Some(at) = throttled.filter(|_| is_lookup) {
            assert!(at.elapsed() >= Duration::from_millis(600), "asked after {:?}", at.elapsed());
        }
        match &asked.kind {
            RequestKind::ListOffsets(request) => {
                let is_throttled = request.topics[0].partitions[0].timestamp == 7;
                let throttle_time = if is_throttled { 600 } else { 0 };
                *throttled = is_throttled.then(Instant::now);
                Step::Answer(scripted::listed_throttled(asked, 0, |timestamp| timestamp, throttle_time))
            }
            _ => usual(asked, address),
        }
    })
    .await;
    let reader = reader(&[broker.address]);
    assert_eq!(list_offset(&reader, "t", 0, 7, false).await.expect("an offset").offset, 7);
    let callers: Vec<_> = (10..60)
        .map(|timestamp| {
            let reader = reader.clone();
            tokio::spawn(async move {
                // Another topic, so that metadata has to wait as well.
                let topic = if timestamp % 2 == 0 { "t" } else { "u" };
                assert_eq!(
                    list_offset(&reader, topic, 0, timestamp, false).await.expect("an offset").offset,
                    timestamp
                );
                let max_wait = Duration::from_millis(10);
                reader.read(Fetch { max_wait, ..at(topic, 0, 0) }).await.expect("no record");
            })
        })
        .collect();
    for caller in callers {
        caller.await.expect("no panic");
    }
}

#[tokio::test]
async fn throttle_time_applies_to_one_broker() {
    let second = Broker::start(usual).await;
    let second_address = second.address;
    let first = Broker::start(move |asked, address| match &asked.kind {
        RequestKind::Metadata(request) => {
            let name = request.topics.iter().flatten().find_map(|topic| topic.name.clone());
            let leader = usize::from(name.is_some_and(|name| &name.0[..] == "second"));
            Step::Answer(scripted::metadata(asked, &[address, second_address], leader))
        }
        RequestKind::ListOffsets(_) => Step::Answer(scripted::listed_throttled(asked, 0, |_| 1, 30_000)),
        _ => usual(asked, address),
    })
    .await;
    let reader = reader(&[first.address]);
    let started = Instant::now();
    assert_eq!(list_offset(&reader, "first", 0, -1, false).await.expect("an offset").offset, 1);
    list_offset(&reader, "first", 0, -1, false).await.expect_err("too long a wait");
    // Metadata and offsets come from the other broker.
    assert_eq!(list_offset(&reader, "second", 0, -1, false).await.expect("an offset").offset, 0);
    assert_eq!(second.metadata().len(), 1);
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

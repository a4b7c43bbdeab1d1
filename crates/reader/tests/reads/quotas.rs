//! Brokers that throttle: fetches, or all other requests, pause for the throttle time, and calls with enough time
//! succeed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sluicegate_shared_log::Fetch;
use tokio::task::JoinSet;

use crate::scripted::{Asked, Broker, Key, RequestKind, TOPIC, Topic};
use crate::support::{Calls as _, at, check_outage, source, until, values, waiting};

/// A broker that throttles the first fetch and then has one record at offset 0.
async fn throttling(throttle_time: i32) -> Broker {
    let done = AtomicBool::new(false);
    Broker::of(Key::Fetch, move |asked| match done.swap(true, Ordering::SeqCst) {
        false => asked.throttled(throttle_time),
        true => asked.record(1, b'x'),
    })
    .await
}

#[tokio::test]
async fn throttle_time_beyond_the_deadline_is_an_error_at_once() {
    let broker = throttling(20_000).await;
    let reader = broker.reader();
    let started = Instant::now();
    for _ in 0..2 {
        let error = reader.read("t", at(0)).await.expect_err("too long a wait");
        check_outage(&error, &format!("{} throttles this client for another ", broker.address));
    }
    reader.ready().await.expect("a broker that throttles is there");
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    assert_eq!(broker.fetched(), [0]);
}

#[tokio::test]
async fn throttled_fetch_delays_no_lookup() {
    let broker = throttling(3_000).await;
    let reader = broker.patient_reader();
    let lookups = async {
        until(|| !broker.fetched().is_empty()).await;
        let started = Instant::now();
        // The end, then with metadata of another topic, and a search.
        for (topic, timestamp) in [("t", -1), ("u", -1), ("t", 5)] {
            reader.list(topic, timestamp).await.expect("an offset");
        }
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
        assert_eq!(broker.fetched(), [0]);
        started
    };
    let (fetched, started) = tokio::join!(reader.read("t", at(0)), lookups);
    assert_eq!(values(&fetched.expect("a record")), "x");
    assert!(started.elapsed() > Duration::from_millis(2_500), "{:?}", started.elapsed());
}

#[tokio::test]
async fn clients_take_turns_after_a_throttle_time() {
    // The quota has room for a fetch each 100 ms.
    let answered = Arc::new(Mutex::new((None::<Instant>, Vec::new())));
    let quota = Arc::clone(&answered);
    let broker = Broker::of(Key::Fetch, move |asked| {
        let (last, offsets) = &mut *quota.lock().expect("no panic");
        let elapsed = last.map_or(Duration::MAX, |last| last.elapsed());
        if let Some(left) = Duration::from_millis(100).checked_sub(elapsed) {
            let left = i32::try_from(left.as_millis()).expect("a short time");
            return asked.throttled(left.max(1));
        }
        *last = Some(Instant::now());
        offsets.push(asked.offset());
        asked.usual()
    })
    .await;
    let reader = broker.patient_reader();
    let mut greedy = JoinSet::new();
    for offset in (1..=40).map(|number| number * 1_000) {
        let (reader, source) = (reader.clone(), source(1));
        greedy.spawn(async move { reader.read("t", Fetch { source, ..at(offset) }).await.is_ok() });
    }
    let offsets = || answered.lock().expect("no panic").1.clone();
    until(|| broker.fetched().len() >= 40).await;
    let before = offsets().len();
    let source = source(2);
    reader.read("t", Fetch { source, ..at(0) }).await.expect("an empty answer");
    let between = offsets().iter().position(|offset| *offset == 0).expect("it was answered") - before;
    assert!(between <= 3, "{between} fetches of another client were first");
}

#[tokio::test]
async fn nothing_is_sent_during_the_throttle_time() {
    let throttled = Mutex::new(None::<Instant>);
    let broker = Broker::start(move |asked| {
        let mut throttled = throttled.lock().expect("no panic");
        if let Some(at) = throttled.filter(|_| [Key::ListOffsets, Key::Metadata].contains(&asked.key)) {
            assert!(at.elapsed() >= Duration::from_millis(600), "asked after {:?}", at.elapsed());
        }
        if asked.key != Key::ListOffsets {
            return asked.usual();
        }
        let is_throttled = asked.timestamp() == 7;
        *throttled = is_throttled.then(Instant::now);
        asked.listed_by(|timestamp| timestamp, if is_throttled { 600 } else { 0 })
    })
    .await;
    let reader = broker.reader();
    assert_eq!(reader.list("t", 7).await.expect("an offset"), 7);
    let call = async |timestamp: i64| {
        // Another topic, so that metadata has to wait as well.
        let topic = if timestamp % 2 == 0 { "t" } else { "u" };
        assert_eq!(reader.list(topic, timestamp).await.expect("an offset"), timestamp);
        reader.read(topic, waiting(0, Duration::from_millis(10))).await.expect("no record");
    };
    join_all((10..60).map(call)).await;
}

#[tokio::test]
async fn throttle_time_applies_to_one_broker() {
    let second = Broker::start(Asked::usual).await;
    let second_address = second.address;
    let first = Broker::start(move |asked| match &asked.kind {
        RequestKind::Metadata(_) => {
            let leader = asked.topics().contains(&"second".to_owned()).into();
            asked.metadata(&[asked.broker, second_address], Topic { leader, ..TOPIC })
        }
        RequestKind::ListOffsets(_) => asked.listed_by(|_| 1, 30_000),
        _ => asked.usual(),
    })
    .await;
    let reader = first.reader();
    let started = Instant::now();
    assert_eq!(reader.list("first", -1).await.expect("an offset"), 1);
    reader.list("first", -1).await.expect_err("too long a wait");
    // Metadata and offsets come from the other broker.
    assert_eq!(reader.list("second", -1).await.expect("an offset"), 0);
    assert_eq!(second.count(Key::Metadata), 1);
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

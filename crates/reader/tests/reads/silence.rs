//! Slow partitions of a healthy broker, and brokers that send nothing at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use kafka_protocol::messages::RequestKind;
use sluicegate_fair_share::ClientKey;
use sluicegate_reader::Reader;

use crate::scripted::{self, Asked, Broker, Step, reader, reader_within, usual};
use crate::support::{Read as _, at, chain, list_offset};

/// Longer than half of `socket.timeout.ms`, the time for one response.
pub(crate) const SLOW: Duration = Duration::from_millis(1_500);

/// The time for a call that is not behind a slow one, on a busy machine.
pub(crate) const PROMPT: Duration = Duration::from_millis(900);

/// A broker that takes [`SLOW`] for the end of topic `slow`, and no time for other requests.
async fn slow_partition() -> Broker {
    Broker::start(|asked, address| match &asked.kind {
        RequestKind::ListOffsets(request) if &request.topics[0].name.0[..] == "slow" => {
            Step::Later(SLOW, scripted::listed(asked, 0, 0))
        }
        _ => usual(asked, address),
    })
    .await
}

/// Calls until `is_over`. Gives the time of each call.
pub(crate) async fn call_repeatedly(reader: Reader, is_over: Arc<AtomicBool>) -> Vec<Duration> {
    let mut took = Vec::new();
    // So that the calls leave the processor to others.
    let mut pace = tokio::time::interval(Duration::from_millis(5));
    while !is_over.load(Ordering::SeqCst) {
        pace.tick().await;
        let started = Instant::now();
        list_offset(&reader, "t", 0, -1, false).await.expect("the end");
        took.push(started.elapsed());
    }
    took
}

#[tokio::test]
async fn slow_partition_fails_no_other_call() {
    let broker = slow_partition().await;
    let reader = reader(&[broker.address]);
    let is_over = Arc::new(AtomicBool::new(false));
    let bystanders: Vec<_> =
        (0..20).map(|_| tokio::spawn(call_repeatedly(reader.clone(), Arc::clone(&is_over)))).collect();
    for _ in 0..2 {
        let error = list_offset(&reader, "slow", 0, -1, false).await.expect_err("no answer in time");
        assert!(chain(&error).contains("no response from"), "{}", chain(&error));
        assert!(error.retriable());
    }
    is_over.store(true, Ordering::SeqCst);
    let mut took = Vec::new();
    for bystander in bystanders {
        took.extend(bystander.await.expect("no panic"));
    }
    let delayed = took.iter().filter(|took| **took > PROMPT).count();
    assert!(delayed <= 40, "{delayed} of {} calls took longer than {PROMPT:?}", took.len());
    assert!(broker.connections() <= 20, "{} connections", broker.connections());
}

/// Both ends are asked for together first, then each alone.
#[tokio::test]
async fn slow_partition_of_a_call_fails_no_other_of_it() {
    let broker = slow_partition().await;
    let reader = reader(&[broker.address]);
    let asked = [("slow", 0, -1), ("t", 0, -1)];
    let listed = reader.list_offsets(ClientKey::default(), &asked, false);
    let mut answers: Vec<_> = listed.collect().await;
    answers.sort_by_key(|(number, _)| *number);
    let [(_, slow), (_, other)] = &answers[..] else { panic!("{answers:?}") };
    assert!(slow.as_ref().is_err_and(|error| chain(error).contains("no response from")), "{slow:?}");
    assert!(other.is_ok(), "{other:?}");
}

#[tokio::test]
async fn frozen_broker_is_detected_and_recovers() {
    let frozen = Arc::new(AtomicBool::new(false));
    let is_frozen = Arc::clone(&frozen);
    let leader = Arc::new(std::sync::OnceLock::new());
    let of_leader = Arc::clone(&leader);
    // Not a leader itself, it names the frozen one as the leader throughout.
    let other = Broker::start(move |asked, address| match &asked.kind {
        RequestKind::Metadata(_) => {
            let leader = *of_leader.get().expect("it is started");
            Step::Answer(scripted::metadata(asked, &[leader, address], 0))
        }
        _ => usual(asked, address),
    })
    .await;
    let other_address = other.address;
    let broker = Broker::start(move |asked: &Asked, address| match &asked.kind {
        _ if is_frozen.load(Ordering::SeqCst) => Step::Silence,
        RequestKind::Metadata(_) => Step::Answer(scripted::metadata(asked, &[address, other_address], 0)),
        _ => usual(asked, address),
    })
    .await;
    leader.set(broker.address).expect("it is set once");
    let reader = reader(&[broker.address, other.address]);
    list_offset(&reader, "t", 0, -1, false).await.expect("the end");
    frozen.store(true, Ordering::SeqCst);

    let first = Instant::now();
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let reader = reader.clone();
            tokio::spawn(async move { list_offset(&reader, "t", 0, -1, false).await })
        })
        .collect();
    for call in calls {
        let error = call.await.expect("no panic").expect_err("nothing comes");
        assert!(chain(&error).contains("no response from") && error.retriable(), "{}", chain(&error));
    }
    assert!(first.elapsed() < Duration::from_millis(2_300), "{:?}", first.elapsed());
    let connections = broker.connections();
    // One call tries it several times, each time briefly.
    list_offset(&reader, "t", 0, -1, false).await.expect_err("nothing comes");
    assert!(broker.connections() <= connections + 3, "{} connections", broker.connections());

    frozen.store(false, Ordering::SeqCst);
    let thawed = Instant::now();
    while list_offset(&reader, "t", 0, -1, false).await.is_err() {
        assert!(thawed.elapsed() < Duration::from_secs(3), "{:?}", thawed.elapsed());
    }
}

#[tokio::test]
async fn fetches_that_take_long_delay_no_lookup() {
    let broker = Broker::start(|asked, address| match &asked.kind {
        RequestKind::Fetch(_) => Step::Silence,
        _ => usual(asked, address),
    })
    .await;
    let reader = reader_within(&[broker.address], "20000");
    let mut fetches = tokio::task::JoinSet::new();
    let mut pace = tokio::time::interval(Duration::from_millis(5));
    // Until each of their connections has one, so far from each other that none waits for another.
    let mut offsets = (0..).step_by(1_000);
    while broker.fetched().len() < 4 {
        let (reader, offset) = (reader.clone(), offsets.next().expect("an offset"));
        fetches.spawn(async move { reader.read(at("t", 0, offset)).await.is_ok() });
        pace.tick().await;
    }
    for topic in ["t", "u"] {
        let started = Instant::now();
        list_offset(&reader, topic, 0, -1, false).await.expect("the end");
        assert!(started.elapsed() < PROMPT, "{:?} for the end of {topic}", started.elapsed());
    }
}

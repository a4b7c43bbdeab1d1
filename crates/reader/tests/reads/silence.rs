//! Partitions that are slow at a broker that is well, and brokers from which nothing comes at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kafka_protocol::messages::RequestKind;
use sluicegate_reader::Reader;

use crate::scripted::{self, Asked, Broker, Step, reader, usual};
use crate::support::chain;

/// Longer than the half of `socket.timeout.ms` for which an answer is waited for.
const SLOW: Duration = Duration::from_millis(1_500);

/// A call that no slow one is before, on a busy machine.
const PROMPT: Duration = Duration::from_millis(500);

/// A broker that takes [`SLOW`] for the end of topic `slow`, and no time for anything else.
async fn slow_partition() -> Broker {
    Broker::start(|asked, address| match &asked.kind {
        RequestKind::ListOffsets(request) if &request.topics[0].name.0[..] == "slow" => {
            Step::Later(SLOW, scripted::listed(asked, 0, 0))
        }
        _ => usual(asked, address),
    })
    .await
}

/// Asks one after the other until `until`; how long each call took.
async fn asks(reader: Reader, until: Instant) -> Vec<Duration> {
    let mut took = Vec::new();
    while Instant::now() < until {
        let started = Instant::now();
        reader.list_offset("t", 0, -1).await.expect("the end, whatever others ask for");
        took.push(started.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    took
}

#[tokio::test]
async fn a_slow_partition_fails_nobody_else_and_delays_few_of_those_who_share_it() {
    let broker = slow_partition().await;
    let reader = reader(&[broker.address]);
    let until = Instant::now() + Duration::from_secs(6);
    let bystanders: Vec<_> = (0..20).map(|_| tokio::spawn(asks(reader.clone(), until))).collect();
    while Instant::now() < until {
        let error = reader.list_offset("slow", 0, -1).await.expect_err("no answer in time");
        assert!(chain(&error).contains("no response from"), "{}", chain(&error));
        assert!(error.retriable());
    }
    let mut took = Vec::new();
    for bystander in bystanders {
        took.extend(bystander.await.expect("no panic"));
    }
    let delayed = took.iter().filter(|took| **took > PROMPT).count();
    assert!(delayed <= 60, "{delayed} of {} calls took longer than {PROMPT:?}", took.len());
    assert!(broker.connections() <= 20, "{} connections", broker.connections());
}

#[tokio::test]
async fn a_call_behind_a_slow_one_is_asked_again_on_another_connection() {
    let broker = slow_partition().await;
    let reader = reader(&[broker.address]);
    reader.list_offset("t", 0, -1).await.expect("the end");
    reader.list_offset("slow", 0, -1).await.expect_err("no answer in time");
    for _ in 0..3 {
        let slow = tokio::spawn({
            let reader = reader.clone();
            async move { reader.list_offset("slow", 0, -1).await }
        });
        // Until the connection counts as stalled: what is asked from then on is not asked behind it.
        tokio::time::sleep(Duration::from_millis(400)).await;
        let started = Instant::now();
        reader.list_offset("t", 0, -1).await.expect("the end");
        assert!(started.elapsed() < PROMPT, "{:?}", started.elapsed());
        slow.await.expect("no panic").expect_err("no answer in time");
    }
    assert!(broker.connections() <= 8, "{} connections", broker.connections());
}

#[tokio::test]
async fn a_frozen_broker_is_noticed_and_later_calls_do_not_wait_for_it_as_long() {
    let frozen = Arc::new(AtomicBool::new(false));
    let is_frozen = Arc::clone(&frozen);
    let leader = Arc::new(std::sync::OnceLock::new());
    let of_leader = Arc::clone(&leader);
    // It is not asked for records, and says until the end that the frozen one leads.
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
    reader.list_offset("t", 0, -1).await.expect("the end");
    frozen.store(true, Ordering::SeqCst);

    let first = Instant::now();
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let reader = reader.clone();
            tokio::spawn(async move { reader.list_offset("t", 0, -1).await })
        })
        .collect();
    for call in calls {
        let error = call.await.expect("no panic").expect_err("nothing comes");
        assert!(chain(&error).contains("no response from") && error.retriable(), "{}", chain(&error));
    }
    assert!(first.elapsed() < Duration::from_millis(2_300), "{:?}", first.elapsed());
    let connections = broker.connections();
    // It is tried several times within the time of one call: each try is a short one.
    reader.list_offset("t", 0, -1).await.expect_err("nothing comes");
    assert!(broker.connections() <= connections + 3, "{} connections", broker.connections());

    frozen.store(false, Ordering::SeqCst);
    let thawed = Instant::now();
    while reader.list_offset("t", 0, -1).await.is_err() {
        assert!(thawed.elapsed() < Duration::from_secs(3), "{:?}", thawed.elapsed());
    }
}

//! Clusters whose leaders and brokers change: calls continue as soon as they can.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::scripted::{Asked, Broker, Key, RequestKind, Step, TOPIC, Topic};
use crate::support::{Calls as _, at, check_outage, nowhere, reader, reader_with, switch, until};

/// Two brokers. The first one leads and does `before`, until `moved` is set and the second one leads.
async fn start(moved: &'static AtomicBool, before: fn(&Asked) -> Step) -> (Broker, Broker) {
    let leader = || Topic { leader: moved.load(Ordering::SeqCst).into(), ..TOPIC };
    let first = nowhere();
    let second =
        Broker::of(Key::Metadata, move |asked| asked.metadata(&[first, asked.broker], leader())).await;
    let second_address = second.address;
    let script = move |asked: &Asked| match before(asked) {
        Step::Send(..) if asked.key == Key::Metadata => {
            asked.metadata(&[asked.broker, second_address], leader())
        }
        step => step,
    };
    (Broker::start_at(first, script).await, second)
}

/// They are retried, and succeed as soon as another broker leads.
#[tokio::test]
async fn calls_wait_for_the_leader_after_a_silent_or_failing_one() {
    let scripts: [fn(&Asked) -> Step; 4] = [
        |asked| if asked.key == Key::ListOffsets { asked.rejected(6) } else { asked.usual() },
        |asked| if asked.key == Key::ListOffsets { Step::Close(Vec::new()) } else { asked.usual() },
        |asked| if asked.key == Key::ApiVersions { asked.usual() } else { Step::Silence },
        // This one only accepts connections.
        |_| Step::Silence,
    ];
    for (number, before) in scripts.into_iter().enumerate() {
        let moved = switch();
        let (first, second) = start(moved, before).await;
        // Long enough for a busy machine: the time counts from the calls on, not from the move.
        let reader = reader_with(&[first.address, second.address], &[("socket.timeout.ms", "6000")]);
        let requests = || first.count(Key::Metadata) + second.count(Key::Metadata);
        let calls = join_all((0..20).map(|_| reader.list("t", -1)));
        let moves = async {
            // The first request, and two for another leader.
            until(|| requests() >= 3).await;
            moved.store(true, Ordering::SeqCst);
        };
        let mut calls = pin!(calls);
        tokio::select! {
            _ = &mut calls => panic!("nobody leads after script {number}"),
            () = moves => {}
        }
        for end in calls.await {
            assert!(matches!(end, Ok(0)), "script {number}: {end:?}");
        }
        assert!(requests() <= 30, "script {number}: {} metadata requests of 20 callers", requests());
    }
}

#[tokio::test]
async fn silent_bootstrap_server_delays_by_the_head_start_only() {
    let silent = Broker::start(|_| Step::Silence).await;
    let other = Broker::start(|_| Step::Silence).await;
    let broker = Broker::start(Asked::usual).await;
    for second in [nowhere(), other.address] {
        let reader = reader(&[silent.address, second, broker.address]);
        let started = Instant::now();
        reader.read("t", at(0)).await.expect("an empty answer");
        assert!(started.elapsed() < Duration::from_millis(800), "{:?}", started.elapsed());
        reader.ready().await.expect("a ready cluster");
    }
}

#[tokio::test]
async fn empty_metadata_replaces_nothing_and_is_an_error_at_first() {
    let fresh = switch();
    let refusals: &'static AtomicUsize = Box::leak(Box::default());
    let broker = Broker::start(move |asked| match asked.kind {
        RequestKind::Metadata(_) if fresh.load(Ordering::SeqCst) => {
            fresh.store(refusals.fetch_add(1, Ordering::SeqCst) <= 4, Ordering::SeqCst);
            asked.missing(&[])
        }
        RequestKind::ListOffsets(_) if fresh.load(Ordering::SeqCst) => asked.rejected(6),
        _ => asked.usual(),
    })
    .await;
    let reader = broker.reader();
    reader.list("t", -1).await.expect("the end");
    fresh.store(true, Ordering::SeqCst);
    // The cached metadata is still used for fetches.
    reader.read("t", at(0)).await.expect("an empty answer");
    assert_eq!(reader.list("t", -1).await.expect("the end"), 0);
    assert_eq!(reader.list("new", -1).await.expect("the end"), 0);
    assert!(refusals.load(Ordering::SeqCst) > 4);
    let broker = Broker::of(Key::Metadata, |asked| asked.missing(&[])).await;
    let error = broker.reader().list("t", -1).await.expect_err("nobody is known");
    check_outage(&error, "has no cluster metadata yet");
    assert!(broker.count(Key::Metadata) < 25, "{} requests in 2 s", broker.count(Key::Metadata));
}

#[tokio::test]
async fn bootstrap_server_is_needed_only_at_first_and_has_any_address() {
    let leader = Broker::start(Asked::usual).await;
    let address = leader.address;
    let bootstrap = Broker::of(Key::Metadata, move |asked| {
        asked.metadata(&[asked.broker, address], Topic { leader: 1, ..TOPIC })
    })
    .await;
    let reader = reader(&[bootstrap.address]);
    reader.read("t", at(0)).await.expect("an empty answer");
    drop(bootstrap);
    // Metadata of a topic that is new to the reader.
    reader.read("other", at(0)).await.expect("an answer of the broker that is left");
    let address = "[::1]:0".parse().expect("an address");
    let broker = Broker::start_at(address, Asked::usual).await;
    broker.reader().read("t", at(0)).await.expect("an empty answer");
}

//! Clusters whose leaders, brokers and topics change: calls continue as soon as they can.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kafka_protocol::messages::RequestKind;
use tokio::time::timeout;

use crate::scripted::{self, Asked, Broker, Step, reader, reader_within, usual};
use crate::support::{Read as _, at, chain, list_offset, until};

fn nowhere() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address")
}

/// Two brokers. The first one leads and does `before`, until `moved` is set and the second one leads.
async fn start(
    moved: Arc<AtomicBool>,
    before: impl Fn(&Asked, SocketAddr) -> Step + Send + Sync + 'static,
) -> (Broker, Broker) {
    let first = Arc::new(std::sync::OnceLock::<SocketAddr>::new());
    let first_address = Arc::clone(&first);
    let second = Broker::start({
        let moved = Arc::clone(&moved);
        move |asked, address| match asked.kind {
            RequestKind::Metadata(_) => {
                let leader = usize::from(moved.load(Ordering::SeqCst));
                let first = *first_address.get().expect("it is started");
                Step::Answer(scripted::metadata(asked, &[first, address], leader))
            }
            _ => usual(asked, address),
        }
    })
    .await;
    let second_address = second.address;
    let broker = Broker::start(move |asked, address| match asked.kind {
        RequestKind::Metadata(_) => {
            let leader = usize::from(moved.load(Ordering::SeqCst));
            match before(asked, address) {
                Step::Silence => Step::Silence,
                _ => Step::Answer(scripted::metadata(asked, &[address, second_address], leader)),
            }
        }
        _ => before(asked, address),
    })
    .await;
    first.set(broker.address).expect("it is set once");
    (broker, second)
}

/// Calls to a leader that does `before` are retried, and succeed as soon as another broker leads.
async fn check_moves(before: impl Fn(&Asked, SocketAddr) -> Step + Send + Sync + 'static) {
    let moved = Arc::new(AtomicBool::new(false));
    let (first, second) = start(Arc::clone(&moved), before).await;
    // Long enough for a busy machine: the time counts from the calls on, not from the move.
    let reader = reader_within(&[first.address, second.address], "6000");
    let callers: Vec<_> = (0..20)
        .map(|_| {
            let reader = reader.clone();
            tokio::spawn(async move { list_offset(&reader, "t", 0, -1, false).await })
        })
        .collect();
    // The first request, and two for another leader.
    until(|| first.metadata().len() + second.metadata().len() >= 3).await;
    assert!(callers.iter().all(|caller| !caller.is_finished()));
    moved.store(true, Ordering::SeqCst);
    for caller in callers {
        assert_eq!(caller.await.expect("no panic").expect("the end").offset, 0);
    }
    let requests = first.metadata().len() + second.metadata().len();
    assert!(requests <= 30, "{requests} metadata requests of 20 callers");
}

#[tokio::test]
async fn calls_wait_for_a_new_leader() {
    check_moves(|asked, address| match asked.kind {
        RequestKind::ListOffsets(_) => Step::Answer(scripted::listed(asked, 6, -1)),
        _ => usual(asked, address),
    })
    .await;
}

#[tokio::test]
async fn silent_leader_is_replaced() {
    check_moves(|asked, address| match asked.kind {
        RequestKind::ApiVersions(_) => usual(asked, address),
        _ => Step::Silence,
    })
    .await;
}

#[tokio::test]
async fn leader_that_only_accepts_connections_is_replaced() {
    check_moves(|_, _| Step::Silence).await;
}

#[tokio::test]
async fn leader_that_closes_connections_is_replaced() {
    check_moves(|asked, address| match asked.kind {
        RequestKind::ListOffsets(_) => Step::RawThenClose(Vec::new()),
        _ => usual(asked, address),
    })
    .await;
}

#[tokio::test]
async fn silent_bootstrap_server_delays_by_the_head_start_only() {
    let silent = Broker::start(|_, _| Step::Silence).await;
    let other = Broker::start(|_, _| Step::Silence).await;
    let broker = Broker::start(usual).await;
    for servers in
        [[silent.address, nowhere(), broker.address], [silent.address, other.address, broker.address]]
    {
        let reader = reader(&servers);
        let started = Instant::now();
        reader.read(at("t", 0, 0)).await.expect("an empty answer");
        assert!(started.elapsed() < Duration::from_millis(800), "{:?}", started.elapsed());
    }
}

#[tokio::test]
async fn ipv6_brokers_are_read() {
    let address = "[::1]:0".parse().expect("an address");
    let broker = Broker::start_at(address, usual).await;
    let reader = reader(&[broker.address]);
    reader.read(at("t", 0, 0)).await.expect("an empty answer");
    reader.ready().await.expect("a ready cluster");
}

#[tokio::test]
async fn empty_metadata_replaces_nothing() {
    let fresh = Arc::new(AtomicBool::new(false));
    let is_fresh = Arc::clone(&fresh);
    let refusals = Arc::new(AtomicUsize::new(0));
    let refused = Arc::clone(&refusals);
    let broker = Broker::start(move |asked, address| match asked.kind {
        RequestKind::Metadata(_) if is_fresh.load(Ordering::SeqCst) => {
            if refused.fetch_add(1, Ordering::SeqCst) > 4 {
                is_fresh.store(false, Ordering::SeqCst);
            }
            Step::Answer(scripted::knows_nobody(asked))
        }
        RequestKind::ListOffsets(_) if is_fresh.load(Ordering::SeqCst) => {
            Step::Answer(scripted::listed(asked, 6, -1))
        }
        _ => usual(asked, address),
    })
    .await;
    let reader = reader(&[broker.address]);
    list_offset(&reader, "t", 0, -1, false).await.expect("the end");
    fresh.store(true, Ordering::SeqCst);
    // The cached metadata is still used for fetches.
    reader.read(at("t", 0, 0)).await.expect("an empty answer");
    assert_eq!(list_offset(&reader, "t", 0, -1, false).await.expect("the end").offset, 0);
    assert_eq!(list_offset(&reader, "new", 0, -1, false).await.expect("the end").offset, 0);
    assert!(refusals.load(Ordering::SeqCst) > 4);
}

#[tokio::test]
async fn cluster_without_metadata_is_an_error() {
    let broker = Broker::start(|asked, address| match asked.kind {
        RequestKind::Metadata(_) => Step::Answer(scripted::knows_nobody(asked)),
        _ => usual(asked, address),
    })
    .await;
    let error =
        list_offset(&reader(&[broker.address]), "t", 0, -1, false).await.expect_err("nobody is known");
    assert!(error.retriable());
    assert!(chain(&error).contains("has no cluster metadata yet"), "{}", chain(&error));
    assert!(broker.metadata().len() < 25, "{} requests in 2 s", broker.metadata().len());
}

#[tokio::test]
async fn deleted_topic_is_an_error_and_a_recreated_one_is_read() {
    let state = Arc::new(AtomicUsize::new(1));
    let now = Arc::clone(&state);
    let broker = Broker::start(move |asked, address| match (&asked.kind, now.load(Ordering::SeqCst)) {
        (RequestKind::Metadata(_), 0) => Step::Answer(scripted::missing(asked, address)),
        (RequestKind::Metadata(_), id) => {
            Step::Answer(scripted::metadata_of(asked, &[address], 0, id as u128))
        }
        (RequestKind::Fetch(request), id) if request.topics[0].topic_id.as_u128() != id as u128 => {
            Step::Answer(scripted::fetched(asked, 100, -1, b""))
        }
        _ => usual(asked, address),
    })
    .await;
    let reader = reader(&[broker.address]);
    reader.read(at("t", 0, 0)).await.expect("an empty answer");
    let started = Instant::now();
    state.store(0, Ordering::SeqCst);
    let error = reader.read(at("t", 0, 0)).await.expect_err("no such topic");
    assert_eq!((error.code(), error.retriable()), (3, false));
    assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
    state.store(2, Ordering::SeqCst);
    let read = async { while reader.read(at("t", 0, 0)).await.is_err() {} };
    timeout(Duration::from_secs(3), read).await.expect("the recreated topic");
}

#[tokio::test]
async fn requests_carry_the_leader_epoch_of_the_metadata() {
    let fenced = 74;
    let broker = Broker::start(move |asked, address| {
        let epoch = match &asked.kind {
            RequestKind::Fetch(request) => request.topics[0].partitions[0].current_leader_epoch,
            RequestKind::ListOffsets(request) => request.topics[0].partitions[0].current_leader_epoch,
            _ => return usual(asked, address),
        };
        match &asked.kind {
            _ if epoch == scripted::EPOCH => usual(asked, address),
            RequestKind::Fetch(_) => Step::Answer(scripted::fetched(asked, fenced, -1, b"")),
            _ => Step::Answer(scripted::listed(asked, fenced, -1)),
        }
    })
    .await;
    let reader = reader(&[broker.address]);
    reader.read(at("t", 0, 0)).await.expect("an empty answer");
    list_offset(&reader, "t", 0, -1, false).await.expect("the end");
}

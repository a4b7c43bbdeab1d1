//! Clusters in which leaders, brokers and topics come and go: calls go on as soon as they can.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kafka_protocol::messages::RequestKind;

use crate::scripted::{self, Asked, Broker, Step, reader, usual};
use crate::support::{at, chain, messages};

fn nowhere() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address")
}

/// Two brokers of which the second one leads as soon as `moved` says so; until then the first one does `before`.
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

/// Calls that are made while `before` is what the leader does end well as soon as another broker leads.
async fn check_moves(before: impl Fn(&Asked, SocketAddr) -> Step + Send + Sync + 'static) {
    let moved = Arc::new(AtomicBool::new(false));
    let (first, second) = start(Arc::clone(&moved), before).await;
    let reader = reader(&[first.address, second.address]);
    let callers: Vec<_> = (0..20)
        .map(|_| {
            let reader = reader.clone();
            tokio::spawn(async move { reader.list_offset("t", 0, -1).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(1_300)).await;
    assert!(callers.iter().all(|caller| !caller.is_finished()));
    moved.store(true, Ordering::SeqCst);
    for caller in callers {
        assert_eq!(caller.await.expect("no panic").expect("the end"), 0);
    }
    let questions = first.metadata().len() + second.metadata().len();
    assert!(questions <= 30, "{questions} questions of 20 callers in 2 s");
}

#[tokio::test]
async fn a_leader_is_looked_for_until_there_is_one() {
    let checks = [5, 6, 9, 56, 74, 75, 78].map(|error| {
        tokio::spawn(check_moves(move |asked, address| match asked.kind {
            RequestKind::ListOffsets(_) => Step::Answer(scripted::listed(asked, error, -1)),
            _ => usual(asked, address),
        }))
    });
    for check in checks {
        check.await.expect("no panic");
    }
}

#[tokio::test]
async fn a_leader_that_takes_requests_and_is_silent_is_given_up_for_the_next_one() {
    check_moves(|asked, address| match asked.kind {
        RequestKind::ApiVersions(_) => usual(asked, address),
        _ => Step::Silence,
    })
    .await;
}

#[tokio::test]
async fn a_leader_that_only_takes_connections_is_given_up_for_the_next_one() {
    check_moves(|_, _| Step::Silence).await;
}

#[tokio::test]
async fn a_leader_that_hangs_up_is_given_up_for_the_next_one() {
    check_moves(|asked, address| match asked.kind {
        RequestKind::ListOffsets(_) => Step::RawThenClose(Vec::new()),
        _ => usual(asked, address),
    })
    .await;
}

#[tokio::test]
async fn silent_bootstrap_servers_cost_a_quarter_of_a_second_each() {
    let silent = Broker::start(|_, _| Step::Silence).await;
    let other = Broker::start(|_, _| Step::Silence).await;
    let broker = Broker::start(usual).await;
    for servers in
        [[silent.address, nowhere(), broker.address], [silent.address, other.address, broker.address]]
    {
        let reader = reader(&servers);
        let started = Instant::now();
        reader.fetch(at("t", 0, 0)).await.expect("an empty answer");
        assert!(started.elapsed() < Duration::from_millis(800), "{:?}", started.elapsed());
    }
}

#[tokio::test]
async fn ipv6_addresses_are_asked_and_followed() {
    let address = "[::1]:0".parse().expect("an address");
    let broker = Broker::start_at(address, usual).await;
    let reader = reader(&[broker.address]);
    reader.fetch(at("t", 0, 0)).await.expect("an empty answer");
    reader.ready().await.expect("a ready cluster");
}

#[tokio::test]
async fn a_broker_that_knows_nobody_yet_takes_nothing_away() {
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
    reader.list_offset("t", 0, -1).await.expect("the end");
    fresh.store(true, Ordering::SeqCst);
    // What was known is still good for fetches.
    reader.fetch(at("t", 0, 0)).await.expect("an empty answer");
    assert_eq!(reader.list_offset("t", 0, -1).await.expect("the end"), 0);
    assert_eq!(reader.list_offset("new", 0, -1).await.expect("the end"), 0);
    assert!(refusals.load(Ordering::SeqCst) > 4);
}

#[tokio::test]
async fn a_cluster_that_knows_nobody_for_long_is_an_error_that_says_so() {
    let broker = Broker::start(|asked, address| match asked.kind {
        RequestKind::Metadata(_) => Step::Answer(scripted::knows_nobody(asked)),
        _ => usual(asked, address),
    })
    .await;
    let error = reader(&[broker.address]).list_offset("t", 0, -1).await.expect_err("nobody is known");
    assert!(error.retriable());
    assert!(chain(&error).contains("has no cluster metadata yet"), "{}", chain(&error));
    assert!(broker.metadata().len() < 25, "{} questions in 2 s", broker.metadata().len());
}

/// A broker whose topic gets another id when `recreated` says so: nothing but 17 MiB of markers before, a record after.
async fn recreatable(recreated: Arc<AtomicBool>, max_fetch: i16) -> Broker {
    let marker = Arc::new(vec![0; 17 << 20]);
    Broker::start(move |asked, address| {
        let now = recreated.load(Ordering::SeqCst);
        match &asked.kind {
            RequestKind::ApiVersions(_) => Step::Answer(scripted::versions(asked, 4, max_fetch)),
            RequestKind::Metadata(_) => {
                Step::Answer(scripted::metadata_of(asked, &[address], 0, if now { 2 } else { 1 }))
            }
            RequestKind::Fetch(request) => {
                let topic = &request.topics[0];
                let id = topic.topic_id.as_u128();
                let offset = topic.partitions[0].fetch_offset;
                if asked.version >= 13 && id != if now { 2 } else { 1 } {
                    return Step::Answer(scripted::fetched(asked, 100, -1, b""));
                }
                Step::Answer(if now {
                    scripted::fetched(asked, 0, 100, &scripted::one_record(offset, b'x'))
                } else {
                    scripted::fetched(asked, 0, 9, &scripted::batch(0, 3, scripted::CONTROL, 1, &marker))
                })
            }
            _ => usual(asked, address),
        }
    })
    .await
}

#[tokio::test]
async fn what_was_passed_over_in_a_topic_is_not_passed_over_in_the_next_one_of_its_name() {
    for max_fetch in [13, 18] {
        let recreated = Arc::new(AtomicBool::new(false));
        let broker = recreatable(Arc::clone(&recreated), max_fetch).await;
        let reader = reader(&[broker.address]);
        assert_eq!(reader.fetch(at("t", 0, 0)).await.expect("an empty answer").next_offset, 4);
        recreated.store(true, Ordering::SeqCst);
        let fetched = reader.fetch(at("t", 0, 0)).await.expect("a record");
        assert_eq!((messages(&fetched)[0].offset, fetched.next_offset), (0, 1), "Fetch {max_fetch}");
    }
}

#[tokio::test]
async fn a_topic_that_is_gone_is_an_error_soon_and_one_that_comes_back_is_read() {
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
    reader.fetch(at("t", 0, 0)).await.expect("an empty answer");
    let started = Instant::now();
    state.store(0, Ordering::SeqCst);
    let error = reader.fetch(at("t", 0, 0)).await.expect_err("no such topic");
    assert_eq!((error.code(), error.retriable()), (3, false));
    assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
    state.store(2, Ordering::SeqCst);
    while reader.fetch(at("t", 0, 0)).await.is_err() {
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn one_framing_error_is_the_cause_for_all_calls_of_its_connection_and_the_next_opens_another() {
    let poisoned = Arc::new(AtomicBool::new(true));
    let is_poisoned = Arc::clone(&poisoned);
    let broker = Broker::start(move |asked, address| match asked.kind {
        RequestKind::ListOffsets(_) if is_poisoned.load(Ordering::SeqCst) => {
            Step::Raw(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec())
        }
        _ => usual(asked, address),
    })
    .await;
    let reader = reader(&[broker.address]);
    reader.fetch(at("t", 0, 0)).await.expect("an empty answer");
    let before = broker.connections();
    let callers: Vec<_> = (0..20)
        .map(|_| {
            let reader = reader.clone();
            tokio::spawn(async move { reader.list_offset("t", 0, -1).await })
        })
        .collect();
    for caller in callers {
        let error = caller.await.expect("no panic").expect_err("no Kafka");
        assert!(chain(&error).contains("frame of 1213486160 bytes, expected 4 to"), "{}", chain(&error));
    }
    poisoned.store(false, Ordering::SeqCst);
    assert_eq!(reader.list_offset("t", 0, -1).await.expect("the end"), 0);
    assert!(broker.connections() > before);
}

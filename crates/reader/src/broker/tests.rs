//! The choice between connections, over pipes to a broker that answers only the request for its versions.

use tokio::io::DuplexStream;
use tokio::time::{Instant, advance};

use super::health::KNOWN_FAILURE;
use super::traffic::{SHARED_IN_FLIGHT, STALLED};
use super::*;
use crate::config::tests::read;
use crate::connection::tests::{QUESTION, asked, connected};
use crate::transport::Limits;

fn broker() -> Arc<Broker> {
    let config = read(&[("bootstrap.servers", "broker:1")]).expect("a usable configuration");
    Arc::new(Broker::new(Address { host: "broker".to_owned(), port: 1 }, Arc::new(config)))
}

/// An open connection, and the broker's end of it.
async fn connect(name: &str) -> (Connection, DuplexStream) {
    let limits = Limits { in_flight: SHARED_IN_FLIGHT, max_response: 1 << 20, max_idle: None };
    connected(name, limits, &[(2, 7)]).await
}

/// As [`connect`], with a request that has had no response for [`STALLED`].
async fn connect_stalled() -> (Connection, DuplexStream) {
    let (connection, mut peer) = connect("stalled").await;
    let slot = connection.try_reserve().expect("a free slot");
    tokio::spawn(slot.call(&*QUESTION, Duration::from_secs(60)));
    asked(&mut peer).await;
    assert!(!is_stalled(&connection));
    advance(STALLED).await;
    (connection, peer)
}

#[tokio::test(start_paused = true)]
async fn stalled_connection_is_avoided_even_if_another_has_more_load() {
    let broker = broker();
    let (stalled, _stalled_peer) = connect_stalled().await;
    let (busy, _busy_peer) = connect("busy").await;
    let _load = [busy.try_reserve(), busy.try_reserve()];
    for open in [[&stalled, &busy], [&busy, &stalled]] {
        broker.lookups.shared.clear();
        for connection in open {
            broker.lookups.shared.add(connection.clone());
        }
        assert_eq!(broker.lookups.shared.least_loaded().expect("a connection").address(), "busy:1");
    }
}

#[tokio::test(start_paused = true)]
async fn call_waits_briefly_for_another_connection_than_a_stalled_one() {
    let broker = broker();
    let (stalled, _stalled_peer) = connect_stalled().await;
    let (new, _new_peer) = connect("new").await;
    broker.lookups.shared.add(stalled.clone());
    // Another call opens a connection.
    let opening = broker.lookups.shared.turn().await;
    let started = Instant::now();
    let slot = broker.shared_slot(&broker.lookups).await.expect("a slot");
    assert_eq!((started.elapsed().as_millis(), stalled.load()), (NEW_CONNECTION.as_millis(), 2));
    drop(slot);
    let opened = async {
        broker.lookups.shared.add(new.clone());
        drop(opening);
    };
    let (slot, ()) = tokio::join!(broker.shared_slot(&broker.lookups), opened);
    assert_eq!((slot.is_ok(), stalled.load(), new.load()), (true, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn unused_broker_counts_as_failed_for_a_while() {
    let broker = broker();
    let cause = ConnectionError::Lost {
        address: "broker:1".to_owned(),
        cause: Arc::new(std::io::Error::other("cut")),
    };
    broker.health.lock().update(broker.address(), Some(&cause));
    assert!(broker.has_recently_failed());
    advance(KNOWN_FAILURE + broker.config.backoff_max).await;
    assert!(broker.has_failed() && !broker.has_recently_failed());
}

#[tokio::test(start_paused = true)]
async fn broker_has_a_rest_of_its_own_from_questions_about_producers() {
    let [asked, other] = [broker(), broker()];
    for (took, rest) in [(Duration::from_millis(200), 200), (Duration::from_secs(9), 500)] {
        let begun = Instant::now();
        asked.rest_from_producers(took);
        drop(other.producers_place(Holder::default()).await);
        assert_eq!(begun.elapsed(), Duration::ZERO);
        drop(asked.producers_place(Holder::default()).await);
        assert_eq!(begun.elapsed().as_millis(), rest);
    }
}

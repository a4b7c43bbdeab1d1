//! Log lines about brokers that fail and recover.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kafka_protocol::messages::RequestKind;
use sluicegate_reader::Reader;
use tokio::time::timeout;

use crate::log::Log;
use crate::scripted::{self, Asked, Broker, Step, reader, usual};
use crate::support::{Read as _, at};

#[track_caller]
fn check(lines: &[String], want: &[&str]) {
    assert_eq!(lines.len(), want.len(), "{lines:#?}");
    for (line, want) in lines.iter().zip(want) {
        assert!(line.starts_with(want), "{lines:#?}");
    }
}

const FAILED: &str = "WARN sluicegate_reader::broker::health: broker failed cluster=\"";
const RECOVERED: &str = "INFO sluicegate_reader::broker::health: broker recovered cluster=\"";

#[tokio::test]
async fn outage_logs_one_warning_and_one_recovery() {
    let mut log = Log::start();
    let mut broker = Broker::start(usual).await;
    let address = broker.address;
    let reader = reader(&[address]);
    reader.read(at("t", 0, 0)).await.expect("an empty answer");
    check(&log.of(address), &[]);
    for _ in 0..2 {
        drop(broker);
        for _ in 0..10 {
            reader.read(at("t", 0, 0)).await.expect_err("nobody is there");
        }
        check(&log.of(address), &[FAILED]);
        broker = Broker::start_at(address, usual).await;
        answers(&reader).await;
        let lines = log.of(address);
        check(&lines, &[RECOVERED]);
        assert!(lines[0].contains(" outage="), "{lines:?}");
    }
}

async fn answers(reader: &Reader) {
    let answered = async { while reader.read(at("t", 0, 0)).await.is_err() {} };
    timeout(Duration::from_secs(20), answered).await.expect("an answer in 20 s");
}

/// As in a cluster of several brokers: metadata has only those that are up.
#[tokio::test]
async fn recovery_of_a_dropped_broker_is_logged() {
    let mut log = Log::start();
    let leader = Broker::start(usual).await;
    let address = leader.address;
    let is_up = Arc::new(AtomicBool::new(true));
    let up = Arc::clone(&is_up);
    let script = move |asked: &Asked, own: SocketAddr| match &asked.kind {
        RequestKind::Metadata(_) if up.load(Ordering::SeqCst) => {
            Step::Answer(scripted::metadata(asked, &[own, address], 1))
        }
        _ => usual(asked, own),
    };
    let bootstrap = Broker::start(script).await;
    let reader = reader(&[bootstrap.address]);
    reader.read(at("t", 0, 0)).await.expect("an empty answer");
    drop(leader);
    reader.read(at("t", 0, 0)).await.expect_err("the leader is down");
    is_up.store(false, Ordering::SeqCst);
    reader.read(at("t", 0, 0)).await.expect("an answer of the new leader");
    check(&log.of(address), &[FAILED]);

    let _leader = Broker::start_at(address, usual).await;
    is_up.store(true, Ordering::SeqCst);
    // Metadata of a topic that is new to the reader.
    reader.read(at("other", 0, 0)).await.expect("an answer of the old leader");
    check(&log.of(address), &[RECOVERED]);
}

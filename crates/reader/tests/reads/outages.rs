//! Log lines about brokers that fail and recover.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kafka_protocol::messages::RequestKind;
use sluicegate_reader::Reader;
use tokio::time::timeout;
use tracing::subscriber::DefaultGuard;

use crate::scripted::{self, Asked, Broker, Step, reader, usual};
use crate::support::{Read as _, at};

/// The log lines of this thread at `info` and above.
struct Log {
    lines: Arc<Mutex<Vec<u8>>>,
    _guard: DefaultGuard,
}

impl Log {
    fn start() -> Self {
        let lines = Arc::default();
        let writer = Writer(Arc::clone(&lines));
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::INFO)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        Self { lines, _guard: tracing::subscriber::set_default(subscriber) }
    }

    /// The lines about one broker since the last call, as level and message.
    fn of(&self, broker: SocketAddr) -> Vec<String> {
        let text =
            String::from_utf8(std::mem::take(&mut *self.lines.lock().expect("no panic"))).expect("text");
        let about = format!("broker={broker}");
        let lines = text.lines().filter(|line| line.contains(&about));
        lines.map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")).collect()
    }
}

#[derive(Clone)]
struct Writer(Arc<Mutex<Vec<u8>>>);

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

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
    let log = Log::start();
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
    let log = Log::start();
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

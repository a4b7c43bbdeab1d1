//! Log lines about brokers that fail and recover.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use tokio::time::timeout;
use tracing::Dispatch;
use tracing::subscriber::{DefaultGuard, NoSubscriber};
use tracing_subscriber::fmt::MakeWriter as _;

use crate::scripted::{Asked, Broker, Key, TOPIC, Topic};
use crate::support::{Calls as _, at, reader, switch};

/// The lines of this test's thread at `info` and above.
struct Log {
    text: &'static Mutex<Vec<u8>>,
    _guard: DefaultGuard,
}

impl Log {
    fn start() -> Self {
        // Beside a single subscriber, tracing has the first thread that comes to a line decide for all whether anybody wants it,
        // and threads of other tests have no subscriber.
        static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::new()));
        LazyLock::force(&SECOND);
        let text: &'static Mutex<Vec<u8>> = Box::leak(Box::default());
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::INFO)
            .with_ansi(false)
            .with_writer(move || text.make_writer())
            .finish();
        Self { text, _guard: tracing::subscriber::set_default(subscriber) }
    }

    /// Takes the lines about one broker since the last call, which begin with level and message as in `want`.
    #[track_caller]
    fn check(&self, broker: SocketAddr, want: &[&str]) {
        let text =
            String::from_utf8(std::mem::take(&mut *self.text.lock().expect("no panic"))).expect("text");
        let about = format!("broker={broker}");
        let lines = text.lines().filter(|line| line.contains(&about));
        let lines: Vec<String> =
            lines.map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(lines.len(), want.len(), "{lines:#?}");
        for (line, want) in lines.iter().zip(want) {
            assert!(line.starts_with(want), "{lines:#?}");
            assert_eq!(line.contains(" outage="), *want == RECOVERED, "{line}");
        }
    }
}

const FAILED: &str = "WARN sluicegate_reader::broker::health: broker failed cluster=\"";
const RECOVERED: &str = "INFO sluicegate_reader::broker::health: broker recovered cluster=\"";

#[tokio::test]
async fn outage_logs_one_warning_and_one_recovery() {
    let log = Log::start();
    let mut broker = Broker::start(Asked::usual).await;
    let address = broker.address;
    let reader = broker.reader();
    reader.read("t", at(0)).await.expect("an empty answer");
    log.check(address, &[]);
    for _ in 0..2 {
        drop(broker);
        for _ in 0..10 {
            reader.read("t", at(0)).await.expect_err("nobody is there");
        }
        log.check(address, &[FAILED]);
        broker = Broker::start_at(address, Asked::usual).await;
        let answered = async { while reader.read("t", at(0)).await.is_err() {} };
        timeout(Duration::from_secs(20), answered).await.expect("an answer in 20 s");
        log.check(address, &[RECOVERED]);
    }
}

/// As in a cluster of several brokers: metadata has only those that are up.
#[tokio::test]
async fn recovery_of_a_dropped_broker_is_logged() {
    let log = Log::start();
    let leader = Broker::start(Asked::usual).await;
    let address = leader.address;
    let is_down = switch();
    let bootstrap = Broker::of(Key::Metadata, move |asked| match is_down.load(Ordering::SeqCst) {
        true => asked.usual(),
        false => asked.metadata(&[asked.broker, address], Topic { leader: 1, ..TOPIC }),
    })
    .await;
    let reader = reader(&[bootstrap.address]);
    reader.read("t", at(0)).await.expect("an empty answer");
    drop(leader);
    reader.read("t", at(0)).await.expect_err("the leader is down");
    is_down.store(true, Ordering::SeqCst);
    reader.read("t", at(0)).await.expect("an answer of the new leader");
    log.check(address, &[FAILED]);

    let _leader = Broker::start_at(address, Asked::usual).await;
    is_down.store(false, Ordering::SeqCst);
    // Metadata of a topic that is new to the reader.
    reader.read("other", at(0)).await.expect("an answer of the old leader");
    log.check(address, &[RECOVERED]);
}

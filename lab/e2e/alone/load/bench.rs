//! The stack under load: one gateway worker, a bridge, and a Kafka with small and large records.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::process::allow_many_files;
use sluicegate_stack::raw::Raw;
use sluicegate_stack::stack::{Setup, Stack};
use sluicegate_stack::waiting::becomes;
use sluicegate_stack::way::Way;
use tokio::sync::{Mutex, MutexGuard, OnceCell};

/// Stack and topics of a test.
pub(crate) struct Bench {
    pub(crate) stack: Stack,
    /// Records of a few bytes.
    pub(crate) small: &'static str,
    /// Records of which one fills an answer.
    pub(crate) large: &'static str,
    /// One test at a time: each measures memory and time.
    _turn: MutexGuard<'static, ()>,
}

impl Bench {
    pub(crate) async fn new(way: impl Into<Way>) -> Self {
        static TURN: Mutex<()> = Mutex::const_new(());
        static TOPICS: OnceCell<[String; 2]> = OnceCell::const_new();
        let turn = TURN.lock().await;
        allow_many_files().unwrap();
        let kafka = Kafka::shared().await.unwrap();
        let [small, large] = TOPICS.get_or_init(async || topics(kafka).await).await;
        let setup = Setup { concurrency: 1, ..Setup::new(way, kafka.bootstrap()) };
        let mut stack = Stack::start(setup).await.unwrap();
        stack.ready_within(Duration::from_secs(30)).await.unwrap();
        Self { stack, small, large, _turn: turn }
    }

    /// Open sessions, as the bridge counts them.
    pub(crate) async fn sessions(&self) -> f64 {
        self.stack.bridge.count("sluicegate_sessions{", "").await.unwrap()
    }

    /// Commands that the bridge has answered.
    pub(crate) async fn commands(&self) -> f64 {
        self.stack.bridge.count("sluicegate_commands_total{", "").await.unwrap()
    }

    /// One of Envoy's numbers.
    pub(crate) async fn stat(&self, name: &str) -> u64 {
        let stats = self.stack.envoy().stats(&format!("{name}$")).await.unwrap();
        assert_eq!(stats.len(), 1, "{name} is {stats:?}");
        stats.values().sum()
    }

    /// The filter, where there is one, never trapped, and the host did all that it asked.
    pub(crate) async fn assert_filter_survived(&self) {
        if !self.stack.way().is_envoy() {
            return;
        }
        assert_eq!(self.stack.envoy().filter_reloads().await.unwrap(), 0);
        assert_eq!(self.stat("sluicegate.errors.host_call").await, 0);
    }

    /// Nobody but `left` sessions is there any more, by the account of every part.
    pub(crate) async fn is_left_with(&self, left: u64) {
        if !self.stack.way().is_envoy() {
            let sessions = async || self.sessions().await as u64;
            becomes("open sessions", left, Duration::from_secs(20), sessions).await;
            return;
        }
        let counts = async || {
            [
                self.sessions().await as u64,
                self.stat("sluicegate.sessions_open").await,
                self.stat("http.gateway.downstream_cx_upgrades_active").await,
                self.stat("cluster.sluicegate_bridge.upstream_rq_active").await,
            ]
        };
        becomes("open sessions", [left; 4], Duration::from_secs(20), counts).await;
    }
}

/// A session of a client that has hardly room for answers that it does not read.
pub(crate) async fn open(gateway: SocketAddr, address: Ipv4Addr) -> Raw {
    Raw::open_narrow(gateway, address, 32 * 1024).await
}

async fn topics(kafka: &Kafka) -> [String; 2] {
    let small = kafka.topic("small", 1, &[]).await.unwrap();
    kafka.produce(&small, 0, &[Record::of("seen")], Write::default()).await.unwrap();
    let large = kafka.topic("large", 1, &[]).await.unwrap();
    let record = Record::of(vec![b'x'; LARGE]);
    kafka.produce(&large, 0, &[record], Write::default()).await.unwrap();
    [small, large]
}

/// The address of attackers where it matters. Bystanders are at 127.0.0.1.
pub(crate) const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Nearly the default of `read.max_bytes`, 256 KiB.
pub(crate) const LARGE: usize = 250 * 1024;

//! The gateways and the Kafka that tests break. One test at a time uses them, and first restarts dead parts.

use std::fs;
use std::time::Duration;

use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::stack::{BridgeConfig, Setup, Stack};
use sluicegate_stack::way::Way;
use tokio::sync::{Mutex, MutexGuard, OnceCell};

/// A Kafka that may be killed or frozen; it serves clients when this returns.
pub(crate) async fn mortal_kafka() -> MutexGuard<'static, Kafka> {
    static KAFKA: OnceCell<Mutex<Kafka>> = OnceCell::const_new();
    let start = async || Mutex::new(Kafka::start().await.unwrap());
    let mut kafka = KAFKA.get_or_init(start).await.lock().await;
    kafka.thaw();
    kafka.up().await.unwrap();
    kafka
}

/// A gateway in front of a Kafka that is down, for what needs none; its bridge runs when this returns.
pub(crate) async fn without_kafka(way: impl Into<Way>) -> MutexGuard<'static, Stack> {
    static STACKS: [OnceCell<Mutex<Stack>>; Way::COUNT] = [const { OnceCell::const_new() }; Way::COUNT];
    let way = way.into();
    // Nobody listens on the discard port.
    let start = async || Mutex::new(Stack::start(Setup::new(way, "127.0.0.1:9")).await.unwrap());
    let mut stack = STACKS[way as usize].get_or_init(start).await.lock().await;
    stack.bridge.up().await.unwrap();
    stack
}

/// A stack of the test's own in front of `kafka`, ready for a fetch. `settings` are the first lines of its bridge's
/// configuration. Without a gateway, the bridge closes leftover connections after half a second.
pub(crate) async fn ready(way: impl Into<Way>, kafka: &Kafka, settings: &str) -> Stack {
    let way = way.into();
    let bootstrap = kafka.bootstrap();
    let bridge = BridgeConfig::Cluster { bootstrap: bootstrap.clone(), settings: settings.to_owned() };
    let soon = ("SLUICEGATE_SESSION__CLOSE_TIMEOUT_MS".to_owned(), "500".to_owned());
    let bridge_environment = (way == Way::Direct).then_some(soon).into_iter().collect();
    let setup = Setup { bridge, bridge_environment, ..Setup::new(way, bootstrap) };
    let mut stack = Stack::start(setup).await.unwrap();
    stack.ready_within(Duration::from_secs(30)).await.unwrap();
    stack
}

/// Open sessions, as the bridge counts them.
pub(crate) async fn sessions(stack: &Stack) -> f64 {
    stack.bridge.count("sluicegate_sessions{", "").await.unwrap()
}

/// Sessions that have ended for `reason`, as the bridge counts them.
pub(crate) async fn ended(stack: &Stack, reason: &str) -> f64 {
    let label = format!("reason=\"{reason}\"");
    stack.bridge.count("sluicegate_sessions_ended_total{", &label).await.unwrap()
}

/// Fetches that wait at the end of a log, as the bridge counts them.
pub(crate) async fn waiting(stack: &Stack) -> f64 {
    stack.bridge.count("sluicegate_tail_waiters", "").await.unwrap()
}

/// Commands that the bridge has answered.
pub(crate) async fn answered(stack: &Stack) -> f64 {
    stack.bridge.count("sluicegate_commands_total{", "").await.unwrap()
}

/// Neither filter nor bridge ever trapped or panicked, and nginx did nothing of the kind.
pub(crate) async fn assert_unharmed(stack: &Stack) {
    if stack.way().is_envoy() {
        assert_eq!(stack.envoy().filter_reloads().await.unwrap(), 0);
    }
    for process in stack.processes() {
        let log = fs::read_to_string(process.log()).unwrap();
        let signs = ["Function: proxy_on_", "panicked", "[alert]", "[emerg]"];
        assert!(!signs.iter().any(|sign| log.contains(sign)), "{log}");
    }
}

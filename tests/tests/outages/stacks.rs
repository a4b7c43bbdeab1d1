//! What tests break: a gateway and a Kafka that one test at a time has for itself, and puts up again when it takes them.

use std::collections::HashSet;
use std::fs;
use std::time::Duration;

use sluicegate_tests::envoy::Profile;
use sluicegate_tests::kafka::Kafka;
use sluicegate_tests::stack::{BridgeConfig, Setup, Stack};
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
pub(crate) async fn without_kafka(profile: Profile) -> MutexGuard<'static, Stack> {
    static STACKS: [OnceCell<Mutex<Stack>>; 2] = [const { OnceCell::const_new() }; 2];
    // Nobody listens on the discard port.
    let start = async || Mutex::new(Stack::start(Setup::new(profile, "127.0.0.1:9")).await.unwrap());
    let mut stack = STACKS[profile as usize].get_or_init(start).await.lock().await;
    stack.bridge.up().await.unwrap();
    stack
}

/// A gateway of a test's own in front of `kafka`, ready for a fetch: `settings` stand at the top of its bridge's
/// configuration.
pub(crate) async fn ready(profile: Profile, kafka: &Kafka, settings: &str) -> Stack {
    let bootstrap = kafka.bootstrap();
    let bridge = BridgeConfig::Cluster { bootstrap: bootstrap.clone(), settings: settings.to_owned() };
    let mut stack = Stack::start(Setup { bridge, ..Setup::new(profile, bootstrap) }).await.unwrap();
    stack.ready_within(Duration::from_secs(30)).await.unwrap();
    stack
}

/// Open sessions, as the bridge counts them.
pub(crate) async fn sessions(stack: &Stack) -> f64 {
    sum(stack, "sluicegate_sessions{", "").await
}

/// Sessions that have ended for `reason`, as the bridge counts them.
pub(crate) async fn ended(stack: &Stack, reason: &str) -> f64 {
    sum(stack, "sluicegate_sessions_ended_total{", &format!("reason=\"{reason}\"")).await
}

/// The bridge's connections to Kafka.
pub(crate) fn kafka_connections(stack: &Stack, kafka: &Kafka) -> HashSet<String> {
    stack.bridge.process.connections(kafka.nodes[0].address()).unwrap()
}

/// Commands that the bridge has answered.
pub(crate) async fn answered(stack: &Stack) -> f64 {
    sum(stack, "sluicegate_commands_total{", "").await
}

/// Of the bridge's samples whose lines begin with `prefix` and hold `label`; there has to be one.
async fn sum(stack: &Stack, prefix: &str, label: &str) -> f64 {
    let mut samples = stack.bridge.metrics(prefix).await.unwrap();
    samples.retain(|(name, _)| name.contains(label));
    assert!(!samples.is_empty(), "the bridge counts no {prefix} {label}");
    samples.iter().map(|(_, value)| value).sum()
}

/// The filter never trapped.
pub(crate) async fn assert_filter_survived(stack: &Stack) {
    assert_eq!(stack.envoy().filter_reloads().await.unwrap(), 0);
    let log = fs::read_to_string(stack.envoy().process.log()).unwrap();
    assert!(!log.contains("Function: proxy_on_") && !log.contains("panicked"), "{log}");
}

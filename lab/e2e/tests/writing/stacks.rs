//! The gateways that the tests write through.

use std::time::Duration;

use bytes::Bytes;
use sluicegate_protocol::metadata::WRITE;
use sluicegate_protocol::{ErrorResp, ProduceRecord, Produced};
use sluicegate_stack::envoy::writing;
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::nginx::Route;
use sluicegate_stack::stack::{BridgeConfig, Setup, Stack};
use sluicegate_stack::waiting;
use sluicegate_stack::way::Way;
use tokio::sync::OnceCell;

/// The Kafka of all tests, and the gateway of all tests of a way in, every setting at its default.
pub(crate) async fn shared(way: impl Into<Way>) -> (&'static Kafka, &'static Stack) {
    static SHARED: [OnceCell<Stack>; Way::COUNT] = [const { OnceCell::const_new() }; Way::COUNT];
    let kafka = Kafka::shared().await.unwrap();
    let way = way.into();
    let start = async || with(way, kafka, "", "").await;
    (kafka, SHARED[way as usize].get_or_init(start).await)
}

/// A gateway of a test's own, with `settings` in front of the bridge's cluster and `properties` in it.
pub(crate) async fn with(way: impl Into<Way>, kafka: &Kafka, settings: &str, properties: &str) -> Stack {
    let bootstrap = kafka.bootstrap();
    let cluster = format!("[clusters.default]\nbootstrap.servers = {bootstrap:?}\n{properties}\n");
    let text = format!("{settings}\n[write]\nclusters = [\"default\"]\n{cluster}");
    let bridge = BridgeConfig::Text(text);
    let setup = allowed(Setup { bridge, ..Setup::new(way, bootstrap) });
    let mut stack = Stack::start(setup).await.unwrap();
    stack.ready_within(Duration::from_secs(30)).await.unwrap();
    stack
}

/// With a gateway whose route may write.
pub(crate) fn allowed(setup: Setup) -> Setup {
    if setup.way.is_envoy() {
        Setup { envoy_edits: vec![writing()], ..setup }
    } else {
        Setup { routes: vec![Route::new("/pubsub").with(WRITE, "true")], ..setup }
    }
}

/// A record for partition 0, without a key.
pub(crate) fn record(topic: &str, value: impl Into<Bytes>) -> ProduceRecord {
    let (topic, value) = (topic.to_owned(), Some(value.into()));
    ProduceRecord { topic, partition: Some(0), value, ..ProduceRecord::default() }
}

/// The offset of a record that was acknowledged.
#[track_caller]
pub(crate) fn offset(produced: &Produced) -> i64 {
    assert_eq!(produced.error, None);
    produced.offset
}

/// The error of a record that was not.
#[track_caller]
pub(crate) fn error(produced: &Produced) -> &ErrorResp {
    produced.error.as_ref().unwrap_or_else(|| panic!("{produced:?} instead of an error"))
}

/// The bridge's count of this name.
pub(crate) async fn count(stack: &Stack, name: &str) -> f64 {
    stack.bridge.count(&format!("sluicegate_{name}{{"), "").await.unwrap()
}

/// Waits until the bridge's count of this name is `want`.
pub(crate) async fn becomes(stack: &Stack, name: &str, want: f64) {
    until(stack, name, |seen| seen == want).await;
}

/// Waits until the bridge's count of this name is `more` than it is.
pub(crate) async fn grows(stack: &Stack, name: &str, more: f64) {
    let start = count(stack, name).await;
    until(stack, name, |seen| seen >= start + more).await;
}

async fn until(stack: &Stack, name: &str, is_it: impl Fn(f64) -> bool) {
    let reached = async || match count(stack, name).await {
        seen if is_it(seen) => Ok(()),
        seen => Err(format!("still {seen}")),
    };
    waiting::until(name, Duration::from_secs(60), reached).await;
}

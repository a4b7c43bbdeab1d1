//! The gateways that tests share; a test that breaks its gateway starts one of its own.

use sluicegate_tests::envoy::{Profile, plugin, routes};
use sluicegate_tests::kafka::Kafka;
use sluicegate_tests::stack::{BridgeConfig, Lent, Setup, Stack};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

/// The gateway with its committed configuration, shared with other tests at the same time.
pub(crate) async fn committed(profile: Profile) -> Lent<&'static Stack> {
    static STACKS: [OnceCell<Stack>; 2] = [const { OnceCell::const_new() }; 2];
    Lent(STACKS[profile as usize].get_or_init(|| start(profile, "", Vec::new())).await)
}

/// The gateway with all that can be configured, shared with other tests at the same time: a secret between filter and
/// bridge, requests of at most [`CONFIGURED_LIMIT`] bytes, half a second's wait at the log end, and three routes:
/// `/pubsub` as committed, `/guarded` for the web pages of [`ORIGIN`], and `/spoken` for [`SUBPROTOCOLS`].
pub(crate) async fn configured(profile: Profile) -> Lent<&'static Stack> {
    static STACKS: [OnceCell<Stack>; 2] = [const { OnceCell::const_new() }; 2];
    let begin = async || {
        let bridge = format!("gateway_secret = \"{SECRET}\"\n[read]\nwait_ms = 500\n");
        let [first, second] = SUBPROTOCOLS;
        let keys = format!("\"gateway_secret\": \"{SECRET}\", \"max_message_bytes\": {CONFIGURED_LIMIT},");
        let guarded = format!(r#"{{"path": "/guarded", "origins": ["{ORIGIN}"]}}"#);
        let spoken = format!(r#"{{"path": "/spoken", "subprotocols": ["{first}", "{second}"]}}"#);
        let edits = vec![plugin(&keys, &[&guarded, &spoken]), routes(&["/guarded", "/spoken"])];
        start(profile, &bridge, edits).await
    };
    Lent(STACKS[profile as usize].get_or_init(begin).await)
}

/// A gateway that a test has for itself while it holds it, for what is counted exactly. Its bridge knows a second
/// cluster, [`OTHER_CLUSTER`], which no route names.
pub(crate) async fn alone(profile: Profile) -> Lent<MutexGuard<'static, Stack>> {
    static STACKS: [OnceCell<Mutex<Stack>>; 2] = [const { OnceCell::const_new() }; 2];
    let begin = async || {
        let bridge = format!("[clusters.{OTHER_CLUSTER}]\n\"bootstrap.servers\" = \"127.0.0.1:9\"\n");
        Mutex::new(start(profile, &bridge, Vec::new()).await)
    };
    Lent(STACKS[profile as usize].get_or_init(begin).await.lock().await)
}

/// A gateway of a test's own, in front of the shared Kafka: `bridge` stands at the top of the bridge's configuration.
pub(crate) async fn start(profile: Profile, bridge: &str, envoy_edits: Vec<(String, String)>) -> Stack {
    let bootstrap = Kafka::shared().await.unwrap().bootstrap();
    let bridge = BridgeConfig::Cluster { bootstrap: bootstrap.clone(), settings: bridge.to_owned() };
    Stack::start(Setup { bridge, envoy_edits, ..Setup::new(profile, bootstrap) }).await.unwrap()
}

pub(crate) const SECRET: &str = "between-gateway-and-bridge";
pub(crate) const CONFIGURED_LIMIT: usize = 4096;
pub(crate) const ORIGIN: &str = "https://app.example";
pub(crate) const SUBPROTOCOLS: [&str; 2] = ["pubsub.v2", "pubsub.v1"];
pub(crate) const OTHER_CLUSTER: &str = "other";

//! The gateways that tests share; a test that breaks its gateway starts one of its own.

use std::ops::{Deref, DerefMut};
use std::thread;

use sluicegate_tests::envoy::Profile;
use sluicegate_tests::kafka::Kafka;
use sluicegate_tests::stack::{BridgeConfig, Setup, Stack};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

/// The gateway with its committed configuration, shared with other tests at the same time.
pub(crate) async fn committed(profile: Profile) -> Lent<&'static Stack> {
    static STACKS: [OnceCell<Stack>; 2] = [const { OnceCell::const_new() }; 2];
    let stack = STACKS[profile as usize].get_or_init(|| start(setup(profile, "", &[]))).await;
    Lent(stack)
}

/// The gateway with all that can be configured, shared with other tests at the same time: a secret between filter and
/// bridge, requests of at most [`CONFIGURED_LIMIT`] bytes, a wait of half a second at the log end, and three routes:
/// `/pubsub` as committed, `/guarded` for the web pages of [`ORIGIN`], and `/spoken` for [`SUBPROTOCOLS`].
pub(crate) async fn configured(profile: Profile) -> Lent<&'static Stack> {
    static STACKS: [OnceCell<Stack>; 2] = [const { OnceCell::const_new() }; 2];
    let begin = || {
        let bridge = format!("gateway_secret = \"{SECRET}\"\n[read]\nwait_ms = 500\n");
        let [first, second] = SUBPROTOCOLS;
        let keys = format!("\"gateway_secret\": \"{SECRET}\", \"max_message_bytes\": {CONFIGURED_LIMIT}, ");
        let more = format!(
            r#", {{"path": "/guarded", "origins": ["{ORIGIN}"]}}, {{"path": "/spoken", "subprotocols": ["{first}", "{second}"]}}"#
        );
        let edits = [plugin(&keys, &more), route("/guarded"), route("/spoken")].map(|edit| edit.to_vec());
        start(setup(profile, &bridge, &merge(edits.concat())))
    };
    Lent(STACKS[profile as usize].get_or_init(begin).await)
}

/// A gateway that this test has for itself while it holds it, for what is counted exactly. Its bridge knows a second
/// cluster, [`OTHER_CLUSTER`], which nobody may reach.
pub(crate) async fn alone(profile: Profile) -> Lent<MutexGuard<'static, Stack>> {
    static STACKS: [OnceCell<Mutex<Stack>>; 2] = [const { OnceCell::const_new() }; 2];
    let begin = async || {
        let bridge = format!("[clusters.{OTHER_CLUSTER}]\n\"bootstrap.servers\" = \"127.0.0.1:9\"\n");
        Mutex::new(start(setup(profile, &bridge, &[])).await)
    };
    Lent(STACKS[profile as usize].get_or_init(begin).await.lock().await)
}

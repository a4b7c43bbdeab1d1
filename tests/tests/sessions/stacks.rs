//! The gateways that tests share. A test that breaks its gateway starts its own.

use sluicegate_protocol::metadata::{GATEWAY_SECRET, SUBPROTOCOL};
use sluicegate_tests::envoy::{plugin, routes};
use sluicegate_tests::kafka::Kafka;
use sluicegate_tests::relay::Route;
use sluicegate_tests::stack::{BridgeConfig, Lent, Setup, Stack};
use sluicegate_tests::way::Way;
use tokio::sync::{Mutex, MutexGuard, OnceCell};

/// The gateway with its committed configuration, shared with other tests at the same time. nginx shows the bridge a secret:
/// without one, the bridge would take its clients for those of this machine.
pub(crate) async fn committed(way: impl Into<Way>) -> Lent<&'static Stack> {
    static STACKS: [OnceCell<Stack>; Way::COUNT] = [const { OnceCell::const_new() }; Way::COUNT];
    let way = way.into();
    let begin = async || match way {
        Way::Tunnel | Way::Internal | Way::Direct => start(way, "", Vec::new()).await,
        Way::Apisix => panic!("it has no sessions"),
        Way::Relay => relay(&secret(), vec![Route::new("/pubsub").with(GATEWAY_SECRET, SECRET)]).await,
    };
    Lent(STACKS[way as usize].get_or_init(begin).await)
}

/// The gateway with all that can be configured, shared with other tests at the same time: a secret between gateway and
/// bridge where there is a gateway, requests of at most [`CONFIGURED_LIMIT`] bytes, half a second's wait at the log end, and
/// routes besides `/pubsub`: `/spoken` for [`SUBPROTOCOLS`], of which nginx can only name the first, and on Envoy `/guarded`
/// for the web pages of [`ORIGIN`].
pub(crate) async fn configured(way: impl Into<Way>) -> Lent<&'static Stack> {
    static STACKS: [OnceCell<Stack>; Way::COUNT] = [const { OnceCell::const_new() }; Way::COUNT];
    let way = way.into();
    let secret = secret();
    let limit = format!("[limits]\nmax_request_bytes = {CONFIGURED_LIMIT}\n");
    let wait = "[read]\nwait_ms = 500\n";
    let [first, second] = SUBPROTOCOLS;
    let begin = async || match way {
        Way::Tunnel | Way::Internal => {
            let keys =
                format!("\"gateway_secret\": \"{SECRET}\", \"max_message_bytes\": {CONFIGURED_LIMIT},");
            let guarded = format!(r#"{{"path": "/guarded", "origins": ["{ORIGIN}"]}}"#);
            let spoken = format!(r#"{{"path": "/spoken", "subprotocols": ["{first}", "{second}"]}}"#);
            let edits = vec![plugin(&keys, &[&guarded, &spoken]), routes(&["/guarded", "/spoken"])];
            start(way, &format!("{secret}{wait}"), edits).await
        }
        Way::Relay => {
            let route = |path| Route::new(path).with(GATEWAY_SECRET, SECRET);
            let routes = vec![route("/pubsub"), route("/spoken").with(SUBPROTOCOL, first)];
            relay(&format!("{secret}{limit}{wait}"), routes).await
        }
        Way::Apisix => panic!("it has no sessions"),
        Way::Direct => start(way, &format!("{limit}{wait}"), Vec::new()).await,
    };
    Lent(STACKS[way as usize].get_or_init(begin).await)
}

/// A gateway that a test has for itself while it holds it, for what is counted exactly. Its bridge knows a second
/// cluster, [`OTHER_CLUSTER`], which no route names, and where it has clients of its own, gives those that were told to close half a second for it.
pub(crate) async fn alone(way: impl Into<Way>) -> Lent<MutexGuard<'static, Stack>> {
    static STACKS: [OnceCell<Mutex<Stack>>; Way::COUNT] = [const { OnceCell::const_new() }; Way::COUNT];
    let way = way.into();
    let begin = async || {
        let cluster = format!("[clusters.{OTHER_CLUSTER}]\n\"bootstrap.servers\" = \"127.0.0.1:9\"\n");
        let close = if way.has_filter() { "" } else { "[session]\nclose_timeout_ms = 500\n" };
        let bridge = format!("{close}{cluster}");
        Mutex::new(start(way, &bridge, Vec::new()).await)
    };
    Lent(STACKS[way as usize].get_or_init(begin).await.lock().await)
}

/// A gateway of a test's own, in front of the shared Kafka: `bridge` stands at the top of the bridge's configuration.
pub(crate) async fn start(way: impl Into<Way>, bridge: &str, envoy_edits: Vec<(String, String)>) -> Stack {
    Stack::start(Setup { envoy_edits, ..setup(way.into(), bridge).await }).await.unwrap()
}

/// As [`start`], with nginx and these routes.
pub(crate) async fn relay(bridge: &str, routes: Vec<Route>) -> Stack {
    Stack::start(Setup { routes, ..setup(Way::Relay, bridge).await }).await.unwrap()
}

/// At the top of a bridge's configuration.
pub(crate) fn secret() -> String {
    format!("gateway_secret = \"{SECRET}\"\n")
}

async fn setup(way: Way, bridge: &str) -> Setup {
    let bootstrap = Kafka::shared().await.unwrap().bootstrap();
    let bridge = BridgeConfig::Cluster { bootstrap: bootstrap.clone(), settings: bridge.to_owned() };
    Setup { bridge, ..Setup::new(way, bootstrap) }
}

pub(crate) const SECRET: &str = "between-gateway-and-bridge";
pub(crate) const CONFIGURED_LIMIT: usize = 4096;
pub(crate) const ORIGIN: &str = "https://app.example";
pub(crate) const SUBPROTOCOLS: [&str; 2] = ["pubsub.v2", "pubsub.v1"];
pub(crate) const OTHER_CLUSTER: &str = "other";

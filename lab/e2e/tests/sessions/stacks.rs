//! The gateways that tests share. A test that breaks its gateway starts its own.

use sluicegate_protocol::metadata::{GATEWAY_SECRET, TABLES, WRITE};
use sluicegate_stack::envoy::{plugin, writing};
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::nginx::Route;
use sluicegate_stack::stack::{BridgeConfig, Lent, Setup, Stack};
use sluicegate_stack::way::Way;
use tokio::sync::{Mutex, MutexGuard, OnceCell};

/// The gateway with its committed configuration, shared with other tests at the same time. Those that relay show the
/// bridge a secret: without one, it would take their clients for those of this machine.
pub(crate) async fn committed(way: impl Into<Way>) -> Lent<&'static Stack> {
    static STACKS: [OnceCell<Stack>; Way::COUNT] = [const { OnceCell::const_new() }; Way::COUNT];
    let way = way.into();
    let begin = async || match way {
        Way::Tunnel | Way::Direct => start(way, "", Vec::new()).await,
        Way::Apisix => panic!("it has no sessions"),
        Way::Relay => start(way, &secret(), vec![knowing(SECRET)]).await,
        Way::Nginx => {
            let routes = vec![Route::new("/pubsub").with(GATEWAY_SECRET, SECRET)];
            Stack::start(Setup { routes, ..setup(way, &secret()).await }).await.unwrap()
        }
    };
    Lent(STACKS[way as usize].get_or_init(begin).await)
}

/// A gateway for one test at a time, for exact counts. Its bridge has a second cluster, [`OTHER_CLUSTER`], which no
/// route names. Without a gateway, it closes leftover connections after half a second.
pub(crate) async fn alone(way: impl Into<Way>) -> Lent<MutexGuard<'static, Stack>> {
    static STACKS: [OnceCell<Mutex<Stack>>; Way::COUNT] = [const { OnceCell::const_new() }; Way::COUNT];
    let way = way.into();
    let begin = async || {
        let close = if way.filter_runs_sessions() { "" } else { "[session]\nclose_timeout_ms = 500\n" };
        let cluster = format!("[clusters.{OTHER_CLUSTER}]\n\"bootstrap.servers\" = \"127.0.0.1:9\"\n");
        Mutex::new(start(way, &format!("{close}{cluster}"), Vec::new()).await)
    };
    Lent(STACKS[way as usize].get_or_init(begin).await.lock().await)
}

/// A gateway whose clients can write, shared with other tests at the same time. Without a gateway, clients grant it to
/// themselves: they send the header `sluicegate-write`.
pub(crate) async fn writable(way: Way) -> Lent<&'static Stack> {
    static STACKS: [OnceCell<Stack>; Way::COUNT] = [const { OnceCell::const_new() }; Way::COUNT];
    let begin = async || {
        let setup = setup(way, "[write]\nclusters = [\"default\"]\n").await;
        let setup = match way.is_envoy() {
            true => Setup { envoy_edits: vec![writing()], ..setup },
            false => {
                Setup { routes: vec![Route::new("/pubsub").with(WRITE, "true").with(TABLES, "*")], ..setup }
            }
        };
        Stack::start(setup).await.unwrap()
    };
    Lent(STACKS[way as usize].get_or_init(begin).await)
}

/// A gateway of a test's own, in front of the shared Kafka: `bridge` stands at the top of the bridge's configuration.
pub(crate) async fn start(way: impl Into<Way>, bridge: &str, envoy_edits: Vec<(String, String)>) -> Stack {
    Stack::start(Setup { envoy_edits, ..setup(way.into(), bridge).await }).await.unwrap()
}

/// The edit that gives Envoy's filter this secret.
pub(crate) fn knowing(secret: &str) -> (String, String) {
    plugin(&format!("\"gateway_secret\": \"{secret}\","), &[])
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
pub(crate) const OTHER_CLUSTER: &str = "other";

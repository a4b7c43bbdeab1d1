//! The gateways of these tests, and their routes.

use std::time::Duration;

use serde_json::{Map, Value, json};
use sluicegate_stack::apisix;
use sluicegate_stack::envoy::plugin;
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::nats::Nats;
use sluicegate_stack::stack::{BridgeConfig, Lent, Setup, Stack};
use sluicegate_stack::waiting::until;
use sluicegate_stack::way::Way;
use tokio::sync::OnceCell;

/// The Kafka of all tests, and the gateway of all tests of a way in, every setting at its default.
pub(crate) async fn shared(way: impl Into<Way>) -> (&'static Kafka, Lent<&'static Stack>) {
    static SHARED: [OnceCell<Stack>; Way::COUNT] = [const { OnceCell::const_new() }; Way::COUNT];
    let way = way.into();
    let kafka = Kafka::shared().await.unwrap();
    let start = async || {
        kafka.make_topic(home(way), HOME_PARTITIONS, &[]).await.unwrap();
        let servers = Nats::shared().await.unwrap().client();
        let nats = format!("[clusters.nats]\nkind = \"nats\"\nservers = \"nats://{servers}\"\n");
        with(way, kafka, "[write]\nclusters = [\"default\", \"nats\"]\n", &nats, "").await
    };
    (kafka, Lent(SHARED[way as usize].get_or_init(start).await))
}

/// A gateway of a test's own with all [`routes`]: `settings` stand in front of the bridge's clusters, `properties` in
/// its default one, and `keys` in the filter's configuration.
pub(crate) async fn with(
    way: impl Into<Way>,
    kafka: &Kafka,
    settings: &str,
    properties: &str,
    keys: &str,
) -> Stack {
    let mut stack = Stack::start(setup(way, kafka, settings, properties, keys)).await.unwrap();
    stack.ready_within(Duration::from_secs(30)).await.unwrap();
    stack
}

/// Setup of the stack that [`with`] starts.
pub(crate) fn setup(
    way: impl Into<Way>,
    kafka: &Kafka,
    settings: &str,
    properties: &str,
    keys: &str,
) -> Setup {
    let way = way.into();
    let bootstrap = kafka.bootstrap();
    // Without a secret, the bridge would take clients over HTTP/1.1 for those of this machine.
    let has_secret = [Way::Relay, Way::Apisix].contains(&way) && !settings.contains("gateway_secret");
    let (secret, key) = match has_secret {
        true => (
            "gateway_secret = \"between-gateway-and-bridge\"\n",
            "\"gateway_secret\": \"between-gateway-and-bridge\",",
        ),
        false => ("", ""),
    };
    let keys = &format!("{key}{keys}");
    let cluster = |name: &str| format!("[clusters.{name}]\nbootstrap.servers = {bootstrap:?}\n");
    let text = format!("{secret}{settings}\n{}{}{properties}\n", cluster(UNWRITTEN), cluster("default"));
    let routes = routes(home(way));
    let mut setup = Setup { bridge: BridgeConfig::Text(text), ..Setup::new(way, bootstrap) };
    if way == Way::Apisix {
        setup.apisix.routes = routes.iter().map(|route| in_apisix(route, keys)).collect();
    } else {
        let routes: Vec<String> = routes.iter().map(ToString::to_string).collect();
        let routes: Vec<&str> = routes.iter().map(String::as_str).collect();
        setup.envoy_edits = vec![plugin(keys, &routes)];
    }
    setup
}

/// A route of the filter as APISIX has it: in a route of its own, with what Envoy has for all of them, and without a
/// path but where the filter needs one.
pub(crate) fn in_apisix(route: &Value, keys: &str) -> apisix::Route {
    let mut conf: Map<String, Value> =
        serde_json::from_str(&format!("{{{}}}", keys.trim_end_matches(','))).unwrap();
    conf.extend(route.as_object().unwrap().clone());
    let path = conf["path"].as_str().unwrap().to_owned();
    if conf["type"] == "rest" {
        return apisix::Route::below(&path, conf);
    }
    conf.remove("path");
    apisix::Route::new(path, conf)
}

/// The topic that routes of a way in name.
pub(crate) fn home(way: impl Into<Way>) -> &'static str {
    match way.into() {
        Way::Tunnel => "home-tunnel",
        Way::Relay => "home-relay",
        Way::Apisix => "home-apisix",
        Way::Nginx | Way::Direct => panic!("plain HTTP has a filter in front of it"),
    }
}

/// Every route besides `/pubsub`, each for a table of some test.
fn routes(home: &str) -> Vec<Value> {
    let all = ["topic", "partition", "key"];
    vec![
        json!({"path": "/fixed", "type": "produce", "topic": home}),
        json!({"path": "/routed", "type": "produce", "topic": home, "partition": 1, "key": "route key",
               "jsonkey": "id", "headerprefix": "cool-", "overrides": all}),
        json!({"path": "/bare", "type": "produce", "overrides": all}),
        json!({"path": ANY, "type": "produce", "headerprefix": "x-kafka-", "overrides": all,
               "recordheaderprefix": "x-kafka-header-"}),
        json!({"path": "/cors", "type": "produce", "headerprefix": "x-kafka-", "overrides": all,
               "origins": ORIGINS, "credentials": true}),
        json!({"path": "/unwritten", "type": "produce", "topic": home, "cluster": UNWRITTEN}),
        json!({"path": "/nowhere", "type": "produce", "topic": home, "cluster": "nowhere"}),
        json!({"path": "/readonly/", "type": "rest"}),
        json!({"path": "/rest-nowhere", "type": "rest", "write": true, "cluster": "nowhere"}),
        json!({"path": REST, "type": "rest", "write": true, "tables": ["*"]}),
        json!({"path": "/kafka/topics/exact", "type": "produce", "topic": home}),
        json!({"path": "/kafka/below/", "type": "rest"}),
        json!({"path": NATS, "type": "rest", "write": true, "cluster": "nats", "tables": ["*"]}),
        json!({"path": "/nats-readonly/", "type": "rest", "cluster": "nats"}),
        json!({"path": "/nats-web", "type": "rest", "cluster": "nats", "origins": ORIGINS}),
        json!({"path": PUBLISH, "type": "produce", "cluster": "nats", "headerprefix": "x-nats-", "overrides": all}),
        json!({"path": "/web", "type": "rest", "write": true, "origins": ORIGINS}),
        json!({"path": "/web-readonly", "type": "rest", "origins": ORIGINS}),
    ]
}

/// The bridge's counts of this name, added up.
pub(crate) async fn count(stack: &Stack, name: &str) -> f64 {
    let samples = stack.bridge.metrics(&format!("sluicegate_{name}{{")).await.unwrap();
    samples.into_iter().map(|(_, value)| value).sum()
}

/// Waits until the bridge's count of this name is at least `want`.
pub(crate) async fn reaches(stack: &Stack, name: &str, want: f64) {
    reaches_within(Duration::from_secs(60), stack, name, want).await;
}

/// The same for what takes longer than others.
pub(crate) async fn reaches_within(within: Duration, stack: &Stack, name: &str, want: f64) {
    let reached = async || match count(stack, name).await {
        seen if seen >= want => Ok(()),
        seen => Err(format!("{seen} instead of {want}")),
    };
    until(name, within, reached).await;
}

/// Waits until the bridge's count of this name is `more` than it is.
pub(crate) async fn grows(stack: &Stack, name: &str, more: f64) {
    let start = count(stack, name).await;
    reaches(stack, name, start + more).await;
}

/// The switch that lets the bridge write to its default cluster.
pub(crate) const WRITES: &str = "[write]\nclusters = [\"default\"]\n";
/// A cluster that the bridge knows and may not write to.
const UNWRITTEN: &str = "unwritten";
pub(crate) const HOME_PARTITIONS: i32 = 3;
/// The route on which request headers say everything: `x-kafka-topic` and so on, record headers under
/// `x-kafka-header-`.
pub(crate) const ANY: &str = "/any";
/// The route of the REST proxies' interface that may write.
pub(crate) const REST: &str = "/kafka";
/// The same of NATS.
pub(crate) const NATS: &str = "/nats";
/// The route on which request headers name stream and subject: `x-nats-topic` and `x-nats-key`.
pub(crate) const PUBLISH: &str = "/publish";
pub(crate) const ORIGINS: [&str; 2] = ["https://app.example", "http://localhost:3000"];

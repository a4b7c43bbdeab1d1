//! The gateways of these tests, whose routes have tables.

use std::time::Duration;

use serde_json::{Value, json};
use sluicegate_stack::envoy::{self, instead};
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::nats::Nats;
use sluicegate_stack::stack::{BridgeConfig, Lent, Setup, Stack};
use sluicegate_stack::way::Way;
use tokio::sync::OnceCell;

/// The Kafka of all tests, and the gateway of all tests of a way in.
pub(crate) async fn shared(way: impl Into<Way>) -> (&'static Kafka, Lent<&'static Stack>) {
    static SHARED: [OnceCell<Stack>; Way::COUNT] = [const { OnceCell::const_new() }; Way::COUNT];
    let way = way.into();
    let kafka = Kafka::shared().await.unwrap();
    let start = async || {
        let servers = Nats::shared().await.unwrap().client();
        let nats = format!("[clusters.nats]\nkind = \"nats\"\nservers = \"nats://{servers}\"\n");
        with(way, kafka, "", &nats, &json!([TABLES])).await
    };
    (kafka, Lent(SHARED[way as usize].get_or_init(start).await))
}

/// Every topic.
const TABLES: &str = "*";

/// A gateway of a test's own, with `settings` in front of the bridge's cluster, `clusters` behind it, and routes with
/// these `tables`.
pub(crate) async fn with(
    way: impl Into<Way>,
    kafka: &Kafka,
    settings: &str,
    clusters: &str,
    tables: &Value,
) -> Stack {
    let bootstrap = kafka.bootstrap();
    let text = format!("{settings}\n[clusters.default]\nbootstrap.servers = {bootstrap:?}\n{clusters}");
    let red = json!([{"topic": "*", "only": {"header": "tenant", "is": "red"}}]);
    let keys = json!([{"topic": "*", "only": {"key_prefix": "key 1"}}]);
    let routes = [
        json!({"path": "/pubsub", "tables": tables}),
        json!({"path": "/red", "tables": tables, "read": red}),
        json!({"path": "/keys", "tables": tables, "read": keys}),
        json!({"path": "/nats", "cluster": "nats", "tables": tables}),
        json!({"path": REST, "type": "rest", "tables": tables}),
        json!({"path": RED, "type": "rest", "tables": tables, "read": red}),
        json!({"path": NATS_REST, "type": "rest", "cluster": "nats", "tables": tables}),
    ];
    let routes: Vec<String> = routes.iter().map(ToString::to_string).collect();
    let routes: Vec<&str> = routes.iter().map(String::as_str).collect();
    let way = way.into();
    let mut setup = Setup { bridge: BridgeConfig::Text(text), ..Setup::new(way, bootstrap) };
    setup.envoy_edits.push(instead("", &routes));
    if way != Way::Relay {
        setup.envoy_edits.push(envoy::routes(&["/red", "/keys", "/nats"]));
    }
    let mut stack = Stack::start(setup).await.unwrap();
    stack.ready_within(Duration::from_secs(30)).await.unwrap();
    stack
}

pub(crate) const REST: &str = "/kafka";
pub(crate) const RED: &str = "/red-kafka";
pub(crate) const NATS_REST: &str = "/streams";

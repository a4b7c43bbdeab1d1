//! The stack of most tests, for each way in: every setting at its default, Kafka and NATS behind the bridge.

use serde_json::{Value, json};
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::nats::Nats;
use sluicegate_stack::stack::{Lent, Stack};
use sluicegate_stack::way::Way;

use super::Config;

/// The Kafka of all tests, and the stack of all tests of a way in. Clients can write, and keep tables of each topic.
pub(crate) async fn standard(way: impl Into<Way>) -> (&'static Kafka, Lent<&'static Stack>) {
    (Kafka::shared().await.unwrap(), routed(way).await.shared().await)
}

/// Its configuration.
pub(crate) async fn routed(way: impl Into<Way>) -> Config {
    let (way, nats) = (way.into(), Nats::shared().await.unwrap());
    let unwritten = format!("bootstrap.servers = {:?}", Kafka::shared().await.unwrap().bootstrap());
    let config = Config::new(way).await.writing(&["default", "nats"]);
    let config = config.cluster(UNWRITTEN, &unwritten).with_nats(nats);
    match way {
        Way::Tunnel | Way::Relay => config.routes([sessions_on_nats()]).routes(plain()),
        Way::Apisix => config.routes(plain()),
        Way::Nginx | Way::Direct => config,
    }
}

fn sessions_on_nats() -> Value {
    json!({"path": NATS_SESSION, "cluster": "nats", "write": true, "tables": ["*"]})
}

/// Routes of plain HTTP.
fn plain() -> Vec<Value> {
    let all = ["topic", "partition", "key"];
    vec![
        json!({"path": ANY, "type": "produce", "headerprefix": "x-kafka-", "overrides": all,
               "recordheaderprefix": "x-kafka-header-"}),
        json!({"path": EVENTS, "type": "produce", "headerprefix": "x-kafka-", "overrides": all,
               "cloudevents": true}),
        json!({"path": REST_EVENTS, "type": "rest", "write": true, "cloudevents": true}),
        json!({"path": NATS_EVENTS, "type": "rest", "write": true, "cluster": "nats", "cloudevents": true}),
        json!({"path": "/unwritten", "type": "produce", "topic": "none", "cluster": UNWRITTEN}),
        json!({"path": "/nowhere", "type": "produce", "topic": "none", "cluster": "nowhere"}),
        json!({"path": "/readonly/", "type": "rest"}),
        json!({"path": "/rest-nowhere", "type": "rest", "write": true, "cluster": "nowhere"}),
        json!({"path": REST, "type": "rest", "write": true, "tables": ["*"], "consume": ["*"],
               "describe": true}),
        json!({"path": RED_REST, "type": "rest", "tables": ["*"],
               "read": [{"topic": "*", "only": {"header": "tenant", "is": "red"}}]}),
        json!({"path": "/web", "type": "rest", "write": true, "origins": ORIGINS}),
        json!({"path": "/durable/of", "type": "streams", "write": true}),
        json!({"path": "/durable-nats/of", "type": "streams", "write": true, "cluster": "nats"}),
        json!({"path": "/durable-web/of", "type": "streams", "origins": ORIGINS}),
        json!({"path": "/durable-nowhere/of", "type": "streams", "write": true, "cluster": "nowhere"}),
        json!({"path": NATS_REST, "type": "rest", "write": true, "cluster": "nats", "tables": ["*"]}),
        json!({"path": "/nats-readonly/", "type": "rest", "cluster": "nats"}),
        json!({"path": "/nats-web", "type": "rest", "cluster": "nats", "origins": ORIGINS}),
    ]
}

/// A cluster that the bridge knows and may not write to.
const UNWRITTEN: &str = "unwritten";
/// The `produce` route on which request headers say everything: `x-kafka-topic` and so on, record headers under
/// `x-kafka-header-`.
pub(crate) const ANY: &str = "/any";
/// The `produce` route that takes CloudEvents.
pub(crate) const EVENTS: &str = "/cloudevents";
/// The route of the REST proxies' interface that takes and gives them.
pub(crate) const REST_EVENTS: &str = "/kafka-cloudevents";
/// The same of NATS.
pub(crate) const NATS_EVENTS: &str = "/nats-cloudevents";
/// The route of the REST proxies' interface that can write.
pub(crate) const REST: &str = "/kafka";
/// The same of NATS.
pub(crate) const NATS_REST: &str = "/nats";
/// Sessions on NATS, which can write.
pub(crate) const NATS_SESSION: &str = "/nats-pubsub";
/// The route that shows the rows of a tenant: those with the header `tenant: red`.
pub(crate) const RED_REST: &str = "/red-kafka";
/// Origins of pages that can use `/web` and `/nats-web`.
const ORIGINS: [&str; 2] = ["https://app.example", "http://localhost:3000"];

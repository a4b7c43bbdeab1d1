//! A route with its own cluster: the bridge gets its definition, whatever headers a client sends.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use prost::Message;
use sluicegate_harness::Headers;
use sluicegate_protocol::ClusterDefinition;
use sluicegate_protocol::cluster_definition::{Sasl, Tls};

use crate::gateway::{Gateway, apisix};
use crate::plain::post;
use crate::socket::{Profile, start_configured, upgrade, upgrade_with};

const NAME: &str = "sluicegate-cluster-definition";

fn gateways() -> [Gateway; 2] {
    let kafka = r#"{"nodes": {"kafka-1:9094": 1, "kafka-2:9094": 1}, "tls": {"verify": false},
                    "sasl": {"username": "reader", "password": "hidden", "mechanism": "SCRAM-SHA-256"}}"#;
    let configuration = format!(
        r#"{{"gateway_secret": "s3cret-of-the-gateway", "routes": [
            {{"path": "/pubsub", "topics": ["*"], "kafka": {kafka}}}, {{"path": "/orders", "type": "produce",
            "topic": "orders", "origins": [], "kafka": {kafka}}},
            {{"path": "/other", "topics": ["*"], "cluster": "other"}}]}}"#
    );
    let worker = apisix();
    let route = worker.route(&configuration);
    [Gateway::Envoy(Profile::Tunnel, start_configured(&configuration)), Gateway::Apisix(worker, route)]
}

/// The bridge is told of the route's own cluster, and of no other.
#[track_caller]
fn check(headers: &Headers) {
    let named = headers.iter().filter(|(name, _)| name.starts_with(b"sluicegate-cluster"));
    let [(name, definition)] = *named.collect::<Vec<_>>() else { panic!("{headers:?}") };
    assert_eq!(name, NAME.as_bytes());
    assert_eq!(headers.text("sluicegate-gateway-secret"), Some("s3cret-of-the-gateway"));
    let definition = STANDARD_NO_PAD.decode(definition).expect("base64 without padding");
    let sasl =
        Sasl { username: "reader".into(), password: "hidden".into(), mechanism: "SCRAM-SHA-256".into() };
    let want = ClusterDefinition {
        nodes: vec!["kafka-1:9094".into(), "kafka-2:9094".into()],
        tls: Some(Tls { verify: false }),
        sasl: Some(sasl),
    };
    assert_eq!(ClusterDefinition::decode(&definition[..]), Ok(want));
}

fn forging(request: Headers) -> Headers {
    request
        .with(NAME, "CgdldmlsOjEK")
        .with("Sluicegate-Cluster-Definition", "CgdldmlsOjEK")
        .with("sluicegate-cluster", "other")
        .with("sluicegate-write", "true")
}

#[test]
fn route_with_its_own_cluster_sends_the_definition() {
    for gateway in gateways() {
        for request in [upgrade(), post("/orders")] {
            check(&gateway.request(forging(request)).forwarded());
        }
        assert_eq!(gateway.log(), [], "{gateway:?}");
    }
}

#[test]
fn clients_cluster_definition_never_reaches_the_bridge() {
    let [envoy, apisix] = gateways();
    for (gateway, path, want) in
        [(&envoy, "/other", Some("other")), (&envoy, "/elsewhere", None), (&apisix, "/other", Some("other"))]
    {
        let headers = gateway.request(forging(upgrade_with(":path", path))).forwarded();
        assert_eq!((headers.get(NAME), headers.text("sluicegate-cluster")), (None, want), "{gateway:?}");
    }
}

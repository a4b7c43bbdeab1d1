//! A route with its own cluster: the bridge gets its definition, whatever headers a client sends.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use prost::Message;
use sluicegate_harness::Headers;
use sluicegate_harness::envoy::{Outcome, Vm};
use sluicegate_protocol::ClusterDefinition;
use sluicegate_protocol::cluster_definition::{Sasl, Tls};

use crate::plain::post;
use crate::socket::{PROFILES, Profile, filter, settings, upgrade, upgrade_with};

const NAME: &str = "sluicegate-cluster-definition";

fn start(profile: Profile) -> Vm {
    let profile = format!("{profile:?}").to_lowercase();
    let kafka = r#"{"nodes": {"kafka-1:9094": 1, "kafka-2:9094": 1}, "tls": {"verify": false},
                    "sasl": {"username": "reader", "password": "hidden", "mechanism": "SCRAM-SHA-256"}}"#;
    let configuration = format!(
        r#"{{"profile": "{profile}", "gateway_secret": "s3cret-of-the-gateway", "routes": [
            {{"path": "/pubsub", "topics": ["*"], "kafka": {kafka}}}, {{"path": "/orders", "type": "produce",
            "topic": "orders", "origins": [], "kafka": {kafka}}},
            {{"path": "/other", "topics": ["*"], "cluster": "other"}}]}}"#
    );
    filter().start(settings(&configuration)).unwrap_or_else(|error| panic!("{error}"))
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
    for profile in PROFILES {
        let vm = start(profile);
        for request in [upgrade(), post("/orders")] {
            let stream = vm.request(forging(request));
            let Outcome::Forwarded(headers) = stream.outcome() else { panic!("{:?}", stream.outcome()) };
            check(&headers);
        }
        assert_eq!(vm.log(), [], "{profile:?}");
    }
}

#[test]
fn clients_cluster_definition_never_reaches_the_bridge() {
    for profile in PROFILES {
        let vm = start(profile);
        for (path, want) in [("/other", Some("other")), ("/elsewhere", None)] {
            let stream = vm.request(forging(upgrade_with(":path", path)));
            let Outcome::Forwarded(headers) = stream.outcome() else { panic!("{:?}", stream.outcome()) };
            assert_eq!((headers.get(NAME), headers.text("sluicegate-cluster")), (None, want), "{profile:?}");
        }
    }
}

//! A route's own cluster: its encoding, and the errors of invalid ones.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use prost::Message;
use sluicegate_protocol::ClusterDefinition;
use sluicegate_protocol::cluster_definition::{Sasl, Tls};
use sluicegate_protocol::definition::{MAX_BYTES, MAX_NODES, Node};

use super::*;

/// The definition that the bridge gets for a route with this `kafka`.
#[track_caller]
fn definition(kafka: &str) -> ClusterDefinition {
    let route = only(&format!(r#""kafka":{kafka}"#));
    let ClusterSource::Defined(_) = &route.cluster else { panic!("{route:?}") };
    decoded(&route.cluster)
}

fn decoded(cluster: &ClusterSource) -> ClusterDefinition {
    let (name, value) = cluster.metadata();
    assert_eq!(name, "sluicegate-cluster-definition");
    ClusterDefinition::decode(&STANDARD_NO_PAD.decode(value).unwrap()[..]).unwrap()
}

/// An accepted cluster is a name or a definition that the bridge can read.
pub(super) fn check(cluster: &ClusterSource) {
    let ClusterSource::Defined(_) = cluster else { return };
    let definition = decoded(cluster);
    assert!((1..=MAX_NODES).contains(&definition.nodes.len()) && definition.encoded_len() <= MAX_BYTES);
    assert!(definition.nodes.iter().all(|node| Node::parse(node).is_some()));
    if let Some(sasl) = definition.sasl {
        assert!(!sasl.username.is_empty() && !sasl.password.is_empty());
    }
}

#[test]
fn brokers_are_named_as_apisix_names_them() {
    let nodes = |nodes: &str| {
        let definition = definition(&format!(r#"{{"nodes":{nodes}}}"#));
        assert_eq!((definition.tls, definition.sasl), (None, None));
        definition.nodes
    };
    assert_eq!(
        nodes(r#"{"Kafka-1.example:9092":1,"kafka-2:9093":0}"#),
        ["kafka-1.example:9092", "kafka-2:9093"]
    );
    assert_eq!(nodes(r#"["kafka-2:1","[::1]:2","10.0.0.1:3"]"#), ["kafka-2:1", "[::1]:2", "10.0.0.1:3"]);
    assert_eq!(
        nodes(
            r#"[{"host":"kafka-1","port":9092,"weight":1},{"host":"::1","port":1},{"host":"[::2]","port":1}]"#
        ),
        ["kafka-1:9092", "[::1]:1", "[::2]:1"]
    );
}

#[test]
fn tls_verifies_and_sasl_is_plain_by_default() {
    let of = |more: &str| definition(&format!(r#"{{"nodes":["kafka:1"],{more}}}"#));
    assert_eq!(of(r#""tls":{}"#).tls, Some(Tls { verify: true }));
    assert_eq!(of(r#""tls":{"verify":true}"#).tls, Some(Tls { verify: true }));
    assert_eq!(of(r#""tls":{"verify":false}"#).tls, Some(Tls { verify: false }));
    let sasl = |mechanism: &str| {
        let (username, password) = ("reader".into(), "hidden".into());
        Some(Sasl { username, password, mechanism: mechanism.into() })
    };
    let user = r#""username":"reader","password":"hidden""#;
    assert_eq!(of(&format!(r#""sasl":{{{user}}}"#)).sasl, sasl("PLAIN"));
    let scram = of(&format!(r#""tls":{{}},"sasl":{{{user},"mechanism":"SCRAM-SHA-512"}}"#));
    assert_eq!((scram.tls, scram.sasl), (Some(Tls { verify: true }), sasl("SCRAM-SHA-512")));
}

#[test]
fn mistakes_in_a_cluster_show_no_secret() {
    let nodes = "must be 1 to 100 brokers, as {\"host:port\": weight}, [{\"host\": …, \"port\": …}] or \
                 [\"host:port\"]; a host is a name, an IPv4 address or an IPv6 address in brackets";
    for bad in [
        "{}",
        "[]",
        "7",
        "{\"kafka\":1}",
        "{\"kafka:1\":\"hidden\"}",
        "{\"kafka:1\":-1}",
        "[\"user:hidden@kafka:1\"]",
        "[7]",
        "[\"kafka:1,other:1\"]",
        "[{\"host\":\"kafka\"}]",
        "[{\"host\":\"kafka\",\"port\":0}]",
        "[{\"host\":\"a:1,b\",\"port\":1}]",
        "[{\"host\":\"kafka\",\"port\":1,\"priority\":0}]",
        "[{\"host\":\"127.1\",\"port\":1}]",
        "[\"kafka:1\",\"\"]",
    ] {
        mistakes(
            &format!(r#"{{"routes":[{{"path":"/a","kafka":{{"nodes":{bad}}}}}]}}"#),
            &[&format!("routes[0].kafka.nodes: {nodes}")],
        );
    }
    mistakes(
        r#"{"routes":[{"path":"/a","cluster":"east","kafka":{"nodes":["kafka:1"]}},{"path":"/b","kafka":"hidden"},
                      {"path":"/c","kafka":{"nodes":["kafka:1"],"tls":true,"sasl":["hidden"],"scheme":"kafka"}},
                      {"path":"/d","kafka":{"nodes":["kafka:1"],"tls":{"verify":1,"client_key":"hidden"},
                      "sasl":{"user":"a"}}},
                      {"path":"/e","kafka":{"nodes":["kafka:1"],
                       "sasl":{"username":"a\u0000hidden","password":7,"mechanism":"GSSAPI"}}},
                      {"path":"/f","kafka":{"nodes":["kafka:1"],"sasl":{"username":" a","password":" b"}}}]}"#,
        &[
            "routes[0].kafka: cannot be combined with cluster",
            "routes[1].kafka: must be an object",
            "routes[2].kafka.tls: must be an object",
            "routes[2].kafka.sasl: must be an object",
            "routes[2].kafka.scheme: unknown key",
            "routes[3].kafka.tls.verify: must be true or false",
            "routes[3].kafka.tls.client_key: unknown key",
            "routes[3].kafka.sasl.username: is missing",
            "routes[3].kafka.sasl.password: is missing",
            "routes[3].kafka.sasl.user: unknown key",
            "routes[4].kafka.sasl.username: must not contain a NUL character",
            "routes[4].kafka.sasl.password: must be a string that is not empty",
            "routes[4].kafka.sasl.mechanism: must be \"PLAIN\", \"SCRAM-SHA-256\" or \"SCRAM-SHA-512\"",
            "routes[5].kafka.sasl.username: must not have spaces around it",
        ],
    );
}

#[test]
fn cluster_definition_has_a_maximum_size() {
    let with = |nodes: usize, password: usize| {
        let nodes: Vec<String> = (0..nodes).map(|node| format!("kafka-{node}:9092")).collect();
        let sasl = format!(r#"{{"username":"a","password":"{}"}}"#, "x".repeat(password));
        let json = format!(r#"{{"routes":[{{"path":"/a","kafka":{{"nodes":{nodes:?},"sasl":{sasl}}}}}]}}"#);
        parse(json.as_bytes())
    };
    assert!(with(MAX_NODES, 1000).is_ok() && with(MAX_NODES + 1, 1000).is_err());
    let mistakes = with(1, MAX_BYTES).unwrap_err();
    assert_eq!(mistakes, ["routes[0].kafka: must be at most 16384 bytes in all"]);
}

#[test]
fn no_debug_print_of_a_configuration_shows_a_password() {
    let route = only(r#""kafka":{"nodes":["kafka:1"],"sasl":{"username":"a","password":"hidden"}}"#);
    let (_, value) = route.cluster.metadata();
    let shown = format!("{route:?}");
    assert!(!shown.contains("hidden") && !shown.contains(value), "{shown}");
}

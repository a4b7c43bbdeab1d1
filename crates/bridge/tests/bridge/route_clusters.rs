//! Clusters defined by routes: which gateways can name which brokers, at every endpoint.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use prost::Message;
use rdkafka::mocking::MockCluster;
use sluicegate_bridge::Bridge;
use sluicegate_protocol::cluster_definition::Sasl;
use sluicegate_protocol::definition::MAX_BYTES;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{ClusterDefinition, CmdKafkaListOffset};
use sluicegate_stack::raw::{Raw, request};
use tokio::time::timeout;

use crate::http::{rest, send, unawaited};
use crate::support::{
    ENDPOINTS, Endpoint, Gateway, admin, all_left, open, ping, start, start_before, start_with, upgrade, with,
};

const SECRET: (&str, &str) = ("sluicegate-gateway-secret", "correct-horse-battery-staple");
const DEFINITION: &str = "sluicegate-cluster-definition";
const PASSWORD: &str = "hidden-from-everybody";

fn definition(nodes: &[&str]) -> String {
    let sasl = Sasl { username: "reader".into(), password: PASSWORD.into(), mechanism: "PLAIN".into() };
    let nodes = nodes.iter().map(|node| (*node).to_owned()).collect();
    encoded(&ClusterDefinition { nodes, tls: None, sasl: Some(sasl) })
}

fn encoded(definition: &ClusterDefinition) -> String {
    STANDARD_NO_PAD.encode(definition.encode_to_vec())
}

async fn bridge(keys: &str) -> Bridge {
    let (_, secret) = SECRET;
    let root = format!("gateway_secret = \"{secret}\"");
    start_with(&root, &format!("[route_clusters]\nallowed_hosts = [\"kafka:9092\", \"127.0.0.1:*\"]\n{keys}"))
        .await
}

/// The text that the client of a session gets instead of the broker's name.
const NOT_ALLOWED: &str = "a broker of this route is not allowed, see the bridge's log";

/// Every endpoint refuses in its own terms.
async fn check(bridge: &Bridge, headers: &[(&str, &str)], status: u16, text: &str) {
    check_told(bridge, headers, status, text, text).await;
}

/// The same, where the gateway learns more than its client is told.
async fn check_told(bridge: &Bridge, headers: &[(&str, &str)], status: u16, text: &str, reason: &str) {
    let gateway = Gateway::connect(bridge).await;
    for endpoint in ENDPOINTS {
        let refused = gateway.open(endpoint, headers).await.err().expect(text);
        assert_eq!((refused.status.as_u16(), refused.text.as_str()), (status, format!("{text}\n").as_str()));
        assert_eq!(refused.headers.contains_key("retry-after"), status == 503);
    }
    let response = Raw::connect(bridge.address()).await.ask(&upgrade(headers).bytes()).await;
    assert_eq!((response.status, response.text()), (status, format!("{text}\n").as_str()));
    // The client of plain HTTP is not told.
    let response = send(&gateway, with(rest("GET", "/topics"), headers)).await;
    assert_eq!(response.status, if status == 503 { 503 } else { 502 });
    assert_eq!(response.headers["sluicegate-answered"], reason);
}

#[tokio::test]
async fn definitions_are_judged_alike_at_every_endpoint() {
    let bridge = bridge("").await;
    let of = async |headers: &[(&str, &str)], status: u16, text: &str| {
        check(&bridge, &[&[SECRET], headers].concat(), status, text).await;
    };
    for other in
        ["169.254.169.254:80", "kafka:9093", "kafka.evil.example:9092", "[::1]:9092", "localhost:7401"]
    {
        let text = format!("broker {other} is not allowed: add it to route_clusters.allowed_hosts");
        let carried = definition(&["kafka:9092", other]);
        check_told(&bridge, &[SECRET, (DEFINITION, &carried)], 403, NOT_ALLOWED, &text).await;
    }
    let expected = |what: &str| format!("invalid header {DEFINITION}: expected {what}");
    of(&[(DEFINITION, "not base64")], 400, &expected("base64")).await;
    of(&[(DEFINITION, "/w")], 400, &expected("a sluicegate.v1.ClusterDefinition")).await;
    of(&[(DEFINITION, "")], 400, &expected("1 to 100 nodes")).await;
    let nodes = expected("nodes as host:port, with IPv6 addresses in brackets");
    of(&[(DEFINITION, &definition(&["reader:hidden@kafka:9092"]))], 400, &nodes).await;
    of(&[(DEFINITION, &"A".repeat(30_000))], 400, &expected("at most 16384 bytes")).await;
    let both = [("sluicegate-cluster", "default"), (DEFINITION, &definition(&["kafka:9092"]))];
    let one = format!("expected one of the headers sluicegate-cluster and {DEFINITION}");
    of(&both, 400, &one).await;

    let (_, metrics) = admin(&bridge, "/metrics").await;
    assert!(
        metrics.contains(r#"sluicegate_requests_refused_total{reason="route_cluster_forbidden"} 20"#),
        "{metrics}"
    );
    assert!(
        metrics.contains(r#"sluicegate_requests_refused_total{reason="route_cluster_invalid"} 24"#),
        "{metrics}"
    );
}

#[tokio::test]
async fn definitions_need_the_secret() {
    let closed = bridge("").await;
    let definition = definition(&["kafka:9092"]);
    let missing = "header sluicegate-gateway-secret is missing: expected the bridge's gateway_secret";
    check(&closed, &[(DEFINITION, &definition)], 401, missing).await;
    let without = start("").await;
    let text = "clusters defined by routes need authenticated gateways: set gateway_secret or tls.client_ca in the \
                bridge";
    check(&without, &[(DEFINITION, &definition)], 403, text).await;
    // Nobody is allowed to do more than the configuration says.
    let silent = start_with(&format!("gateway_secret = \"{}\"", SECRET.1), "").await;
    let text = "broker kafka:9092 is not allowed: add it to route_clusters.allowed_hosts";
    check_told(&silent, &[SECRET, (DEFINITION, &definition)], 403, NOT_ALLOWED, text).await;
}

#[tokio::test]
async fn carried_clusters_are_read_and_counted() {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic("carried", 1, 1).unwrap();
    let bridge = bridge("").await;
    let carried =
        encoded(&ClusterDefinition { nodes: vec![mock.bootstrap_servers()], ..ClusterDefinition::default() });
    let headers = [SECRET, (DEFINITION, carried.as_str())];
    let gateway = Gateway::connect(&bridge).await;
    let list =
        Req::CmdKafkaListOffset(CmdKafkaListOffset { topic: "carried".into(), partition: 0, timestamp: -1 });
    for endpoint in ENDPOINTS {
        let mut session = gateway.open(endpoint, &headers).await.unwrap();
        session.ask(1, list.clone()).await;
        let answer = session.next().await.unwrap().resp;
        assert!(matches!(answer, Some(Resp::KafkaListOffsetResp(_))), "{answer:?}");
    }
    let request = rest("GET", "/topics/carried/partitions/0/offsets?timestamp=-1");
    let response = send(&gateway, with(request.clone(), &headers)).await;
    assert_eq!((response.status, response.text()), (200, r#"{"offset":0}"#));
    // The cluster that has a name is not the one that was asked.
    assert_eq!(send(&gateway, with(request, &[SECRET])).await.status, 503);

    let (_, metrics) = admin(&bridge, "/metrics").await;
    let answered = r#"sluicegate_commands_total{cluster="route",kind="list_offset",outcome="answered"} 3"#;
    assert!(metrics.contains(answered), "{metrics}");
    assert!(!metrics.contains(&mock.bootstrap_servers()) && !metrics.contains(&carried), "{metrics}");
}

#[tokio::test]
async fn drain_delivers_records_of_route_clusters() {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic("t", 1, 1).unwrap();
    let servers = mock.bootstrap_servers();
    // The record is still in the queue when the bridge is told to stop.
    let bridge = bridge("write = true\n[route_clusters.properties]\nlinger.ms = 20000\n").await;
    let carried =
        encoded(&ClusterDefinition { nodes: vec![servers.clone()], ..ClusterDefinition::default() });
    let gateway = Gateway::connect(&bridge).await;
    let response = send(&gateway, with(unawaited(), &[SECRET, (DEFINITION, &carried)])).await;
    assert_eq!(response.status, 202, "{response:?}");
    bridge.drain().await;
    let next = start_before(servers.parse().unwrap(), "", "").await;
    let gateway = Gateway::connect(&next).await;
    let ends = send(&gateway, rest("GET", "/topics/t/partitions/0/offsets")).await;
    assert_eq!(ends.text(), r#"{"beginning_offset":0,"end_offset":1}"#);
}

#[tokio::test]
async fn number_of_route_clusters_is_bounded() {
    let bridge = bridge("max = 1\n").await;
    let (one, other) = (definition(&["kafka:9092"]), definition(&["127.0.0.1:1"]));
    let gateway = Gateway::connect(&bridge).await;
    for endpoint in ENDPOINTS {
        let session = gateway.open(endpoint, &[SECRET, (DEFINITION, &one)]).await.unwrap();
        let text = "too many clusters defined by routes (route_clusters.max = 1)";
        check(&bridge, &[SECRET, (DEFINITION, &other)], 503, text).await;
        // The same one has room.
        gateway.open(endpoint, &[SECRET, (DEFINITION, &one)]).await.unwrap();
        drop(session);
        // Its place is another's once its sessions are over, and not before.
        for next in [&other, &one] {
            let opened =
                async { while gateway.open(endpoint, &[SECRET, (DEFINITION, next)]).await.is_err() {} };
            timeout(Duration::from_secs(10), opened).await.expect("a place that is free");
        }
    }
}

#[tokio::test]
async fn refused_handshake_makes_no_cluster() {
    // Accepts, and says nothing.
    let kafka = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bridge = bridge("max = 1\n").await;
    let (used, other) =
        (definition(&[&kafka.local_addr().unwrap().to_string()]), definition(&["kafka:9092"]));
    let (used, other) = ([SECRET, (DEFINITION, &*used)], [SECRET, (DEFINITION, &*other)]);
    // Whether a session's command needs a connection: its cluster had none.
    let connects = async || {
        let mut client = open(&bridge, &used).await;
        let list = CmdKafkaListOffset { topic: "t".into(), partition: 0, timestamp: -1 };
        client.write(request(1, Req::CmdKafkaListOffset(list))).await;
        let connection = timeout(Duration::from_millis(500), kafka.accept()).await;
        drop(client);
        all_left(&bridge).await;
        connection.ok()
    };
    let first = connects().await;
    assert!(first.is_some());
    // The cluster is not used, and would make room for another one.
    for (no_handshake, status) in
        [(upgrade(&other).without("upgrade"), 426), (upgrade(&other).with("sec-websocket-version", "8"), 400)]
    {
        let refused = Raw::connect(bridge.address()).await.ask(&no_handshake.bytes()).await;
        assert_eq!(refused.status, status);
        assert!(connects().await.is_none(), "it is another cluster");
    }
    drop(open(&bridge, &other).await);
    all_left(&bridge).await;
    assert!(connects().await.is_some());
}

#[tokio::test]
async fn largest_definition_fits_beside_the_largest_request() {
    let bridge = bridge("").await;
    let gateway = Gateway::connect(&bridge).await;
    let mut witness = gateway.open(Endpoint::Post, &[SECRET]).await.unwrap();
    let empty = ClusterDefinition { nodes: vec!["kafka:9092".into()], ..ClusterDefinition::default() };
    let sasl = |password: String| Sasl { username: "reader".into(), password, mechanism: "PLAIN".into() };
    let largest = |sasl| ClusterDefinition { sasl: Some(sasl), ..empty.clone() };
    let overhead = largest(sasl("x".repeat(16_000))).encoded_len() - 16_000;
    let largest = largest(sasl("x".repeat(MAX_BYTES - overhead)));
    assert_eq!(largest.encoded_len(), MAX_BYTES);
    // Envoy lets 60 KiB of headers pass, and repeats a path that it replaces.
    let path = format!("/{}", "p".repeat(60 * 1024));
    let headers =
        [SECRET, (DEFINITION, &encoded(&largest)), ("x-path", &path), ("x-envoy-original-path", &path)];
    for endpoint in ENDPOINTS {
        gateway.open(endpoint, &headers).await.unwrap();
    }
    witness.ask(1, ping("")).await;
    assert!(matches!(witness.next().await.unwrap().resp, Some(Resp::PongResp(_))));
}

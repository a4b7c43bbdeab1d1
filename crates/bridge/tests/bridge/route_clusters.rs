//! Clusters defined by routes: which gateways can name which brokers, at every endpoint.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use prost::Message;
use sluicegate_bridge::Bridge;
use sluicegate_protocol::cluster_definition::Sasl;
use sluicegate_protocol::definition::MAX_BYTES;
use sluicegate_protocol::metadata::{CLUSTER, CLUSTER_DEFINITION};
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{ClusterDefinition, CmdKafkaListOffset};
use sluicegate_stack::raw::{Raw, request};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::http::{rest, send};
use crate::refusals::{check, check_told};
use crate::support::{
    ENDPOINTS, Endpoint, Gateway, SECRET, admin, all_left, mock, open, refused, start, start_secret, upgrade,
    with,
};

fn definition(nodes: &[&str]) -> String {
    let sasl = Sasl { username: "reader".into(), password: "hidden".into(), mechanism: "PLAIN".into() };
    let nodes = nodes.iter().map(|node| (*node).to_owned()).collect();
    encoded(&ClusterDefinition { nodes, tls: None, sasl: Some(sasl) })
}

/// A definition with these brokers and nothing else.
pub(crate) fn of(servers: &str) -> String {
    encoded(&ClusterDefinition { nodes: vec![servers.to_owned()], ..ClusterDefinition::default() })
}

fn encoded(definition: &ClusterDefinition) -> String {
    STANDARD_NO_PAD.encode(definition.encode_to_vec())
}

async fn bridge(keys: &str) -> Bridge {
    let hosts = "allowed_hosts = [\"kafka:9092\", \"127.0.0.1:*\"]";
    start_secret(&format!("[route_clusters]\n{hosts}\n{keys}")).await
}

/// The text that the client of a session gets instead of the broker's name.
const NOT_ALLOWED: &str = "a broker of this route is not allowed, see the bridge's log";

/// Unit tests say which definitions are valid and allowed.
#[tokio::test]
async fn definitions_are_judged_alike_at_every_endpoint() {
    let bridge = bridge("").await;
    let text = "broker 169.254.169.254:80 is not allowed: add it to route_clusters.allowed_hosts";
    let carried = definition(&["kafka:9092", "169.254.169.254:80"]);
    check_told(&bridge, &[SECRET, (CLUSTER_DEFINITION, &carried)], 403, NOT_ALLOWED, text).await;
    let invalid = format!("invalid header {CLUSTER_DEFINITION}: expected base64");
    check(&bridge, &[SECRET, (CLUSTER_DEFINITION, "not base64")], 400, &invalid).await;
    let carried = definition(&["kafka:9092"]);
    let both = [SECRET, (CLUSTER, "default"), (CLUSTER_DEFINITION, &carried)];
    let one = format!("expected one of the headers {CLUSTER} and {CLUSTER_DEFINITION}");
    check(&bridge, &both, 400, &one).await;
    assert_eq!(refused(&bridge, "route_cluster_forbidden").await, 6);
    assert_eq!(refused(&bridge, "route_cluster_invalid").await, 12);

    let missing = "header sluicegate-gateway-secret is missing: expected the bridge's gateway_secret";
    check(&bridge, &[(CLUSTER_DEFINITION, &carried)], 401, missing).await;
    let text = "clusters defined by routes need authenticated gateways: set gateway_secret or tls.client_ca in the \
                bridge";
    check(&start("").await, &[(CLUSTER_DEFINITION, &carried)], 403, text).await;
}

#[tokio::test]
async fn carried_clusters_are_read_and_counted() {
    let mock = mock(1);
    let bridge = bridge("").await;
    let carried = of(&mock.bootstrap_servers());
    let headers = [SECRET, (CLUSTER_DEFINITION, carried.as_str())];
    let gateway = Gateway::connect(&bridge).await;
    let list = Req::CmdKafkaListOffset(CmdKafkaListOffset { topic: "t".into(), partition: 0, timestamp: -1 });
    for endpoint in ENDPOINTS {
        let mut session = gateway.open(endpoint, &headers).await.unwrap();
        session.ask(1, list.clone()).await;
        let answer = session.next().await.unwrap().resp;
        assert!(matches!(answer, Some(Resp::KafkaListOffsetResp(_))), "{answer:?}");
    }
    let request = rest("GET", "/topics/t/partitions/0/offsets?timestamp=-1");
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
async fn number_of_route_clusters_is_bounded() {
    let bridge = bridge("max = 1\n").await;
    let (one, other) = (definition(&["kafka:9092"]), definition(&["127.0.0.1:1"]));
    let gateway = Gateway::connect(&bridge).await;
    for endpoint in ENDPOINTS {
        let session = gateway.open(endpoint, &[SECRET, (CLUSTER_DEFINITION, &one)]).await.unwrap();
        let text = "too many clusters defined by routes (route_clusters.max = 1)";
        check(&bridge, &[SECRET, (CLUSTER_DEFINITION, &other)], 503, text).await;
        // The same one has room.
        gateway.open(endpoint, &[SECRET, (CLUSTER_DEFINITION, &one)]).await.unwrap();
        drop(session);
        // Its place is another's once its sessions are over, and not before.
        for next in [&other, &one] {
            let headers = [SECRET, (CLUSTER_DEFINITION, next.as_str())];
            let opened = async { while gateway.open(endpoint, &headers).await.is_err() {} };
            timeout(Duration::from_secs(10), opened).await.expect("a place that is free");
        }
    }
}

#[tokio::test]
async fn refused_handshake_makes_no_cluster() {
    // Accepts, and says nothing.
    let kafka = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bridge = bridge("max = 1\n").await;
    let (used, other) =
        (definition(&[&kafka.local_addr().unwrap().to_string()]), definition(&["kafka:9092"]));
    let (used, other) = ([SECRET, (CLUSTER_DEFINITION, &*used)], [SECRET, (CLUSTER_DEFINITION, &*other)]);
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
    for no_handshake in
        [upgrade(&other).without("upgrade"), upgrade(&other).with("sec-websocket-version", "8")]
    {
        let refused = Raw::connect(bridge.address()).await.ask(&no_handshake.bytes()).await;
        assert!(matches!(refused.status, 400 | 426), "{refused:?}");
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
    let largest = |len| {
        let sasl = Sasl { username: "reader".into(), password: "x".repeat(len), mechanism: "PLAIN".into() };
        ClusterDefinition { nodes: vec!["kafka:9092".into()], tls: None, sasl: Some(sasl) }
    };
    let overhead = largest(16_000).encoded_len() - 16_000;
    let largest = largest(MAX_BYTES - overhead);
    assert_eq!(largest.encoded_len(), MAX_BYTES);
    // Envoy lets 60 KiB of headers pass, and repeats a path that it replaces.
    let path = format!("/{}", "p".repeat(60 * 1024));
    let headers = [
        SECRET,
        (CLUSTER_DEFINITION, &encoded(&largest)),
        ("x-path", &path),
        ("x-envoy-original-path", &path),
    ];
    for endpoint in ENDPOINTS {
        gateway.open(endpoint, &headers).await.unwrap();
    }
    witness.is_open().await;
}

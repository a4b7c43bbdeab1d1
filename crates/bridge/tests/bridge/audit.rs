//! The audit log of requests that a gateway did not send, of pages, and of sessions that are cut off.

use std::path::PathBuf;

use serde_json::Value;
use sluicegate_bridge::Bridge;
use sluicegate_protocol::metadata::{ACCESS, CLIENT, CLUSTER, GATEWAY_SECRET, ROUTE};
use tempfile::TempDir;

use crate::http::{APP, of_page, send};
use crate::support::{Endpoint, Gateway, SECRET, start_secret, with};

/// A bridge with this secret and its audit log.
async fn audited(more: &str) -> (Bridge, PathBuf, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let bridge = start_secret(&format!("{more}[audit]\nfile = {path:?}\n")).await;
    (bridge, path, directory)
}

/// These members of each line, once the bridge has ended.
async fn lines(bridge: Bridge, path: &PathBuf, members: [&str; 3]) -> Vec<[Value; 3]> {
    bridge.drain().await;
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|line| members.map(|member| line[member].clone())).collect()
}

#[tokio::test]
async fn headers_of_a_peer_without_the_secret_are_not_believed() {
    let (bridge, path, _directory) = audited("").await;
    let gateway = Gateway::connect(&bridge).await;
    for (number, secret) in ["wrong-wrong-wrong", SECRET.1, SECRET.1].into_iter().enumerate() {
        let client = format!("192.0.2.{number}");
        let headers = [(GATEWAY_SECRET, secret), (CLIENT, &client), (ROUTE, "/r"), (CLUSTER, "none")];
        gateway.open(Endpoint::Connect, &headers).await.err().unwrap();
    }
    let told = lines(bridge, &path, ["reason", "address", "route"]).await;
    let of_gateway = |address: &str| ["cluster".into(), address.into(), "/r".into()];
    let of_peer = ["secret".into(), "127.0.0.1".into(), Value::Null];
    assert_eq!(told, [of_peer, of_gateway("192.0.2.1"), of_gateway("192.0.2.2")]);
}

#[tokio::test]
async fn page_that_asks_whether_it_may_is_not_refused() {
    let (bridge, path, _directory) = audited("").await;
    let gateway = Gateway::connect(&bridge).await;
    let headers = [SECRET, (ACCESS, r#"{"identity":{"from_gateway":true}}"#), APP];
    let preflight = with(of_page("OPTIONS", &headers), &[("access-control-request-method", "GET")]);
    let asked = send(&gateway, preflight).await;
    let got = send(&gateway, of_page("GET", &headers)).await;
    assert_eq!((asked.status, got.status), (204, 401));
    let told = lines(bridge, &path, ["event", "reason", "kind"]).await;
    assert_eq!(told, [["refused", "identity_missing", "http"]]);
}

#[tokio::test]
async fn session_that_is_cut_off_is_closed_once() {
    let (bridge, path, _directory) = audited("[session]\ndrain_timeout_ms = 100\n").await;
    let gateway = Gateway::connect(&bridge).await;
    let _unread = gateway.open(Endpoint::Connect, &[SECRET]).await.unwrap();
    let told = lines(bridge, &path, ["event", "reason", "id"]).await;
    let id = told[0][2].clone();
    let opened = ["opened".into(), Value::Null, id.clone()];
    assert_eq!(told, [opened, ["closed".into(), "drained".into(), id]]);
}

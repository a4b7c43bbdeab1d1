//! A new configuration for a bridge that runs: what it changes, and whom it disturbs.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::time::Duration;

use sluicegate_bridge::Bridge;
use sluicegate_bridge::config::Config;
use sluicegate_protocol::metadata::{CLUSTER, GATEWAY_SECRET};
use sluicegate_stack::raw::Raw;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};

use crate::program::{self, Program};
use crate::support::{Endpoint, Gateway, WRITES, close, config, metric, start_before, upgrade};
use crate::tls::Pki;

const FIRST: &str = "0123456789abcdef";
const SECOND: &str = "fedcba9876543210";

async fn start(text: &str) -> Bridge {
    Bridge::start(config(text)).await.expect("free ports")
}

/// `[clusters.NAME]` of each name, at a port that refuses connections.
fn clusters(names: &[&str]) -> String {
    names.iter().map(|name| format!("[clusters.{name}]\nbootstrap.servers = \"127.0.0.1:1\"\n")).collect()
}

async fn secret_is_valid(gateway: &Gateway, secret: &str) -> bool {
    gateway.open(Endpoint::Connect, &[(GATEWAY_SECRET, secret)]).await.is_ok()
}

/// Whether the metrics say that the last configuration was rejected.
async fn is_rejected(bridge: &Bridge) -> bool {
    metric(bridge, "sluicegate_config_rejected").await == 1
}

#[tokio::test]
async fn secret_is_rotated_without_ending_a_session() {
    let with = |keys: &str| format!("{keys}\n{}", clusters(&["default"]));
    let bridge = start(&with(&format!("gateway_secret = {FIRST:?}"))).await;
    let gateway = Gateway::connect(&bridge).await;
    let mut session = gateway.open(Endpoint::Connect, &[(GATEWAY_SECRET, FIRST)]).await.unwrap();
    assert!(!secret_is_valid(&gateway, SECOND).await);

    let both = format!("gateway_secret = {FIRST:?}\nsecond_gateway_secret = {SECOND:?}");
    bridge.reload(Ok(config(&with(&both)))).await;
    assert!(secret_is_valid(&gateway, FIRST).await && secret_is_valid(&gateway, SECOND).await);

    bridge.reload(Ok(config(&with(&format!("gateway_secret = {SECOND:?}"))))).await;
    assert!(!secret_is_valid(&gateway, FIRST).await && secret_is_valid(&gateway, SECOND).await);
    session.is_open().await;
}

#[tokio::test]
async fn only_sessions_of_a_removed_cluster_end() {
    let bridge = start(&clusters(&["default", "orders"])).await;
    let gateway = Gateway::connect(&bridge).await;
    let mut kept = gateway.open(Endpoint::Connect, &[]).await.unwrap();
    let mut concerned = gateway.open(Endpoint::Connect, &[(CLUSTER, "orders")]).await.unwrap();

    bridge.reload(Ok(config(&clusters(&["default", "payments"])))).await;
    assert_eq!(concerned.next().await, Some(close(1001, "going away")));
    kept.is_open().await;
    assert!(gateway.open(Endpoint::Connect, &[(CLUSTER, "payments")]).await.is_ok());
    let refused = gateway.open(Endpoint::Connect, &[(CLUSTER, "orders")]).await.err().unwrap();
    assert!(refused.text().contains("unknown cluster orders"), "{}", refused.text());
}

#[tokio::test]
async fn limits_change_for_new_sessions() {
    let with = |max: u8| format!("[limits]\nmax_sessions = {max}\n{}", clusters(&["default"]));
    let bridge = start(&with(1)).await;
    let gateway = Gateway::connect(&bridge).await;
    let open = async || gateway.open(Endpoint::Connect, &[]).await;
    let mut first = open().await.unwrap();
    assert!(open().await.is_err());
    bridge.reload(Ok(config(&with(2)))).await;
    let _second = open().await.unwrap();
    let refused = open().await.err().unwrap();
    assert!(refused.text().contains("limits.max_sessions = 2"), "{}", refused.text());
    first.is_open().await;
}

/// A new `listen` is for the next start: until then, the rules are those of the address that is open.
#[tokio::test]
async fn open_address_beyond_loopback_stays_authenticated() {
    let text = |listen: &str, keys: &str| {
        format!("listen = {listen:?}\nadmin_listen = \"127.0.0.1:0\"\n{keys}\n{}", clusters(&["default"]))
    };
    let load = |text: &str| Config::load(text, std::iter::empty());
    let secret = |secret: &str| format!("gateway_secret = {secret:?}");
    let bridge = Bridge::start(load(&text("0.0.0.0:0", &secret(FIRST))).unwrap()).await.unwrap();
    let status = async |headers: &[(&str, &str)]| {
        let mut client = Raw::connect((Ipv4Addr::LOCALHOST, bridge.address().port()).into()).await;
        client.ask(&upgrade(headers).bytes()).await.status
    };
    assert_eq!(status(&[]).await, 401);

    let pki = Pki::new();
    for keys in ["", &pki.table()] {
        bridge.reload(load(&text("127.0.0.1:0", keys))).await;
        assert_eq!(status(&[]).await, 401, "{keys}");
        assert_eq!(status(&[(GATEWAY_SECRET, FIRST)]).await, 101, "{keys}");
        assert!(is_rejected(&bridge).await, "{keys}");
    }

    bridge.reload(load(&text("127.0.0.1:0", &secret(SECOND)))).await;
    assert!(!is_rejected(&bridge).await);
    assert_eq!(status(&[(GATEWAY_SECRET, FIRST)]).await, 401);
    assert_eq!(status(&[(GATEWAY_SECRET, SECOND)]).await, 101);
}

/// The program, with a configuration in a folder that is laid out like a Kubernetes volume.
async fn mounted(files: &[(&str, &str)]) -> (Program, TempDir) {
    let volume = TempDir::new().unwrap();
    for (name, _) in files {
        symlink(format!("..data/{name}"), volume.path().join(name)).unwrap();
    }
    swap(&volume, "first", files);
    let mut command = program::bridge(&volume.path().join("bridge.toml"));
    (Program::start(command.env("RUST_LOG", "info")).await, volume)
}

/// Replaces the volume's files at once, as the kubelet does: `..data` is a link to a new folder.
fn swap(volume: &TempDir, version: &str, files: &[(&str, &str)]) {
    let folder = volume.path().join(version);
    fs::create_dir(&folder).unwrap();
    for (name, text) in files {
        // The configuration names files of its own volume.
        fs::write(folder.join(name), text.replace("VOLUME", volume.path().to_str().unwrap())).unwrap();
    }
    symlink(version, volume.path().join("..next")).unwrap();
    fs::rename(volume.path().join("..next"), volume.path().join("..data")).unwrap();
}

#[tokio::test]
async fn files_are_taken_up_when_a_volume_is_swapped_and_on_a_hangup() {
    let text = format!("gateway_secret = {{ file = \"VOLUME/secret\" }}\n{}", clusters(&["default"]));
    let (mut program, volume) = mounted(&[("bridge.toml", &text), ("secret", FIRST)]).await;
    let gateway = program.gateway().await;
    let mut session = gateway.open(Endpoint::Connect, &[(GATEWAY_SECRET, FIRST)]).await.unwrap();
    program.signal("HUP").await;
    let line = program.logs("configuration reloaded").await;
    assert!(line.contains("changed=\"nothing\""), "{line}");
    session.is_open().await;

    swap(&volume, "second", &[("bridge.toml", &text), ("secret", SECOND)]);
    let line = program.logs("configuration reloaded").await;
    assert!(line.contains("changed=\"gateway_secret\""), "{line}");
    assert!(secret_is_valid(&gateway, SECOND).await && !secret_is_valid(&gateway, FIRST).await);

    swap(&volume, "third", &[("bridge.toml", &text), ("secret", "short")]);
    let line = program.logs("new configuration rejected").await;
    assert!(line.contains("gateway_secret: has 5 characters, expected at least 16"), "{line}");
    assert!(secret_is_valid(&gateway, SECOND).await);

    let more = format!("log_format = \"json\"\n{text}");
    swap(&volume, "fourth", &[("bridge.toml", &more), ("secret", FIRST)]);
    let line = program.logs("except keys that need a restart").await;
    assert!(line.contains("keys=\"log_format\""), "{line}");
    assert!(line.contains("changed=\"gateway_secret, log_format\""), "{line}");
    assert!(secret_is_valid(&gateway, FIRST).await);
}

#[tokio::test]
async fn log_level_changes_without_a_restart() {
    let text = clusters(&["default"]);
    let (mut program, volume) = mounted(&[("bridge.toml", &text)]).await;
    let session = async |program: &Program| {
        drop(program.gateway().await.open(Endpoint::Connect, &[]).await.unwrap());
    };
    session(&program).await;
    swap(&volume, "second", &[("bridge.toml", &format!("log_level = \"info,sluicegate=debug\"\n{text}"))]);
    program.logs("configuration reloaded").await;
    session(&program).await;
    program.logs("session ended").await;
    swap(&volume, "third", &[("bridge.toml", &format!("log_level = \"debg\"\n{text}"))]);
    let line = program.logs("new configuration rejected").await;
    assert!(line.contains("log_level: is ") && line.contains("expected error, warn"), "{line}");
    session(&program).await;
    program.logs("session ended").await;
}

/// Producers of configured clusters are created in the background. No time passes but where something is waited for.
#[tokio::test(start_paused = true)]
async fn start_connects_for_writing_and_waits_for_no_broker() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let before = Instant::now();
    let _bridge = start_before(silent.local_addr().unwrap(), "", WRITES).await;
    assert_eq!(before.elapsed(), Duration::ZERO);
    timeout(Duration::from_secs(60), silent.accept()).await.expect("a connection").unwrap();
}

//! Clusters of a configuration's text, against servers that ask for what it has.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};
use sluicegate_bridge::Bridge;
use sluicegate_stack::certificates::Authority;
use sluicegate_stack::folder::Folder;
use sluicegate_stack::nats::{Nats as Server, Streams};
use sluicegate_stack::waiting::becomes;
use tokio::time::timeout;

use crate::http::{rest, send};
use crate::support::{Gateway, admin, config, metric, with};

/// A bridge to a server, with these lines in its table.
async fn start(server: &Server, scheme: &str, lines: &str) -> Bridge {
    let servers = format!("servers = \"{scheme}://{}\"", server.client());
    let table = format!("[clusters.default]\nkind = \"nats\"\nrequest.timeout.ms = 2000\n{servers}\n{lines}");
    Bridge::start(config(&table)).await.unwrap()
}

async fn is_ready(server: &Server, scheme: &str, lines: &str) -> bool {
    admin(&start(server, scheme, lines).await, "/readyz?cluster=default").await.0 == 200
}

#[tokio::test]
async fn configured_certificates_are_used_and_verified() {
    let (ours, other) = (Authority::new("ours").unwrap(), Authority::new("other").unwrap());
    let folder = Folder::new("nats-mtls").unwrap();
    let write = |name: &str, text: &str| folder.write(name, text).unwrap();
    let (ca, other_ca) = (write("ca.pem", &ours.pem()), write("other.pem", &other.pem()));
    let (server, client) = (ours.server("127.0.0.1").unwrap(), ours.client("bridge").unwrap());
    let (certificate, key) = (write("server.pem", &server.certificate), write("server.key", &server.key));
    let (own, own_key) = (write("client.pem", &client.certificate), write("client.key", &client.key));
    let identity = format!("tls.certificate = {own:?}\ntls.key = {own_key:?}");
    for first in [false, true] {
        let files = format!("cert_file: {certificate:?}, key_file: {key:?}, ca_file: {ca:?}");
        let tls = format!("tls {{ {files}, verify: true, handshake_first: {first} }}");
        let user = "authorization { user: u, password: p }";
        let server = Server::jetstream(&format!("{tls}\n{user}")).await.unwrap();
        let user = format!("user = \"u\"\npassword = \"p\"\ntls.handshake.first = {first}");
        for (scheme, lines, want) in [
            ("tls", format!("{user}\ntls.ca = {ca:?}\n{identity}"), true),
            ("nats", format!("{user}\ntls.ca = {ca:?}\n{identity}"), true),
            ("nats", format!("{user}\ntls.ca = {ca:?}"), false),
            ("nats", format!("{user}\ntls.ca = {other_ca:?}\n{identity}"), false),
            // The system's CAs.
            ("tls", format!("{user}\n{identity}"), false),
        ] {
            assert_eq!(is_ready(&server, scheme, &lines).await, want, "{scheme} {lines}");
        }
    }
    // TLS is not given up if the server has none.
    let server = Server::jetstream("").await.unwrap();
    assert!(!is_ready(&server, "tls", &format!("tls.ca = {ca:?}")).await);
}

#[tokio::test]
async fn configured_creds_are_accepted() {
    let (operator, user) = (KeyPair::new_operator(), KeyPair::new_user());
    let [system, account] = [KeyPair::new_account(), KeyPair::new_account()];
    let of_account = |storage: i32| {
        let limits = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
            "conn": -1, "leaf": -1, "mem_storage": storage, "disk_storage": storage, "streams": -1, "consumer": -1,
        });
        json!({ "type": "account", "version": 2, "limits": limits })
    };
    // The system account cannot have JetStream.
    let [system_jwt, account_jwt] =
        [(&system, 0), (&account, -1)].map(|(key, storage)| jwt(&operator, key, &of_account(storage)));
    let operator_jwt = jwt(&operator, &operator, &json!({ "type": "operator", "version": 2 }));
    let [system, own] = [&system, &account].map(KeyPair::public_key);
    let preload = format!("resolver_preload: {{ {system}: {system_jwt}, {own}: {account_jwt} }}");
    let more = format!("operator: {operator_jwt}\nsystem_account: {system}\nresolver: MEMORY\n{preload}");
    let server = Server::jetstream(&more).await.unwrap();
    let folder = Folder::new("nats-creds").unwrap();
    let creds = |issuer: &KeyPair| {
        let of_user = json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 });
        let (jwt, seed) = (jwt(issuer, &user, &of_user), user.seed().unwrap());
        let [jwt_title, seed_title] = ["NATS USER JWT", "USER NKEY SEED"];
        let text = format!(
            "-----BEGIN {jwt_title}-----\n{jwt}\n------END {jwt_title}------\n\n\
             -----BEGIN {seed_title}-----\n{seed}\n------END {seed_title}------\n"
        );
        format!("creds = {{ file = {:?} }}", folder.write("user.creds", &text).unwrap())
    };
    assert!(is_ready(&server, "nats", &creds(&account)).await);
    assert!(!is_ready(&server, "nats", &creds(&KeyPair::new_account())).await);
}

/// A JWT of NATS, signed by `issuer`.
fn jwt(issuer: &KeyPair, subject: &KeyPair, nats: &Value) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({
        "jti": subject.public_key(), "iat": 1_700_000_000, "iss": issuer.public_key(), "name": "test",
        "sub": subject.public_key(), "nats": nats,
    });
    let signed = format!("{}.{}", part(json!({ "typ": "JWT", "alg": "ed25519-nkey" })), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}

#[tokio::test]
async fn documented_permissions_suffice() {
    let page = include_str!("../../../../docs/reference/bridge-configuration.md");
    let (_, block) = page.split_once("```text\npermissions: ").unwrap();
    let (permissions, _) = block.split_once("```").unwrap();
    assert!(suffice(permissions).await);
    // Each one is needed. Without those for consumers, streams are polled.
    for line in permissions.lines().filter(|line| line.contains("$JS") && !line.contains("CONSUMER")) {
        let fewer = permissions.replace(&format!("{line}\n"), "");
        assert!(!suffice(&fewer).await, "without {line}");
    }
}

async fn suffice(permissions: &str) -> bool {
    let users =
        format!("{{ user: u, password: p, permissions: {permissions} }}, {{ user: admin, password: a }}");
    let more = format!("authorization {{ users: [ {users} ] }}\nno_auth_user: admin");
    let server = Server::jetstream(&more).await.unwrap();
    let streams = Streams::connect(server.client()).await.unwrap();
    streams.create("orders", json!({})).await.unwrap();
    streams.create("slow", json!({ "allow_direct": false })).await.unwrap();
    for stream in ["orders", "slow"] {
        streams.write(&format!("{stream}.a"), ["1".into(), "2".into()]).await.unwrap();
    }
    let bridge = start(&server, "nats", "user = \"u\"\npassword = \"p\"").await;
    let gateway = Gateway::connect(&bridge).await;
    let get = async |path: &str| {
        let request = with(rest("GET", path), &[("accept", "application/json")]);
        let response = send(&gateway, request).await;
        serde_json::from_slice::<Value>(&response.body).ok().filter(|_| response.status == 200)
    };
    let data = |messages: Option<Value>| messages.map(|messages| messages[0]["data"].clone());
    for stream in ["orders", "slow"] {
        let all = get(&format!("/streams/{stream}/messages")).await;
        if data(all.clone()) != Some(json!(1)) || all.is_some_and(|all| all[1]["data"] != 2) {
            return false;
        }
        for query in ["", "?timestamp=0"] {
            if get(&format!("/streams/{stream}/sequences{query}")).await.is_none() {
                return false;
            }
        }
    }
    if get("/streams").await != Some(json!(["orders", "slow"]))
        || admin(&bridge, "/readyz?cluster=default").await.0 != 200
    {
        return false;
    }
    let wait = get("/streams/orders/messages?sequence=3&timeout=30000");
    let write = async {
        let waits = async || metric(&bridge, "sluicegate_tail_waiters").await;
        becomes("reads that wait", 1, Duration::from_secs(5), waits).await;
        streams.write("orders.a", ["3".into()]).await.unwrap();
    };
    let waited = async { tokio::join!(wait, write).0 };
    timeout(Duration::from_secs(10), waited).await.is_ok_and(|waited| data(waited) == Some(json!(3)))
}

//! Clusters of a configuration's text, against servers that ask for what it has.

use std::iter;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use sluicegate_stack::certificates::Authority;
use sluicegate_stack::folder::Folder;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::{BoxFuture, FutureExt, pending, ready};
use prost::Message;
use serde_json::{Value, json};
use sluicegate_backend::rate::ClusterRate;
use sluicegate_backend::{
    AnswerReservation, Backend, CommandError, Fetch, Fetched, ListedOffset, Log, MAX_TIMESTAMP,
};
use sluicegate_bridge::config::{ClusterConfig, Config};
use sluicegate_fair_share::ClientKey;
use sluicegate_nats::Nats;
use sluicegate_protocol::KafkaFetchResp;
use sluicegate_shared_log::{Limits, SharedLog};
use sluicegate_stack::nats::{Nats as Server, Streams};
use sluicegate_telemetry::metrics::Metrics;
use tokio::time::{sleep, timeout};

/// The bridge's side of a server, with these lines in its table.
fn configured(server: &Server, scheme: &str, lines: &str) -> (Arc<Nats>, SharedLog) {
    let servers = format!("servers = \"{scheme}://{}\"", server.client());
    let text = format!("[clusters.n]\nkind = \"nats\"\nrequest.timeout.ms = 2000\n{servers}\n{lines}");
    let mut config = Config::load(&text, iter::empty()).unwrap();
    let Some(ClusterConfig::Nats(config)) = config.clusters.remove("n") else { panic!("{config:?}") };
    let shared = SharedLog::new(Limits { max_bytes: 64 << 20, max_age: Duration::from_secs(60) });
    (Arc::new(Nats::new("n", &config, shared.add_cluster(), Metrics::default().nats("n"), None)), shared)
}

async fn is_ready(server: &Server, scheme: &str, lines: &str) -> bool {
    let (nats, _shared) = configured(server, scheme, lines);
    nats.ready(Duration::from_secs(5)).await.is_ok()
}

#[tokio::test]
async fn configured_credentials_are_accepted() {
    let user = KeyPair::new_user();
    let nkey = format!("{{ users: [ {{ nkey: {} }} ] }}", user.public_key());
    for (authorization, right, wrong) in [
        (
            "{ user: u, password: \"p w\" }",
            "user = \"u\"\npassword = \"p w\"".to_owned(),
            "user = \"u\"\npassword = \"p\"".to_owned(),
        ),
        ("{ token: t }", "token = \"t\"".to_owned(), String::new()),
        (
            &nkey,
            format!("nkey = {:?}", user.seed().unwrap()),
            format!("nkey = {:?}", KeyPair::new_user().seed().unwrap()),
        ),
    ] {
        let server = Server::jetstream(&format!("authorization {authorization}")).await.unwrap();
        assert!(is_ready(&server, "nats", &right).await, "{authorization}");
        assert!(!is_ready(&server, "nats", &wrong).await, "{authorization}");
    }
}

#[tokio::test]
async fn configured_certificates_are_used_and_verified() {
    let (ours, other) = (Authority::new("ours").unwrap(), Authority::new("other").unwrap());
    let folder = Folder::new("nats-mtls").unwrap();
    let write = |name: &str, text: &str| folder.write(name, text).unwrap();
    let (ca, other_ca) = (write("ca.pem", &ours.pem()), write("other.pem", &other.pem()));
    let (server, client) = (ours.server("127.0.0.1").unwrap(), ours.client("bridge").unwrap());
    let (certificate, key) = (write("server.pem", &server.certificate), write("server.key", &server.key));
    let identity = format!(
        "tls.certificate = {:?}\ntls.key = {:?}",
        write("client.pem", &client.certificate),
        write("client.key", &client.key)
    );
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
    let more = format!(
        "operator: {operator_jwt}\nsystem_account: {0}\nresolver: MEMORY\n\
         resolver_preload: {{ {0}: {system_jwt}, {1}: {account_jwt} }}",
        system.public_key(),
        account.public_key()
    );
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
    let check = async |permissions: &str| {
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
        let (nats, shared) = configured(&server, "nats", "user = \"u\"\npassword = \"p\"");
        let used = async {
            for stream in ["orders", "slow"] {
                let fetched = nats.fetch(log(stream), at(1), &ClusterRate::unlimited(), &mut Room).await?;
                assert_eq!(data(&fetched), ["1", "2"]);
                list_offset(&nats, log(stream), 0).await?;
                list_offset(&nats, log(stream), MAX_TIMESTAMP).await?;
                nats.check_log(ClientKey::UNKNOWN, log(stream)).await?;
            }
            assert_eq!(nats.topics().await?[..], ["orders", "slow"]);
            Ok::<_, CommandError>(nats.ready(Duration::from_secs(5)).await.is_ok())
        };
        if !within(used).await? {
            return Ok(false);
        }
        let wait = tokio::spawn({
            let nats = Arc::clone(&nats);
            async move { nats.fetch(log("orders"), waiting(3), &ClusterRate::unlimited(), &mut Room).await }
        });
        let watched = async {
            while !nats.is_watched(log("orders"), 3, false) {
                sleep(POLL).await;
            }
        };
        if timeout(Duration::from_secs(5), watched).await.is_err() {
            return Ok(false);
        }
        streams.write("orders.a", ["3".into()]).await.unwrap();
        assert_eq!(data(&within(wait).await.unwrap()?), ["3"]);
        drop(shared);
        Ok::<_, CommandError>(true)
    };
    assert_eq!(check(permissions).await, Ok(true));
    // Each one is needed. Without those for consumers, streams are polled.
    for line in permissions.lines().filter(|line| line.contains("$JS") && !line.contains("CONSUMER")) {
        let fewer = permissions.replace(&format!("{line}\n"), "");
        assert_ne!(check(&fewer).await, Ok(true), "without {line}");
    }
}

/// Room for any answer, for as long as a fetch waits.
struct Room;

impl AnswerReservation for Room {
    fn wait(&mut self, _: usize) -> BoxFuture<'_, ()> {
        pending().boxed()
    }

    fn refill(&mut self) -> BoxFuture<'_, bool> {
        ready(true).boxed()
    }
}

fn log(stream: &str) -> Log<'_> {
    Log { topic: stream, partition: 0 }
}

fn at(offset: i64) -> Fetch {
    Fetch {
        offset,
        max_bytes: 64 * 1024,
        wait: Duration::ZERO,
        min_bytes: 0,
        max_records: 0,
        fill: false,
        committed: false,
        source: ClientKey::UNKNOWN,
    }
}

fn waiting(offset: i64) -> Fetch {
    Fetch { wait: Duration::from_secs(30), ..at(offset) }
}

/// The data of each message.
fn data(fetched: &Fetched) -> Vec<Bytes> {
    let decoded = KafkaFetchResp::decode(&fetched.messages[..]).unwrap();
    decoded.messages.into_iter().filter_map(|message| message.value).collect()
}

async fn list_offset(nats: &Nats, log: Log<'_>, timestamp: i64) -> Result<ListedOffset, CommandError> {
    nats.list_offsets(ClientKey::UNKNOWN, &[(log, timestamp)], false).next().await.unwrap().1
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), future).await.expect("an end in time")
}

const POLL: Duration = Duration::from_millis(5);

//! Tokens that the bridge verifies: where they can be, and each way to forge one.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Value, json};
use sluicegate_client::{Client, ConnectError};
use sluicegate_stack::folder::Folder;
use sluicegate_stack::http::client::{Request, ask};
use sluicegate_stack::json_socket::{JsonSocket, upgrade};
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::stack::Stack;
use sluicegate_stack::tokens::Signer;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_gateway;
use tokio_tungstenite::connect_async;

use crate::identity::stacks::{ISSUER, SECRET, SIGNER, http, session, start, token};

in_every_gateway! {
    token_can_be_in_each_place
    forged_tokens_open_nothing
}

mod renewals {
    use super::forged_tokens_renew_nothing;

    sluicegate_tests::in_every_profile! {
        forged_tokens_renew_nothing
    }
}

/// A gateway without the filter sets the headers itself.
#[tokio::test]
async fn other_gateways_relay_policy_and_token() {
    let kafka = Kafka::shared().await.unwrap();
    let shared = kafka.topic("relayed", 1, &[]).await.unwrap();
    let own = format!("{shared}.alice");
    kafka.make_topic(&own, 1, &[]).await.unwrap();
    let stack = start(Way::Direct, kafka, "", &verifier()).await;
    let policy = format!(r#"{{"identity":{{"token":"main"}},"read":[{{"topic":"{shared}.${{sub}}"}}]}}"#);
    let open = async |policy: &str, token: Option<&str>| {
        let gateway = Client::builder(stack.url()).header("sluicegate-gateway-secret", SECRET);
        let gateway = gateway.header("sluicegate-access", policy);
        token
            .into_iter()
            .fold(gateway, |gateway, token| gateway.header("sluicegate-token", token))
            .connect()
            .await
    };
    let [alice, bob] = ["alice", "bob"].map(good);
    assert!(open(&policy, Some(&alice)).await.unwrap().fetch(&own, 0, 0).await.is_ok());
    assert!(open(&policy, Some(&bob)).await.unwrap().fetch(&own, 0, 0).await.is_err());
    for (policy, token, want) in [
        (&policy[..], None, 401),
        (&policy, Some("a.b.c"), 401),
        ("{}", Some(&alice[..]), 400),
        (r#"{"newer":[]}"#, None, 400),
        (r#"{"identity":{"token":"unknown"},"read":[]}"#, Some(&alice), 404),
    ] {
        let opened = open(policy, token).await;
        assert!(
            matches!(&opened, Err(ConnectError::Refused { status, .. }) if *status == want),
            "{policy}: {opened:?}"
        );
    }
}

/// A table of the bridge's configuration with the issuer.
pub(crate) fn verifier() -> String {
    // Written once: bridges of other tests read it.
    static KEYS: LazyLock<Folder> = LazyLock::new(|| {
        let folder = Folder::new("keys").unwrap();
        std::fs::write(folder.path().join("keys.json"), SIGNER.key_set()).unwrap();
        folder
    });
    let keys = KEYS.path().join("keys.json");
    format!(
        "[identity]\nleeway_ms = 0\n[identity.main]\nissuer = {ISSUER:?}\naudience = [\"app\"]\njwks_file = {keys:?}\n"
    )
}

/// A stack whose bridge verifies tokens itself.
async fn verifying(way: Way, kafka: &Kafka, topics: &str) -> Stack {
    let route = format!(
        r#""identity": {{"from": "token", "name": "main", "query": "access_token", "cookie": "sid"}},
           "origins": ["https://app.example"], "topics": [{topics:?}]"#
    );
    start(way, kafka, &route, &verifier()).await
}

pub(crate) fn good(subject: &str) -> String {
    token(subject, &json!({"aud": "app"}), 600)
}

/// Open sessions keep their rights. Later ones, and renewals, go by what is configured by then.
#[tokio::test]
async fn keys_and_policies_are_replaced_while_sessions_are_open() {
    let kafka = Kafka::shared().await.unwrap();
    let shared = kafka.topic("replaced", 1, &[]).await.unwrap();
    let (old, new) = (format!("{shared}.old.alice"), format!("{shared}.new.alice"));
    for topic in [&old, &new] {
        kafka.make_topic(topic, 1, &[]).await.unwrap();
    }
    let folder = Folder::new("replaced-keys").unwrap();
    let keys = folder.path().join("keys.json");
    std::fs::write(&keys, SIGNER.key_set()).unwrap();
    let table = format!("[identity.main]\nissuer = {ISSUER:?}\naudience = [\"app\"]\njwks_file = {keys:?}\n");
    let mut stack = start(Way::Direct, kafka, "", &table).await;
    let upgrade = |kind: &str, token: &str| {
        let topic = format!("{shared}.{kind}.${{sub}}");
        let policy = json!({"identity": {"token": "main"}, "read": [{"topic": topic}]}).to_string();
        let mut request = upgrade(&stack.url());
        for (name, value) in [
            ("sluicegate-gateway-secret", SECRET),
            ("sluicegate-access", &policy),
            ("sluicegate-token", token),
        ] {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        request
    };
    let signer = Signer::new().unwrap();
    let by_new_key = signer.sign_json(&claims(&good("alice"))).unwrap();
    let [first, second] = [upgrade("old", &good("alice")), upgrade("new", &by_new_key)];
    let refused = [upgrade("old", &good("alice")), upgrade("old", &by_new_key)];
    let mut opened = JsonSocket::open_with(first).await;
    assert!(reads(&mut opened, &old).await && !reads(&mut opened, &new).await);
    assert!(connect_async(refused[1].clone()).await.is_err());

    std::fs::write(&keys, signer.key_set()).unwrap();
    stack.bridge.reconfigure(|text| text).await.unwrap();
    assert!(connect_async(refused[0].clone()).await.is_err());
    let mut later = JsonSocket::open_with(second).await;
    assert!(reads(&mut later, &new).await && !reads(&mut later, &old).await);
    assert!(reads(&mut opened, &old).await && !reads(&mut opened, &new).await);
    for (token, is_renewed) in [(good("alice"), false), (by_new_key, true)] {
        opened.send(json!({"id": 2, "auth": {"token": token}}).to_string()).await;
        assert_eq!(opened.receive().await["auth"].is_object(), is_renewed);
    }
    assert!(reads(&mut opened, &old).await && !reads(&mut opened, &new).await);
}

async fn reads(socket: &mut JsonSocket, topic: &str) -> bool {
    let fetch = json!({"id": 1, "fetch": {"topic": topic, "partition": 0, "offset": 0}});
    socket.send(fetch.to_string()).await;
    socket.receive().await["error"].is_null()
}

/// The claims of a token.
fn claims(token: &str) -> Value {
    let part = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&part).unwrap()
}

async fn token_can_be_in_each_place(way: Way) {
    let kafka = Kafka::shared().await.unwrap();
    let shared = kafka.topic("places", 1, &[]).await.unwrap();
    let own = format!("{shared}.alice");
    kafka.make_topic(&own, 1, &[]).await.unwrap();
    let stack = verifying(way, kafka, &format!("{shared}.${{sub}}")).await;
    let (alice, bob) = (good("alice"), good("bob"));
    let path = format!("/kafka/topics/{own}/partitions/0/offsets");
    let places = |token: &str| {
        [
            ("authorization", format!("Bearer {token}"), String::new()),
            ("cookie", format!("theme=dark; sid={token}"), String::new()),
            ("x-none", String::from("1"), format!("?access_token={token}")),
        ]
    };
    for (name, value, query) in places(&alice) {
        let answer = ask(stack.gateway(), Request::get(format!("{path}{query}")).with(name, &value)).await;
        assert_eq!(answer.status, 200, "{name}{query}: {}", answer.text());
        // The host of APISIX' filter has no sessions here.
        if way != Way::Apisix {
            let client = Client::builder(stack.url() + &query).header(name, value).connect().await.unwrap();
            assert!(client.fetch(&own, 0, 0).await.is_ok(), "{name}{query}");
        }
    }
    for (name, value, query) in places(&bob) {
        let answer = ask(stack.gateway(), Request::get(format!("{path}{query}")).with(name, &value)).await;
        assert_eq!(answer.status, 403, "{name}{query}");
    }
    // REST refuses parameters that it does not know: the token's is gone, and others stay.
    let other = Request::get(format!("{path}?access_token={alice}&other=1"));
    let other = ask(stack.gateway(), other).await;
    assert!(other.status == 400 && other.text().contains("other"), "{}", other.text());
    if way == Way::Apisix {
        return;
    }
    for protocols in ["sluicegate.v1, sluicegate.token.TOKEN", "sluicegate.token.TOKEN,sluicegate.v1"] {
        let protocols = protocols.replace("TOKEN", &alice);
        let client = Client::builder(stack.url()).header("sec-websocket-protocol", protocols).connect();
        assert!(client.await.unwrap().fetch(&own, 0, 0).await.is_ok());
    }
}

/// Alice's claims with these changes.
fn changed(changes: Value) -> Value {
    let mut claims = claims(&good("alice"));
    claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    claims
}

fn sign(changes: Value) -> String {
    SIGNER.sign_json(&changed(changes)).unwrap()
}

/// Each way to forge a token of Alice, with its name.
fn forged() -> Vec<(&'static str, String)> {
    let foreign = Signer::new().unwrap();
    let head = |changes: Value| {
        let mut head = json!({"alg": "ES256", "typ": "JWT", "kid": "tests"});
        head.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        head
    };
    let with_head = |changes: Value| SIGNER.sign_with(&head(changes), &changed(json!({}))).unwrap();
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let unsigned = format!("{}.{}.", part(&json!({"alg": "none"})), part(&changed(json!({}))));
    let signed = format!("{}.{}", part(&head(json!({"alg": "HS256"}))), part(&changed(json!({}))));
    let keys = SIGNER.key_set();
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, keys.as_bytes()), signed.as_bytes());
    let confused = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac));
    let foreign_key: Value = serde_json::from_str(&foreign.key_set()).unwrap();
    let by_foreign = |changes: Value| foreign.sign_with(&head(changes), &changed(json!({}))).unwrap();
    vec![
        ("unsigned", unsigned),
        ("RS/HS confusion", confused),
        ("foreign key", by_foreign(json!({}))),
        ("foreign kid", by_foreign(json!({"kid": "foreign"}))),
        ("own jwk", by_foreign(json!({"jwk": foreign_key["keys"][0]}))),
        ("jku", by_foreign(json!({"jku": "https://evil.example/keys"}))),
        ("x5u", by_foreign(json!({"x5u": "https://evil.example/cert"}))),
        ("crit", with_head(json!({"crit": ["exp"]}))),
        ("other type", with_head(json!({"typ": "logout+jwt"}))),
        ("expired", sign(json!({"exp": 1}))),
        ("not yet valid", sign(json!({"nbf": 4_000_000_000_u64}))),
        ("without exp", sign(json!({"exp": null}))),
        ("exp as text", sign(json!({"exp": "4000000000"}))),
        ("other audience", sign(json!({"aud": "other"}))),
        ("two other audiences", sign(json!({"aud": ["x", "y"]}))),
        ("other issuer", sign(json!({"iss": "https://evil.example"}))),
        ("two issuers", sign(json!({"iss": [ISSUER, "https://evil.example"]}))),
        ("cut", good("alice").split_at(100).0.to_owned()),
        ("not a token", "alice".to_owned()),
        ("too long", "a".repeat(8193)),
    ]
}

async fn forged_tokens_open_nothing(way: Way) {
    let kafka = Kafka::shared().await.unwrap();
    let topic = kafka.topic("forged", 1, &[]).await.unwrap();
    let stack = verifying(way, kafka, &topic).await;
    for (name, forged) in &forged() {
        let path = format!("/kafka/topics/{topic}/partitions/0/offsets");
        let answer = http(&stack, Some(forged), Request::get(path)).await;
        // APISIX itself takes 8 KiB of one header line.
        let is_refused =
            answer.status == 401 || way == Way::Apisix && *name == "too long" && answer.status == 400;
        assert!(is_refused, "{name}: {} {}", answer.status, answer.text());
        assert!(!answer.text().contains(forged.as_str()), "{name}");
        let events =
            Request::get(format!("/kafka/topics/{topic}/events")).with("accept", "text/event-stream");
        let write = Request::post(format!("/kafka/topics/{topic}"), r#"{"records":[{"value":1}]}"#);
        for request in [events, write] {
            assert!(matches!(http(&stack, Some(forged), request).await.status, 400 | 401), "{name}");
        }
        if way != Way::Apisix {
            let opened = session(&stack, Some(forged)).await;
            assert!(
                matches!(opened, Err(ConnectError::Refused { status: 400 | 401, .. })),
                "{name}: {opened:?}"
            );
        }
    }
    let two = sign(json!({"aud": ["x", "app"]}));
    let offsets = Request::get(format!("/kafka/topics/{topic}/partitions/0/offsets"));
    assert_eq!(http(&stack, Some(&two), offsets.clone()).await.status, 200);
    assert_eq!(http(&stack, Some(&good("alice")), offsets).await.status, 200);
}

async fn forged_tokens_renew_nothing(way: Way) {
    let kafka = Kafka::shared().await.unwrap();
    let topic = kafka.topic("forged-renewals", 1, &[]).await.unwrap();
    let stack = &verifying(way, kafka, &topic).await;
    // A session of its own for each: the bridge verifies one token a second for a session.
    let renew = async |(name, forged): (&'static str, String)| {
        let mut request = upgrade(&stack.url());
        request.headers_mut().insert("authorization", format!("Bearer {}", good("alice")).parse().unwrap());
        request.headers_mut().insert("origin", "https://app.example".parse().unwrap());
        let mut socket = JsonSocket::open_with(request).await;
        socket.send(json!({"id": 2, "auth": {"token": forged}}).to_string()).await;
        let answer = socket.receive().await;
        assert!(!answer["error"].is_null(), "{name}: {answer}");
        assert!(!answer.to_string().contains(&forged), "{name}: {answer}");
        assert!(reads(&mut socket, &topic).await, "{name}");
    };
    futures_util::future::join_all(forged().into_iter().map(renew)).await;
}

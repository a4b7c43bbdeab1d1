//! Identities that are over before they expire. `auditing` revokes by a list in a file.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sluicegate_client::{Client, Error};
use sluicegate_stack::http::client::{Request, ask};
use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::waiting::becomes;
use sluicegate_stack::way::Way;

use crate::identity::ending::{end, events, rest};
use crate::identity::stacks::{
    BELIEVED, ISSUER, by_gateway, config, good, http, now, offsets, session, status, token, verifier,
};
use crate::pool::SECRET;

/// Revokes by this entry, or takes that back.
async fn revoke(kafka: &Kafka, topic: &str, key: &str, entry: Option<Value>) {
    let value = entry.map(|entry| entry.to_string().into_bytes());
    let record = Record { key: Some(key.into()), value, ..Record::default() };
    kafka.produce(topic, 0, &[record], Write::default()).await.unwrap();
}

/// All identities of a person up to a time.
fn person(name: &str, issued_until: i64) -> Option<Value> {
    Some(json!({"iss": ISSUER, "sub": name, "issued_until": issued_until, "until": now() + 3600}))
}

#[tokio::test]
async fn revoked_identity_ends_within_seconds() {
    let kafka = Kafka::shared().await.unwrap();
    let data = kafka.topic("revoked-data", 1, &[]).await.unwrap();
    let topic = kafka.topic("revocations", 2, &[("cleanup.policy", "compact")]).await.unwrap();
    let tables = format!("{BELIEVED}\n[revocation]\ntopic = {topic:?}");
    let keys = json!({"identity": by_gateway(), "write": true});
    let mut stack = config(Way::Tunnel, &keys, &tables).await.own().await;
    let of = |person: &str, id: &str| token(person, &json!({"jti": id}), 600);
    let (alice, bob) = (of("alice", "one"), of("bob", "two"));
    let of_alice = session(&stack, Some(&alice)).await.unwrap();
    let of_bob = session(&stack, Some(&bob)).await.unwrap();

    // Nobody can read or write the topic, on routes that grant every other one.
    let denied = of_bob.fetch(&topic, 0, 0).await;
    assert!(matches!(denied, Err(Error::Command { .. })), "{denied:?}");
    assert!(of_bob.fetch(&data, 0, 0).await.is_ok());

    let stream = events(&stack, &data, &alice).await;
    let began = Instant::now();
    revoke(kafka, &topic, "k", Some(json!({"jti": "one", "until": now() + 3600}))).await;
    assert_eq!(end(&of_alice).await, (3000, "identity revoked".to_owned()));
    let text = rest(stream).await;
    assert!(text.contains("identity revoked"), "{text}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(of_bob.ping("p").await.is_ok());

    // A replayed token opens nothing, at a bridge that was started since, too. Another token of the person does.
    for restarted in [false, true] {
        if restarted {
            stack.bridge.process.kill();
            stack.bridge.up().await.unwrap();
            stack.ready_within(Duration::from_secs(30)).await.unwrap();
        }
        assert_eq!(status(session(&stack, Some(&alice)).await), 401);
        let refused = http(&stack, Some(&alice), offsets(&data)).await;
        assert_eq!(refused.status, 401);
        assert!(refused.text().contains("the identity was revoked, log in again"), "{}", refused.text());
        assert_eq!(http(&stack, Some(&of("alice", "three")), offsets(&data)).await.status, 200);
    }

    // All identities of a person up to now, and back.
    let of_bob = session(&stack, Some(&bob)).await.unwrap();
    revoke(kafka, &topic, "person", person("bob", now())).await;
    assert_eq!(end(&of_bob).await, (3000, "identity revoked".to_owned()));
    revoke(kafka, &topic, "person", None).await;
    let opens = async || status(session(&stack, Some(&bob)).await);
    becomes("the status of bob's session", 101, Duration::from_secs(10), opens).await;
}

#[tokio::test]
async fn bridge_is_ready_once_it_knows_all_revocations() {
    let kafka = Kafka::shared().await.unwrap();
    let data = kafka.topic("unready", 1, &[]).await.unwrap();
    let topic = format!("{data}-revocations");
    let tables = format!("{}[revocation]\ntopic = {topic:?}", verifier());
    let stack = config(Way::Direct, &json!({}), &tables).await.unready().await;
    let ready = async || ask(stack.bridge.admin(), Request::get("/readyz")).await.status;
    // Of a gateway that sets the headers itself.
    let opened = async |person: &str| {
        let builder = Client::builder(stack.url()).header("sluicegate-gateway-secret", SECRET);
        let policy = r#"{"identity":{"token":"main"},"read":[{"topic":"*"}]}"#;
        let builder = builder.header("sluicegate-access", policy).header("sluicegate-token", good(person));
        status(builder.connect().await)
    };
    // Nobody can tell whether alice's token is revoked. Clients without an identity are served.
    becomes("alice's status for now", 503, Duration::from_secs(20), async || opened("alice").await).await;
    assert_eq!(ready().await, 503);
    let anybody = Client::builder(stack.url()).header("sluicegate-gateway-secret", SECRET).connect().await;
    assert!(anybody.unwrap().fetch(&data, 0, 0).await.is_ok());

    kafka.make_topic(&topic, 1, &[("cleanup.policy", "compact")]).await.unwrap();
    revoke(kafka, &topic, "bob", person("bob", now() + 3600)).await;
    becomes("/readyz", 200, Duration::from_secs(30), ready).await;
    assert_eq!(opened("alice").await, 101);
    becomes("bob's status", 401, Duration::from_secs(5), async || opened("bob").await).await;
    let unreadable = stack.bridge.count("sluicegate_revocations_unreadable", "").await;
    assert_eq!(unreadable, Ok(0.0));
}

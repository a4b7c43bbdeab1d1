//! Identities that are over before they expire.

use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use sluicegate_client::{Client, ConnectError, Error};
use sluicegate_stack::http::client::{Client as Http, Request, ask};
use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::stack::Stack;
use sluicegate_stack::waiting::{becomes, until};
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_profile;

use crate::identity::ending::end;
use crate::identity::stacks::{BELIEVED, ISSUER, SECRET, http, session, setup, start, token};
use crate::identity::tokens::{good, verifier};

in_every_profile! {
    revoked_identity_ends_within_seconds
}

const KEYS: &str = r#""identity": {"from": "jwt_authn", "payload": "claims"}, "write": true"#;

/// Revokes the token with this id, or takes that back.
async fn revoke(kafka: &Kafka, topic: &str, key: &str, entry: Option<Value>) {
    let value = entry.map(|entry| entry.to_string().into_bytes());
    let record = Record { key: Some(key.into()), value, ..Record::default() };
    kafka.produce(topic, 0, &[record], Write::default()).await.unwrap();
}

fn later() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() + 3600
}

async fn revoked_identity_ends_within_seconds(way: Way) {
    let kafka = Kafka::shared().await.unwrap();
    let data = kafka.topic("revoked-data", 1, &[]).await.unwrap();
    let topic = kafka.topic("revocations", 2, &[("cleanup.policy", "compact")]).await.unwrap();
    let tables = format!("{BELIEVED}[revocation]\ntopic = {topic:?}\n");
    let mut stack = start(way, kafka, KEYS, &tables).await;
    let of = |person: &str, id: &str| token(person, &json!({"jti": id}), 600);
    let (alice, bob) = (of("alice", "one"), of("bob", "two"));
    let (of_alice, of_bob) =
        (session(&stack, Some(&alice)).await.unwrap(), session(&stack, Some(&bob)).await.unwrap());
    let events = Request::get(format!("/kafka/topics/{data}/events"))
        .with("accept", "text/event-stream")
        .with("authorization", format!("Bearer {alice}"));
    let mut events = Http::connect(stack.gateway()).await.unwrap().stream(events).await.unwrap();

    // Nobody can read or write the topic, on routes that grant every other one.
    let denied = of_bob.fetch(&topic, 0, 0).await;
    assert!(matches!(denied, Err(Error::Command { .. })), "{denied:?}");
    assert!(of_bob.fetch(&data, 0, 0).await.is_ok());

    let began = Instant::now();
    revoke(kafka, &topic, "k", Some(json!({"jti": "one", "until": later()}))).await;
    assert_eq!(end(&of_alice).await, (3000, "identity revoked".to_owned()));
    let mut text = Vec::new();
    while let Some(part) = events.next().await.unwrap() {
        text.extend_from_slice(&part);
    }
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("identity revoked"), "{text}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(of_bob.ping("p").await.is_ok());

    // A replayed token opens nothing, at a bridge that was started since, too. Another token of the person does.
    let records = Request::get(format!("/kafka/topics/{data}/partitions/0/offsets"));
    for restarted in [false, true] {
        if restarted {
            stack.bridge.process.kill();
            stack.bridge.up().await.unwrap();
            stack.ready_within(Duration::from_secs(30)).await.unwrap();
        }
        let refused = session(&stack, Some(&alice)).await;
        assert!(matches!(&refused, Err(ConnectError::Refused { status: 401, .. })), "{refused:?}");
        let refused = http(&stack, Some(&alice), records.clone()).await;
        assert_eq!(refused.status, 401);
        assert!(refused.text().contains("the identity was revoked, log in again"), "{}", refused.text());
        assert_eq!(http(&stack, Some(&of("alice", "three")), records.clone()).await.status, 200);
    }

    // All identities of a person up to now, and back.
    let of_bob = session(&stack, Some(&bob)).await.unwrap();
    let now = later() - 3600;
    let person = json!({"iss": ISSUER, "sub": "bob", "issued_until": now, "until": later()});
    revoke(kafka, &topic, "person", Some(person)).await;
    assert_eq!(end(&of_bob).await, (3000, "identity revoked".to_owned()));
    revoke(kafka, &topic, "person", None).await;
    let opens = async || session(&stack, Some(&bob)).await.map(drop).map_err(|error| error.to_string());
    until("open a session again", Duration::from_secs(10), opens).await;
}

/// A session of a gateway that sets the headers itself.
async fn directly(stack: &Stack, token: &str) -> Result<Client, ConnectError> {
    let builder = Client::builder(stack.url()).header("sluicegate-gateway-secret", SECRET);
    let builder =
        builder.header("sluicegate-access", r#"{"identity":{"token":"main"},"read":[{"topic":"*"}]}"#);
    builder.header("sluicegate-token", token).connect().await
}

fn status(opened: Result<Client, ConnectError>) -> u16 {
    match opened {
        Ok(_) => 101,
        Err(ConnectError::Refused { status, .. }) => status,
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn bridge_is_ready_once_it_knows_all_revocations() {
    let kafka = Kafka::shared().await.unwrap();
    let data = kafka.topic("unready", 1, &[]).await.unwrap();
    let topic = format!("{data}-revocations");
    let tables = format!("{}[revocation]\ntopic = {topic:?}\n", verifier());
    let stack = Stack::start(setup(Way::Direct, kafka, "", &tables)).await.unwrap();
    let ready = async || ask(stack.bridge.admin(), Request::get("/readyz")).await.status;
    // Nobody can tell whether alice's token is revoked. Clients without an identity are served.
    until("refuse alice for now", Duration::from_secs(20), async || {
        match status(directly(&stack, &good("alice")).await) {
            503 => Ok(()),
            other => Err(other.to_string()),
        }
    })
    .await;
    assert_eq!(ready().await, 503);
    let anybody = Client::builder(stack.url()).header("sluicegate-gateway-secret", SECRET).connect().await;
    assert!(anybody.unwrap().fetch(&data, 0, 0).await.is_ok());

    kafka.make_topic(&topic, 1, &[("cleanup.policy", "compact")]).await.unwrap();
    let entry = json!({"iss": ISSUER, "sub": "bob", "issued_until": later(), "until": later()});
    revoke(kafka, &topic, "bob", Some(entry)).await;
    becomes("/readyz", 200, Duration::from_secs(30), ready).await;
    assert_eq!(status(directly(&stack, &good("alice")).await), 101);
    becomes("the status for bob", 401, Duration::from_secs(5), async || {
        status(directly(&stack, &good("bob")).await)
    })
    .await;
    let unreadable = stack.bridge.count("sluicegate_revocations_unreadable", "").await;
    assert_eq!(unreadable, Ok(0.0));
}

#[tokio::test]
async fn listed_revocations_are_read_again_when_they_change() {
    let kafka = Kafka::shared().await.unwrap();
    let folder = std::env::temp_dir().join(format!("sluicegate-revoked-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let list = folder.join("revoked.jsonl");
    std::fs::write(&list, "").unwrap();
    let tables = format!("{}[revocation]\nlist_file = {list:?}\n", verifier());
    let stack = start(Way::Direct, kafka, "", &tables).await;
    let [alice, bob] = [directly(&stack, &good("alice")).await, directly(&stack, &good("bob")).await];
    let (alice, bob) = (alice.unwrap(), bob.unwrap());
    let began = Instant::now();
    let entry = json!({"iss": ISSUER, "sub": "alice", "issued_until": later(), "until": later()});
    std::fs::write(&list, format!("{entry}\n")).unwrap();
    assert_eq!(end(&alice).await, (3000, "identity revoked".to_owned()));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(bob.ping("p").await.is_ok());
    assert_eq!(status(directly(&stack, &good("alice")).await), 401);
    // A line that is none changes nothing.
    std::fs::write(&list, "alice\n").unwrap();
    let rejected = async || stack.bridge.count("sluicegate_config_rejected", "").await;
    becomes("sluicegate_config_rejected", Ok(1.0), Duration::from_secs(10), rejected).await;
    assert_eq!(status(directly(&stack, &good("alice")).await), 401);
}

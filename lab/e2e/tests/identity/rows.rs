//! Tenants who share a topic: each reads and writes their own records, through every way in.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use sluicegate_client::{Client, Fetched};
use sluicegate_protocol::{Header, ProduceRecord, PublishMessage, Reason};
use sluicegate_stack::http::client::Request;
use sluicegate_stack::json_socket::JsonSocket;
use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::nats::{Nats, Streams};
use sluicegate_stack::stack::Stack;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_profile;

use crate::identity::renewing::{auth, open};
use crate::identity::stacks::{BELIEVED, http, session, start, start_on_nats, token};
use crate::identity::tokens::verifier;

in_every_profile! {
    each_person_has_the_records_with_their_keys
    bridge_sets_the_header_of_a_tenant
    renewal_changes_the_records_of_a_subscription
    each_tenant_has_the_subjects_of_a_stream
}

const IDENTITY: &str = r#""identity": {"from": "jwt_authn", "payload": "claims"}"#;

async fn write(kafka: &Kafka, topic: &str, keys: &[&str]) {
    let record = |key: &&str| Record { key: Some(key.as_bytes().to_vec()), ..Record::of("v") };
    let records: Vec<Record> = keys.iter().map(record).collect();
    kafka.produce(topic, 0, &records, Write::default()).await.unwrap();
}

fn keys(fetched: &Fetched) -> Vec<String> {
    let key = |key: &Option<bytes::Bytes>| String::from_utf8(key.clone().unwrap().to_vec()).unwrap();
    fetched.messages.iter().map(|message| key(&message.key)).collect()
}

async fn produce(client: &Client, topic: &str, key: &str, headers: &[&str]) -> Result<(), String> {
    let header = |name: &&str| Header { key: (*name).to_owned(), value: Some("x".into()) };
    let headers = headers.iter().map(header).collect();
    let record = ProduceRecord {
        topic: topic.to_owned(),
        key: Some(key.to_owned().into()),
        headers,
        ..Default::default()
    };
    let written = client.produce(vec![record]).await.unwrap().remove(0);
    written.map(drop).map_err(|error| {
        assert_eq!(error.reason, Reason::Denied, "{error:?}");
        error.message
    })
}

/// The offsets in the answer to a request for records.
async fn listed(stack: &Stack, token: &str, topic: &str) -> Vec<u64> {
    let path = format!("/kafka/topics/{topic}/partitions/0/records?offset=0");
    let records = http(stack, Some(token), Request::get(path)).await;
    assert_eq!(records.status, 200, "{}", records.text());
    records.json().as_array().unwrap().iter().map(|record| record["offset"].as_u64().unwrap()).collect()
}

/// The offsets of the next `count` records that are delivered.
async fn delivered(socket: &mut JsonSocket, count: usize) -> Vec<u64> {
    let mut offsets = Vec::new();
    while offsets.len() < count {
        let message = socket.receive().await;
        assert!(message["error"].is_null(), "{message}");
        let records = message["messages"].as_array().cloned().unwrap_or_default();
        offsets.extend(records.iter().map(|record| record["offset"].as_u64().unwrap()));
    }
    offsets
}

async fn subscribe(stack: &Stack, token: &str, topic: &str) -> JsonSocket {
    let mut socket = open(stack, token).await;
    // Keys and values are text that is no JSON.
    let command = json!({"topic": topic, "from": "earliest", "format": "text"});
    socket.send(json!({"id": 1, "subscribe": command}).to_string()).await;
    socket
}

async fn each_person_has_the_records_with_their_keys(way: Way) {
    let kafka = Kafka::shared().await.unwrap();
    let topic = kafka.topic("rows", 1, &[]).await.unwrap();
    let entries = format!(r#"[{{"topic": "{topic}", "only": {{"key_prefix": "${{sub}}:"}}}}]"#);
    let route = format!(r#"{IDENTITY}, "read": {entries}, "write": {entries}"#);
    let stack = start(way, kafka, &route, BELIEVED).await;
    write(kafka, &topic, &["bob:0", "alice:1", "alicea:2", "bob:3", "alice:4"]).await;
    kafka.produce(&topic, 0, &[Record::of("alice:5")], Write::default()).await.unwrap();
    let [alice, bob] = ["alice", "bob"].map(|person| token(person, &json!({}), 600));
    let client = session(&stack, Some(&alice)).await.unwrap();

    let first = client.fetch(&topic, 0, 0).await.unwrap();
    assert_eq!((keys(&first), first.next_offset), (vec!["alice:1".to_owned(), "alice:4".to_owned()], 6));
    assert_eq!(listed(&stack, &alice, &topic).await, [1, 4]);
    assert_eq!(listed(&stack, &bob, &topic).await, [0, 3]);
    let mut hers = subscribe(&stack, &alice, &topic).await;
    assert_eq!(delivered(&mut hers, 2).await, [1, 4]);

    assert_eq!(produce(&client, &topic, "alice:6", &[]).await, Ok(()));
    assert_eq!(produce(&client, &topic, "bob:7", &[]).await, Err("key: expected alice:…".to_owned()));
    // In base64, because a key that is written as JSON has quotes.
    let post = |key: &str| {
        let body = json!({"records": [{"key": BASE64_STANDARD.encode(key), "value": "dg=="}]}).to_string();
        let post = Request::post(format!("/kafka/topics/{topic}"), body);
        post.with("content-type", "application/vnd.kafka.binary.v2+json")
    };
    assert_eq!(http(&stack, Some(&alice), post("bob:7")).await.status, 403);
    let written = http(&stack, Some(&alice), post("alice:7")).await;
    assert_eq!(written.status, 200, "{}", written.text());
    assert_eq!(delivered(&mut hers, 2).await, [6, 7]);
    assert_eq!(listed(&stack, &bob, &topic).await, [0, 3]);
}

async fn bridge_sets_the_header_of_a_tenant(way: Way) {
    let kafka = Kafka::shared().await.unwrap();
    let topic = kafka.topic("tenants", 1, &[]).await.unwrap();
    let entries = format!(r#"[{{"topic": "{topic}", "only": {{"header": "tenant", "is": "${{tenant}}"}}}}]"#);
    let claims = r#""claims": {"tenant": ["org", "id"]}"#;
    let route = format!(r#"{IDENTITY}, {claims}, "read": {entries}, "write": {entries}"#);
    let stack = start(way, kafka, &route, BELIEVED).await;
    let token = |tenant: Value| token("somebody", &json!({"org": {"id": tenant}}), 600);
    let acme = session(&stack, Some(&token(json!("Ácme & co")))).await.unwrap();
    let other = session(&stack, Some(&token(json!(7)))).await.unwrap();
    let both = session(&stack, Some(&token(json!(["Ácme & co", 7])))).await.unwrap();

    assert_eq!(produce(&acme, &topic, "a", &["other"]).await, Ok(()));
    assert_eq!(produce(&other, &topic, "b", &[]).await, Ok(()));
    let own = "header tenant: expected none, because it is set here";
    assert_eq!(produce(&acme, &topic, "c", &["tenant"]).await, Err(own.to_owned()));
    let several = "header tenant can have several values: this route writes with one only";
    assert_eq!(produce(&both, &topic, "d", &[]).await, Err(several.to_owned()));
    let written: Vec<_> = kafka.read(&topic, 0).into_iter().map(|message| message.headers).collect();
    let header = |key: &str, value: &str| Header { key: key.into(), value: Some(value.to_owned().into()) };
    let want = [vec![header("other", "x"), header("tenant", "Ácme & co")], vec![header("tenant", "7")]];
    assert_eq!(written, want);
    for (client, want) in [(&acme, &["a"][..]), (&other, &["b"]), (&both, &["a", "b"])] {
        assert_eq!(keys(&client.fetch(&topic, 0, 0).await.unwrap()), want);
    }
}

async fn renewal_changes_the_records_of_a_subscription(way: Way) {
    let kafka = Kafka::shared().await.unwrap();
    let topic = kafka.topic("renewed-rows", 1, &[]).await.unwrap();
    let route = format!(
        r#""identity": {{"from": "token", "name": "main"}}, "claims": {{"team": ["team"]}},
           "read": [{{"topic": "{topic}", "only": {{"key_prefix": "${{team}}/"}}}}]"#
    );
    let stack = start(way, kafka, &route, &verifier()).await;
    let of = |team: &str| token("alice", &json!({"aud": "app", "team": team}), 600);
    write(kafka, &topic, &["red/0", "blue/1"]).await;
    let mut socket = subscribe(&stack, &of("red"), &topic).await;
    assert_eq!(delivered(&mut socket, 1).await, [0]);
    auth(&mut socket, 2, &of("blue")).await;
    while socket.receive().await["id"] != 2 {}
    write(kafka, &topic, &["red/2", "blue/3"]).await;
    assert_eq!(delivered(&mut socket, 1).await, [3]);
}

async fn each_tenant_has_the_subjects_of_a_stream(way: Way) {
    let server = Nats::jetstream("").await.unwrap();
    let streams = Streams::connect(server.client()).await.unwrap();
    streams.create("S", json!({})).await.unwrap();
    let entries = r#"[{"topic": "S", "only": {"subjects": ["S.${tenant}.>"]}}]"#;
    let claims = r#""claims": {"tenant": ["tenant"]}"#;
    let route = format!(r#"{IDENTITY}, {claims}, "read": {entries}, "write": {entries}"#);
    let stack = start_on_nats(way, &server, &route, BELIEVED).await;
    let token = |tenant: &str| token("somebody", &json!({"tenant": tenant}), 600);
    for subject in ["S.globex.new", "S.acme.new", "S.acme", "S.acme.x.y"] {
        streams.write(subject, ["m".into()]).await.unwrap();
    }
    let client = session(&stack, Some(&token("acme"))).await.unwrap();
    let subjects = async |sequence| {
        let fetched = client.nats().fetch("S", sequence).await.unwrap();
        fetched.messages.into_iter().map(|message| message.subject).collect::<Vec<_>>()
    };
    assert_eq!(subjects(1).await, ["S.acme.new", "S.acme.x.y"]);
    let publish = async |subject: &str| {
        let message = PublishMessage { stream: "S".into(), subject: subject.into(), ..Default::default() };
        let published = client.nats().publish(vec![message]).await.unwrap().remove(0);
        published.map(drop).map_err(|error| error.message)
    };
    assert_eq!(publish("S.globex.new").await, Err("subject: expected S.acme.>".to_owned()));
    assert_eq!(publish("S.acme.2").await, Ok(()));
    assert_eq!(subjects(5).await, ["S.acme.2"]);
    for wide in ["*", "acme.new", ">"] {
        let client = session(&stack, Some(&token(wide))).await.unwrap();
        assert!(client.nats().fetch("S", 1).await.is_err(), "{wide}");
    }
}

//! Tenants who share a topic or a stream: each reads and writes their own records, through every way in.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use sluicegate_protocol::{ProduceRecord, PublishMessage, Reason};
use sluicegate_stack::http::client::Request;
use sluicegate_stack::json_socket::JsonSocket;
use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::nats::{Nats, Streams};
use sluicegate_stack::stack::Stack;
use sluicegate_stack::way::Way;

use crate::identity::stacks::{BELIEVED, by_gateway, config, http, open, session, token, with_routes};
use crate::pool::Config;

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

#[tokio::test]
async fn each_person_has_the_records_with_their_keys() {
    let kafka = Kafka::shared().await.unwrap();
    let topic = &kafka.topic("rows", 1, &[]).await.unwrap();
    let entries = json!([{"topic": topic, "only": {"key_prefix": "${sub}:"}}]);
    let keys = json!({"identity": by_gateway(), "read": entries, "write": entries});
    let stack = config(Way::Tunnel, &keys, BELIEVED).await.own().await;
    let record = |key: &str| Record { key: Some(key.into()), ..Record::of("v") };
    let records = ["bob:0", "alice:1", "alicea:2", "bob:3", "alice:4"].map(record);
    kafka.produce(topic, 0, &records, Write::default()).await.unwrap();
    kafka.produce(topic, 0, &[Record::of("alice:5")], Write::default()).await.unwrap();
    let [alice, bob] = ["alice", "bob"].map(|person| token(person, &json!({}), 600));
    let client = session(&stack, Some(&alice)).await.unwrap();

    let first = client.fetch(topic, 0, 0).await.unwrap();
    let offsets: Vec<i64> = first.messages.iter().map(|message| message.offset).collect();
    assert_eq!((&offsets[..], first.next_offset), (&[1, 4][..], 6));
    assert_eq!(listed(&stack, &alice, topic).await, [1, 4]);
    assert_eq!(listed(&stack, &bob, topic).await, [0, 3]);
    let mut hers = open(&stack, &alice).await;
    // Keys and values are text that is no JSON.
    let subscribe = json!({"topic": topic, "from": "earliest", "format": "text"});
    hers.send(json!({"id": 1, "subscribe": subscribe}).to_string()).await;
    assert_eq!(delivered(&mut hers, 2).await, [1, 4]);

    let produce = async |key: &'static str| {
        let record = ProduceRecord { topic: topic.clone(), key: Some(key.into()), ..Default::default() };
        let written = client.produce(vec![record]).await.unwrap().remove(0);
        written.map(drop).map_err(|error| (error.reason, error.message))
    };
    assert_eq!(produce("alice:6").await, Ok(()));
    assert_eq!(produce("bob:7").await, Err((Reason::Denied, "key: expected alice:…".to_owned())));
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
    assert_eq!(listed(&stack, &bob, topic).await, [0, 3]);
}

#[tokio::test]
async fn each_tenant_has_the_subjects_of_a_stream() {
    let server = Nats::shared().await.unwrap();
    let streams = Streams::shared().await.unwrap();
    streams.create("tenants", json!({})).await.unwrap();
    let entries = json!([{"topic": "tenants", "only": {"subjects": ["tenants.${tenant}.>"]}}]);
    let keys = json!({"identity": by_gateway(), "claims": {"tenant": ["tenant"]}, "read": entries, "write": entries});
    let stack = with_routes(Config::on_nats(Way::Tunnel, server), Way::Tunnel, &keys, BELIEVED).own().await;
    let token = |tenant: &str| token("somebody", &json!({"tenant": tenant}), 600);
    for subject in ["tenants.globex.new", "tenants.acme.new", "tenants.acme", "tenants.acme.x.y"] {
        streams.write(subject, ["m".into()]).await.unwrap();
    }
    let client = session(&stack, Some(&token("acme"))).await.unwrap();
    let subjects = async |sequence| {
        let fetched = client.nats().fetch("tenants", sequence).await.unwrap();
        fetched.messages.into_iter().map(|message| message.subject).collect::<Vec<_>>()
    };
    assert_eq!(subjects(1).await, ["tenants.acme.new", "tenants.acme.x.y"]);
    let publish = async |subject: &str| {
        let message =
            PublishMessage { stream: "tenants".into(), subject: subject.into(), ..Default::default() };
        let published = client.nats().publish(vec![message]).await.unwrap().remove(0);
        published.map(drop).map_err(|error| error.message)
    };
    assert_eq!(publish("tenants.globex.new").await, Err("subject: expected tenants.acme.>".to_owned()));
    assert_eq!(publish("tenants.acme.2").await, Ok(()));
    assert_eq!(subjects(5).await, ["tenants.acme.2"]);
}

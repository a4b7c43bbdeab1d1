//! Each person sees and writes only what is theirs.

use serde_json::{Value, json};
use sluicegate_client::Error;
use sluicegate_protocol::{ProduceRecord, Reason};
use sluicegate_stack::http::client::{Request, ask};
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_ways;

use crate::identity::stacks::{BELIEVED, config, http, of_gateway, offsets, post, session, token};

in_ways! {
    [apisix]
    consumer_reads_its_own_topics
}

in_ways! {
    [tunnel relay]
    each_person_has_their_own_topics
}

async fn each_person_has_their_own_topics(way: Way) {
    let (kafka, stack) = (Kafka::shared().await.unwrap(), of_gateway(way).await);
    let of = |end: &str| format!("people-{}{end}", way.name());
    let topics = ["", ".alice", ".bob", ".team.red", ".team.blue"].map(of);
    for topic in &topics {
        kafka.make_topic(topic, 1, &[]).await.unwrap();
    }
    for (person, more, reads) in [
        ("alice", json!({"realm": {"teams": ["red"]}}), &["", ".alice", ".team.red"][..]),
        ("bob", json!({"realm": {"teams": ["red", "blue"]}}), &["", ".bob", ".team.blue", ".team.red"]),
        // Names of claims are no paths, and a prefix of a name is another name.
        ("ali", json!({"realm.teams": ["red"]}), &[""]),
    ] {
        let token = &token(person, &more, 600);
        let readable: Vec<String> = reads.iter().map(|end| of(end)).collect();
        let client = session(&stack, Some(token)).await.unwrap();
        for topic in &topics {
            let can_read = readable.contains(topic);
            let fetched = client.fetch(topic, 0, 0).await;
            assert_eq!(is_denied(&fetched), !can_read, "{person} fetches {topic}: {fetched:?}");
            let status = http(&stack, Some(token), offsets(topic)).await.status;
            assert_eq!(status, if can_read { 200 } else { 403 }, "{person} reads {topic}");
            let stream = http(&stack, Some(token), Request::get(format!("/streams/{topic}/0"))).await.status;
            assert_eq!(stream, status, "{person} reads the stream of {topic}");
            let can_write = *topic == of(&format!(".{person}"));
            let record =
                ProduceRecord { topic: topic.clone(), value: Some("v".into()), ..Default::default() };
            let produced = client.produce(vec![record]).await.unwrap().remove(0);
            let is_refused = produced.as_ref().is_err_and(|error| error.reason == Reason::Denied);
            assert_eq!(is_refused, !can_write, "{person} writes {topic}: {produced:?}");
            let status = http(&stack, Some(token), post(topic)).await.status;
            assert_eq!(status, if can_write { 200 } else { 403 }, "{person} writes {topic}");
            let append =
                Request::post(format!("/streams/{topic}/0"), "1").with("content-type", "application/json");
            let status = http(&stack, Some(token), append).await.status;
            assert_eq!(status, if can_write { 204 } else { 405 }, "{person} appends to {topic}");
        }
        let listed = http(&stack, Some(token), Request::get("/kafka/topics")).await.json();
        let mut listed: Vec<Value> = listed.as_array().unwrap().clone();
        listed.retain(|name| topics.iter().any(|topic| name == topic));
        assert_eq!(listed, readable, "{person}");
    }
}

fn is_denied<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::Command { reason: Reason::Denied, .. }))
}

/// APISIX's plugins name its consumers in headers.
async fn consumer_reads_its_own_topics(way: Way) {
    let kafka = Kafka::shared().await.unwrap();
    let of = |person: &str| format!("consumers.{person}");
    for person in ["alice", "bob"] {
        kafka.make_topic(&of(person), 1, &[]).await.unwrap();
    }
    let identity = json!({"from": "consumer", "trust_consumer_headers": true});
    let stack =
        config(way, &json!({"identity": identity, "topics": [of("${sub}")]}), BELIEVED).await.own().await;
    for (consumer, topic, want) in [
        (Some("alice"), "alice", 200),
        (Some("alice"), "bob", 403),
        (None, "alice", 401),
        (Some(""), "alice", 401),
    ] {
        let request = offsets(&of(topic));
        let request = consumer.into_iter().fold(request, |all, name| all.with("x-consumer-username", name));
        assert_eq!(ask(stack.gateway(), request).await.status, want, "{consumer:?} reads {topic}");
    }
}

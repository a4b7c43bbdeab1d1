//! Each person sees and writes only what is theirs.

use serde_json::{Value, json};
use sluicegate_client::Error;
use sluicegate_protocol::{ProduceRecord, Reason};
use sluicegate_stack::http::client::Request;
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_profile;

use crate::identity::stacks::{BELIEVED, http, session, start, token};

in_every_profile! {
    each_person_has_their_own_topics
}

async fn each_person_has_their_own_topics(way: Way) {
    let kafka = Kafka::shared().await.unwrap();
    let shared = kafka.topic("people", 1, &[]).await.unwrap();
    let of = |person: &str| format!("{shared}.{person}");
    let topics = ["alice", "bob", "team.red", "team.blue"].map(of);
    for topic in &topics {
        kafka.make_topic(topic, 1, &[]).await.unwrap();
    }
    let keys = format!(
        r#""identity": {{"from": "jwt_authn", "payload": "claims"}},
           "claims": {{"roles": ["https://app.example/roles"], "teams": ["realm", "teams"]}},
           "read": ["{shared}", "{shared}.${{sub}}", "{shared}.team.${{teams}}",
                    {{"topic": "{shared}.*", "when": {{"roles": ["auditor"]}}}}],
           "write": ["{shared}.${{sub}}"]"#
    );
    let stack = start(way, kafka, &keys, BELIEVED).await;
    let people = [
        ("alice", json!({"realm": {"teams": ["red"]}}), vec!["", "alice", "team.red"]),
        ("bob", json!({"realm": {"teams": ["red", "blue"]}}), vec!["", "bob", "team.red", "team.blue"]),
        (
            "carol",
            json!({"https://app.example/roles": ["auditor"]}),
            vec!["", "alice", "bob", "team.red", "team.blue"],
        ),
        // Names of claims are no paths, and a prefix of a name is another name.
        ("ali", json!({"realm.teams": ["red"], "roles": ["auditor"]}), vec![""]),
    ];
    for (person, more, reads) in people {
        let token = &token(person, &more, 600);
        let readable: Vec<String> =
            reads.iter().map(|name| if name.is_empty() { shared.clone() } else { of(name) }).collect();
        let client = session(&stack, Some(token)).await.unwrap();
        for topic in topics.iter().chain([&shared]) {
            let can_read = readable.contains(topic);
            let fetched = client.fetch(topic, 0, 0).await;
            assert_eq!(is_denied(&fetched), !can_read, "{person} fetches {topic}: {fetched:?}");
            let path = format!("/kafka/topics/{topic}/partitions/0/offsets");
            let status = http(&stack, Some(token), Request::get(path)).await.status;
            assert_eq!(status, if can_read { 200 } else { 403 }, "{person} reads {topic}");
            let can_write = *topic == of(person);
            let record =
                ProduceRecord { topic: topic.clone(), value: Some("v".into()), ..Default::default() };
            let produced = client.produce(vec![record]).await.unwrap();
            let [result] = &produced[..] else { panic!("{produced:?}") };
            let is_refused = result.as_ref().is_err_and(|error| error.reason == Reason::Denied);
            assert_eq!(is_refused, !can_write, "{person} writes {topic}: {result:?}");
            let body = r#"{"records":[{"value":1}]}"#;
            let post = Request::post(format!("/kafka/topics/{topic}"), body)
                .with("content-type", "application/vnd.kafka.json.v2+json");
            let status = http(&stack, Some(token), post).await.status;
            assert_eq!(status, if can_write { 200 } else { 403 }, "{person} writes {topic}");
        }
        let listed = http(&stack, Some(token), Request::get("/kafka/topics")).await.json();
        let mut readable: Vec<Value> = readable.into_iter().map(Value::from).collect();
        readable.sort_by_key(ToString::to_string);
        let ours =
            listed.as_array().unwrap().iter().filter(|name| name.as_str().unwrap().starts_with(&shared));
        assert_eq!(ours.cloned().collect::<Vec<_>>(), readable, "{person}");
    }
}

fn is_denied<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::Command { reason: Reason::Denied, .. }))
}

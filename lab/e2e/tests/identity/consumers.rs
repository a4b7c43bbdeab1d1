//! Consumers of APISIX, whom its plugins name in headers.

use sluicegate_stack::http::client::{Request, ask};
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::way::Way;
use sluicegate_tests::through_apisix;

use crate::identity::stacks::{BELIEVED, start, topics_of_people};

through_apisix! {
    consumer_reads_its_own_topics
}

async fn consumer_reads_its_own_topics(way: Way) {
    let kafka = Kafka::shared().await.unwrap();
    let shared = topics_of_people(kafka, "consumers").await;
    let of = |person: &str| format!("{shared}.{person}");
    let keys = format!(
        r#""identity": {{"from": "consumer", "trust_consumer_headers": true}}, "topics": ["{shared}.${{sub}}"]"#
    );
    let stack = start(way, kafka, &keys, BELIEVED).await;
    let status = async |consumer: Option<&str>, topic: &str| {
        let request = Request::get(format!("/kafka/topics/{topic}/partitions/0/offsets"));
        let request = match consumer {
            Some(consumer) => request.with("x-consumer-username", consumer),
            None => request,
        };
        ask(stack.gateway(), request).await.status
    };
    assert_eq!(status(Some("alice"), &of("alice")).await, 200);
    assert_eq!(status(Some("alice"), &of("bob")).await, 403);
    assert_eq!(status(None, &of("alice")).await, 401);
    assert_eq!(status(Some(""), &of("alice")).await, 401);
}

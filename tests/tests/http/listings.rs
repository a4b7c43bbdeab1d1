//! Where partitions begin and end, and which topics there are.

use sluicegate_tests::in_every_gateway;
use sluicegate_tests::way::Way;

use crate::answers::rest_problem;
use crate::records::{START, get, says, store};
use crate::stacks::{home, shared};

in_every_gateway! {
    offsets_are_found_by_time
    topics_are_listed_and_described
}

async fn offsets_are_found_by_time(way: Way) {
    let (kafka, stack) = shared(way).await;
    let topic = &store(kafka, "offsets", &[(None, Some(b"1")), (None, Some(b"2")), (None, Some(b"3"))]).await;
    let at = format!("/topics/{topic}/partitions/0/offsets");
    kafka.delete_records_before(topic, 0, 1).await.unwrap();
    for (query, want) in [
        (String::new(), r#"{"beginning_offset":1,"end_offset":3}"#),
        ("?timestamp=0".to_owned(), r#"{"offset":1}"#),
        (format!("?timestamp={}", START + 2), r#"{"offset":2}"#),
        (format!("?timestamp={}", START + 3), r#"{"offset":-1}"#),
        ("?timestamp=-1".to_owned(), r#"{"offset":3}"#),
        ("?timestamp=-2".to_owned(), r#"{"offset":1}"#),
    ] {
        says(&get(&stack, &format!("{at}{query}"), "").await, "application/vnd.kafka.v2+json", want);
    }
    for query in [
        "?timestamp=",
        "?timestamp=x",
        "?timestamp=1.5",
        "?timestamp=9223372036854775808",
        "?timestamp=1&timestamp=1",
        "?offset=0",
    ] {
        rest_problem(&get(&stack, &format!("{at}{query}"), "").await, 400, 400, "");
    }
}

async fn topics_are_listed_and_described(way: Way) {
    let (kafka, stack) = shared(way).await;
    get(&stack, "/topics", "").await;
    let topic = &kafka.topic("described", 2, &[]).await.unwrap();
    let response = get(&stack, "/topics", "application/vnd.kafka.v2+json").await;
    let topics: Vec<String> = serde_json::from_slice(&response.body).unwrap();
    assert!(
        topics.is_sorted() && topics.contains(topic) && topics.iter().any(|name| name == home(way)),
        "{topics:?}"
    );
    assert!(!topics.iter().any(|name| name.starts_with("__")), "{topics:?}");
    assert_eq!(response.header("content-type"), Some("application/vnd.kafka.v2+json"));
    let partition = |at: i32| {
        format!(r#"{{"partition":{at},"leader":1,"replicas":[{{"broker":1,"leader":true,"in_sync":true}}]}}"#)
    };
    let want =
        format!(r#"{{"name":"{topic}","configs":{{}},"partitions":[{},{}]}}"#, partition(0), partition(1));
    says(&get(&stack, &format!("/topics/{topic}"), "").await, "application/vnd.kafka.v2+json", &want);
    rest_problem(&get(&stack, "/topics/no-such-topic", "").await, 404, 40401, "no-such-topic");
    rest_problem(&get(&stack, "/topics?x=1", "").await, 400, 400, "x");
    assert!(!kafka.topics().unwrap().iter().any(|known| known == "no-such-topic"));
}

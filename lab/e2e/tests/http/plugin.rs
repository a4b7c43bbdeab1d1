//! `produce` routes: the record that a request becomes, through each gateway. The bridge's `http::produce` tests
//! headers and bodies in detail.

use sluicegate_stack::http::client::Request;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_gateway;

use crate::http::answers::{problem, written};
use crate::http::console::{Printed, consume};
use crate::http::openapi::ask;
use crate::http::stacks::{ANY, HOME_PARTITIONS, home, shared};

in_every_gateway! {
    settings_and_headers_choose_topic_partition_and_key
    bodies_and_record_headers_arrive_as_sent
    refused_requests_write_nothing
}

/// A request to a route, and the record that it becomes.
struct Row {
    route: &'static str,
    headers: &'static [(&'static str, &'static str)],
    json: bool,
    body: &'static str,
    /// In the topic of its own instead of the route's.
    away: bool,
    /// `None`: any that there is.
    partition: Option<i32>,
    key: Option<&'static str>,
}

const ROW: Row = Row {
    route: "/fixed",
    headers: &[],
    json: false,
    body: "{ \"id\": 7 }",
    away: false,
    partition: None,
    key: None,
};

/// Settings of the route alone, headers alone, and headers over settings.
const ROWS: [Row; 4] = [
    ROW,
    Row {
        route: "/bare",
        headers: &[("topic", "AWAY"), ("partition", "1"), ("key", "own")],
        away: true,
        partition: Some(1),
        key: Some("own"),
        ..ROW
    },
    Row { route: "/routed", json: true, partition: Some(1), key: Some("7"), ..ROW },
    Row {
        route: "/routed",
        headers: &[("cool-key", "k"), ("cool-topic", "AWAY"), ("cool-partition", "0")],
        json: true,
        away: true,
        partition: Some(0),
        key: Some("k"),
        ..ROW
    },
];

async fn settings_and_headers_choose_topic_partition_and_key(way: Way) {
    let (kafka, stack) = shared(way).await;
    let away = &kafka.topic("away", 2, &[]).await.unwrap();
    let mut wanted = Vec::new();
    for (at, row) in ROWS.iter().enumerate() {
        let mut request = Request::post(row.route, row.body);
        for (name, value) in row.headers {
            request = request.with(name, value.replace("AWAY", away));
        }
        if row.json {
            request = request.with("content-type", "application/json");
        }
        let topic = if row.away { away } else { home(way) };
        let response = ask(stack.gateway(), request).await;
        assert_eq!(response.status, 200, "row {at}: {}", response.text());
        let written = written(&response, topic);
        let partition = row.partition.unwrap_or(written.partition);
        let value = if row.json { r#"{"id":7}"# } else { row.body };
        let (key, value) = (row.key.map(Into::into), Some(value.into()));
        let printed = Printed { timestamp: written.timestamp, headers: Vec::new(), key, value };
        wanted.push((at, topic, (partition, written.offset), printed));
    }
    let (at_home, at_away) =
        (consume(kafka, home(way), HOME_PARTITIONS).await, consume(kafka, away, 2).await);
    for (at, topic, place, want) in wanted {
        let records = if topic == away { &at_away } else { &at_home };
        assert_eq!(records.get(&place), Some(&want), "row {at} at {place:?}");
    }
}

async fn bodies_and_record_headers_arrive_as_sent(way: Way) {
    let (kafka, stack) = shared(way).await;
    let topic = &kafka.topic("headers", 1, &[]).await.unwrap();
    let all: Vec<u8> = (0..=255).collect();
    let post = |body: &[u8]| Request::post(ANY, body.to_vec()).with("x-kafka-topic", topic);
    let requests = [
        // Empty, which is not null.
        post(b""),
        post(&all).with("content-type", "application/octet-stream").with("x-other", "no record header"),
        post(b"{ not json")
            .with("content-type", "application/problem+json")
            .with("x-kafka-header-b", "2")
            .with("x-kafka-header-b", "")
            .with("X-Kafka-Header-Trace-Id", "0af7=; x")
            .with("x-kafka-header-name", "Zo\u{eb}"),
    ];
    for request in requests {
        written(&ask(stack.gateway(), request).await, topic);
    }
    let records: Vec<Printed> = consume(kafka, topic, 1).await.into_values().collect();
    let values: Vec<_> = records.iter().map(|record| record.value.as_deref().unwrap()).collect();
    assert_eq!(values, [b"", all.as_slice(), b"{ not json"]);
    assert!(records[0].headers.is_empty() && records[1].headers.is_empty(), "{records:?}");
    // In the request's order, repeated ones repeated.
    assert_eq!(records[2].headers, ["b:2", "b:", "trace-id:0af7=; x", "name:Zo\u{eb}"]);
}

async fn refused_requests_write_nothing(way: Way) {
    let (kafka, stack) = shared(way).await;
    let topic = &kafka.topic("refused", 1, &[]).await.unwrap();
    let small = &kafka.topic("small", 1, &[("max.message.bytes", "1000")]).await.unwrap();
    let (topic, small) = (topic.as_str(), small.as_str());
    let [at, of] = ["x-kafka-topic", "x-kafka-partition"];
    for (target, headers, status, words, code) in [
        // The bridge's own refusals.
        ("/fixed", &[("topic", topic)][..], 403, "topic", None),
        (ANY, &[(at, topic), ("content-type", "application/json")], 400, "line 1 column 1", None),
        // Kafka's refusals.
        (ANY, &[(at, "no-such-topic")], 404, "no-such-topic", Some(3)),
        (ANY, &[(at, topic), (of, "1")], 404, "partition", Some(3)),
        (ANY, &[(at, small)], 413, "", Some(10)),
    ] {
        let mut request = Request::post(target, "x".repeat(2000));
        for (name, value) in headers {
            request = request.with(name, value);
        }
        let told = problem(&ask(stack.gateway(), request).await, status, words);
        assert_eq!(told["kafka_code"].as_i64(), code, "{told}");
    }
    assert!(!kafka.topics().unwrap().iter().any(|known| known == "no-such-topic"));
    assert_eq!(kafka.watermarks(topic, 0).unwrap(), (0, 0));
    assert_eq!(kafka.watermarks(small, 0).unwrap(), (0, 0));
}

//! Each row of the plugin's table, each precedence between them, and what a request may not say.

use sluicegate_tests::http::client::Request;
use sluicegate_tests::in_every_gateway;
use sluicegate_tests::way::Way;

use crate::answers::{problem, written};
use crate::console::{Printed, consume};
use crate::openapi::ask;
use crate::stacks::{ANY, HOME_PARTITIONS, home, shared};

in_every_gateway! {
    each_setting_and_each_header_does_what_the_table_says
    record_headers_are_those_under_the_prefix
    every_body_arrives_byte_for_byte
    what_a_request_may_not_say_is_refused
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

/// Every row of the table, alone; then each precedence, each with all that comes behind it.
const ROWS: [Row; 19] = [
    // topic: of the route.
    ROW,
    // topic: of the request; and so are partition and key. Without a prefix.
    Row { route: "/bare", headers: &[("topic", "AWAY")], away: true, ..ROW },
    Row {
        route: "/bare",
        headers: &[("topic", "AWAY"), ("partition", "1")],
        away: true,
        partition: Some(1),
        ..ROW
    },
    Row {
        route: "/bare",
        headers: &[("topic", "AWAY"), ("key", "own")],
        away: true,
        key: Some("own"),
        ..ROW
    },
    // partition: -1 is any, of the route and of the request.
    Row { route: "/keyed", key: Some("route key"), ..ROW },
    Row { route: "/bare", headers: &[("topic", "AWAY"), ("partition", "-1")], away: true, ..ROW },
    // partition, key: of the route. Without JSON there is nothing that `jsonkey` could be at.
    Row { route: "/routed", partition: Some(1), key: Some("route key"), ..ROW },
    // jsonkey over key.
    Row { route: "/routed", json: true, partition: Some(1), key: Some("7"), ..ROW },
    // Header over route.
    Row {
        route: "/routed",
        headers: &[("cool-partition", "2")],
        partition: Some(2),
        key: Some("route key"),
        ..ROW
    },
    Row {
        route: "/routed",
        headers: &[("cool-partition", "0")],
        partition: Some(0),
        key: Some("route key"),
        ..ROW
    },
    Row { route: "/routed", headers: &[("cool-partition", "-1")], key: Some("route key"), ..ROW },
    Row {
        route: "/routed",
        headers: &[("cool-topic", "AWAY")],
        away: true,
        partition: Some(1),
        key: Some("route key"),
        ..ROW
    },
    Row {
        route: "/routed",
        headers: &[("cool-key", "header key")],
        partition: Some(1),
        key: Some("header key"),
        ..ROW
    },
    // Header key over jsonkey; also an empty one, and in any case of the header's name.
    Row {
        route: "/routed",
        headers: &[("cool-key", "header key")],
        json: true,
        partition: Some(1),
        key: Some("header key"),
        ..ROW
    },
    Row {
        route: "/routed",
        headers: &[("Cool-Key", "")],
        json: true,
        partition: Some(1),
        key: Some(""),
        ..ROW
    },
    Row {
        route: "/routed",
        headers: &[("cool-key", "k"), ("cool-topic", "AWAY"), ("cool-partition", "0")],
        json: true,
        away: true,
        partition: Some(0),
        key: Some("k"),
        ..ROW
    },
    // headerprefix: what has it not is not meant.
    Row {
        route: "/routed",
        headers: &[("key", "not meant"), ("partition", "9"), ("topic", "no such")],
        partition: Some(1),
        key: Some("route key"),
        ..ROW
    },
    Row { route: "/partitioned", headers: &[("cool-partition", "2")], partition: Some(2), ..ROW },
    // content-type: elides what is insignificant.
    Row { route: "/fixed", json: true, ..ROW },
];

async fn each_setting_and_each_header_does_what_the_table_says(way: Way) {
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

async fn record_headers_are_those_under_the_prefix(way: Way) {
    let (kafka, stack) = shared(way).await;
    let topic = &kafka.topic("headers", 1, &[]).await.unwrap();
    let base = Request::post(ANY, "v").with("x-kafka-topic", topic).with("x-other", "not meant");
    type Headers<'a> = &'a [(&'a str, &'a [u8])];
    let cases: [(Headers<'_>, &[&str]); 4] = [
        (&[], &[]),
        (
            &[("x-kafka-header-a", b"1"), ("X-Kafka-Header-Trace-Id", b"0af7=; x")],
            &["a:1", "trace-id:0af7=; x"],
        ),
        // In the request's order, repeated ones repeated, empty ones empty.
        (
            &[
                ("x-kafka-header-b", b"2"),
                ("x-kafka-header-b", b""),
                ("x-kafka-header-a", b"1"),
                ("x-kafka-header-key", b"k"),
            ],
            &["b:2", "b:", "a:1", "key:k"],
        ),
        // Bytes as they are: a value may be anything but a control character.
        (&[("x-kafka-header-name", "Zoë".as_bytes())], &["name:Zoë"]),
    ];
    for (headers, _) in &cases {
        let request = headers.iter().fold(base.clone(), |request, (name, value)| request.with(name, value));
        written(&ask(stack.gateway(), request).await, topic);
    }
    let records = consume(kafka, topic, 1).await;
    for (printed, (headers, want)) in records.values().zip(cases) {
        assert_eq!(printed.headers, want, "{headers:?}");
        assert_eq!((&printed.key, printed.value.as_deref()), (&None, Some(&b"v"[..])));
    }
}

async fn every_body_arrives_byte_for_byte(way: Way) {
    let (kafka, stack) = shared(way).await;
    let topic = &kafka.topic("bodies", 1, &[]).await.unwrap();
    let all: Vec<u8> = (0..=255).collect();
    let bodies: [(&str, &[u8]); 7] = [
        // Empty, which is not null.
        ("", b""),
        ("application/octet-stream", &all),
        ("application/x-www-form-urlencoded", b"a=%20&b=+"),
        ("text/plain; charset=utf-8", " é \r\n ".as_bytes()),
        // No JSON to the plugin, and so not even looked at.
        ("application/problem+json", b"{ not json"),
        ("text/json", b"[ 1 ]"),
        ("nonsense", &[0xFF, 0xFE, 0x00]),
    ];
    for (content_type, body) in bodies {
        let mut request = Request::post(ANY, body.to_vec()).with("x-kafka-topic", topic);
        if !content_type.is_empty() {
            request = request.with("content-type", content_type);
        }
        written(&ask(stack.gateway(), request).await, topic);
    }
    let records = consume(kafka, topic, 1).await;
    assert_eq!(records.len(), bodies.len());
    for (printed, (content_type, body)) in records.values().zip(bodies) {
        assert_eq!(printed.value.as_deref(), Some(body), "{content_type}");
    }
}

async fn what_a_request_may_not_say_is_refused(way: Way) {
    let (kafka, stack) = shared(way).await;
    let topic = &kafka.topic("refused", 1, &[]).await.unwrap();
    let small = &kafka.topic("small", 1, &[("max.message.bytes", "1000")]).await.unwrap();
    let check = async |target: &str, headers: &[(&str, &str)], status, words: &str| {
        let mut request = Request::post(target, "x".repeat(2000));
        for (name, value) in headers {
            request = request.with(name, value);
        }
        problem(&ask(stack.gateway(), request).await, status, words)
    };
    // A header that the route does not allow, also where it says what the route says.
    check("/fixed", &[("topic", topic)], 403, "topic").await;
    check("/fixed", &[("topic", home(way))], 403, "topic").await;
    check("/fixed", &[("partition", "0")], 403, "partition").await;
    check("/fixed", &[("key", "k")], 403, "key").await;
    check("/partitioned", &[("cool-topic", topic), ("cool-partition", "0")], 403, "cool-topic").await;
    check("/partitioned", &[("cool-key", "k")], 403, "cool-key").await;
    // No topic, or two, or none of the name; none is made.
    let [at, of] = ["x-kafka-topic", "x-kafka-partition"];
    check(ANY, &[], 400, at).await;
    check(ANY, &[(at, "")], 400, "topic").await;
    check(ANY, &[(at, topic), (at, topic)], 400, at).await;
    check(ANY, &[(at, "no/such:name")], 400, "").await;
    let missing = check(ANY, &[(at, "no-such-topic")], 404, "no-such-topic").await;
    assert_eq!(missing["kafka_code"], 3);
    assert!(!kafka.topics().unwrap().iter().any(|known| known == "no-such-topic"));
    // No partition, or none that there is.
    for partition in
        ["", "x", "-2", "1.0", "0x1", "2147483648", "-2147483649", "9".repeat(40).as_str(), "1 2"]
    {
        check(ANY, &[(at, topic), (of, partition)], 400, of).await;
    }
    check(ANY, &[(at, topic), (of, "0"), (of, "0")], 400, of).await;
    check(ANY, &[(at, topic), ("x-kafka-key", "a"), ("x-kafka-key", "b")], 400, "x-kafka-key").await;
    check(ANY, &[(at, topic), (of, "1")], 404, "partition").await;
    check(ANY, &[(at, topic), (of, "2147483647")], 404, "partition").await;
    // Nothing is unpacked.
    check(ANY, &[(at, topic), ("content-encoding", "gzip")], 415, "Content-Encoding").await;
    // A record that the topic does not take.
    let large = check(ANY, &[(at, small)], 413, "").await;
    assert_eq!(large["kafka_code"], 10);
    assert_eq!(kafka.watermarks(topic, 0).unwrap(), (0, 0));
    assert_eq!(kafka.watermarks(small, 0).unwrap(), (0, 0));
}

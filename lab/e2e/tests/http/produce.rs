//! `produce` routes: the record that a request becomes, through each gateway. The bridge's `http::produce` tests
//! headers and bodies in detail. Bodies around the limit pass whole, split or slow, and many share a connection.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sluicegate_protocol::KafkaMessage;
use sluicegate_stack::http::client::{Client, Pieces, Request};
use sluicegate_stack::random::Random;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_ways;

use crate::http::answers::{problem, written};
use crate::http::openapi::ask;
use crate::pool::{ANY, HOME, REST, standard};

in_ways! {
    [tunnel relay apisix]
    settings_and_headers_become_records
    bodies_up_to_the_limit_are_written_and_read_and_larger_ones_refused
}

/// Settings of the route alone, headers over settings, and headers alone.
async fn settings_and_headers_become_records(way: Way) {
    let (kafka, stack) = standard(way).await;
    let away = &kafka.topic("away", 2, &[]).await.unwrap();
    let body: Vec<u8> = [&b"{ \"id\": 7 "[..], b"\0\x80\xFF"].concat();
    let json = |path: &str| Request::post(path, "{ \"id\": 7 }").with("content-type", "application/json");
    let overridden =
        json("/routed").with("cool-key", "k").with("cool-topic", away).with("cool-partition", "0");
    let free = Request::post(ANY, body.clone())
        .with("content-type", "application/octet-stream")
        .with("x-kafka-topic", away)
        .with("x-kafka-partition", "1")
        .with("x-kafka-key", "own")
        .with("x-other", "no record header")
        .with("x-kafka-header-b", "2")
        .with("x-kafka-header-b", "")
        .with("X-Kafka-Header-Trace-Id", "0af7=; x")
        .with("x-kafka-header-name", "Zo\u{eb}");
    // In the request's order, repeated ones repeated.
    let headers = ["b:2", "b:", "trace-id:0af7=; x", "name:Zo\u{eb}"];
    // A partition of -1 is any that there is.
    for (request, topic, partition, key, value, headers) in [
        (Request::post("/fixed?query=is&not=looked+at", "v"), HOME, -1, None, &b"v"[..], &[][..]),
        (Request::post("/fixed", ""), HOME, -1, None, b"", &[]),
        (json("/routed"), HOME, 1, Some("7"), br#"{"id":7}"#, &[]),
        (overridden, away, 0, Some("k"), br#"{"id":7}"#, &[]),
        (free, away, 1, Some("own"), &body, &headers),
    ] {
        let target = request.target().to_owned();
        let written = written(&ask(stack.gateway(), request).await, topic);
        if partition != -1 {
            assert_eq!(written.partition, partition, "{target}");
        }
        let log = kafka.read(topic, written.partition);
        let record = log.iter().find(|record| record.offset == written.offset).expect("the record");
        assert_eq!(record.key.as_deref(), key.map(str::as_bytes), "{target}");
        // An empty value is not null.
        assert_eq!(record.value.as_deref(), Some(value), "{target}");
        assert_eq!(record.timestamp, written.timestamp, "{target}");
        assert_eq!(texts(record), headers, "{target}");
    }
}

/// `NAME:VALUE` of each header.
fn texts(record: &KafkaMessage) -> Vec<String> {
    let text = |header: &sluicegate_protocol::Header| {
        let value = header.value.as_deref().unwrap_or(b"<null>");
        format!("{}:{}", header.key, String::from_utf8_lossy(value))
    };
    record.headers.iter().map(text).collect()
}

/// The gateway's limit by default.
const LIMIT: usize = 1 << 20;

const SHAPES: [Option<Pieces>; 3] = [
    None,
    Some(Pieces { length: 977, declared: false, slow: false }),
    Some(Pieces { length: 16_411, declared: true, slow: true }),
];

async fn bodies_up_to_the_limit_are_written_and_read_and_larger_ones_refused(way: Way) {
    let (kafka, stack) = standard(way).await;
    let topic = &kafka.topic("sizes", 1, &[("max.message.bytes", "4194304")]).await.unwrap();
    let (whole, larger) =
        (Bytes::from(Random::new(1).bytes(LIMIT)), Bytes::from(Random::new(2).bytes(LIMIT + 1)));
    let mut http2 = Client::connect_http2(stack.gateway()).await.unwrap();
    for (round, shape) in (0..).zip(SHAPES) {
        let post = |body: &Bytes| {
            let request = Request::post(ANY, body.clone()).with("x-kafka-topic", topic);
            shape.map_or(request.clone(), |pieces| request.cut(pieces))
        };
        let mut http1 = Client::connect(stack.gateway()).await.unwrap();
        for (at, client) in [&mut http1, &mut http2].into_iter().enumerate() {
            let response = client.ask(post(&whole)).await.unwrap();
            assert_eq!(written(&response, topic).offset, round * 2 + at as i64, "{shape:?}");
            let refused =
                client.ask(post(&larger)).await.unwrap_or_else(|error| panic!("{shape:?}: {error}"));
            problem(&refused, 413, "1048576");
        }
    }
    let records = kafka.read(topic, 0);
    assert_eq!(records.len(), 2 * SHAPES.len());
    for (offset, record) in records.iter().enumerate() {
        assert!(record.value.as_ref() == Some(&whole), "{offset} is not what was sent");
        let path = format!("{REST}/topics/{topic}/partitions/0/records?offset={offset}");
        let read = http2.ask(Request::get(path)).await.unwrap().json();
        let value = STANDARD.decode(read[0]["value"].as_str().unwrap()).unwrap();
        assert!(value == whole, "{offset} is read otherwise than it was written");
    }
}

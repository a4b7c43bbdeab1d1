//! `produce` routes: the record that a request becomes, through each gateway. The bridge's `http::produce` tests
//! headers and bodies in detail.

use sluicegate_protocol::KafkaMessage;
use sluicegate_stack::http::client::Request;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_ways;

use crate::http::answers::written;
use crate::http::openapi::ask;
use crate::pool::{ANY, HOME, standard};

in_ways! {
    [tunnel relay apisix]
    settings_and_headers_become_records
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

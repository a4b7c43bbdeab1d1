//! Bodies around the limits, whole, split or slow.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sluicegate_stack::http::client::{Client, Pieces, Request};
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::random::Random;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_gateway;
use tokio::time::timeout;

use crate::http::answers::{problem, written};
use crate::http::console::consume;
use crate::http::stacks::{ANY, REST, WRITES, with};

in_every_gateway! {
    bodies_up_to_the_limit_are_written_and_read
    bodies_over_the_limit_are_refused_and_leave_room
}

/// The gateway's limit by default.
const LIMIT: usize = 1 << 20;
const KEEPS: [(&str, &str); 1] = [("max.message.bytes", "4194304")];

const SHAPES: [Option<Pieces>; 6] = [
    None,
    Some(Pieces { length: LIMIT, declared: false, slow: false }),
    Some(Pieces { length: 977, declared: true, slow: false }),
    Some(Pieces { length: 977, declared: false, slow: false }),
    Some(Pieces { length: 16_411, declared: true, slow: true }),
    Some(Pieces { length: 16_411, declared: false, slow: true }),
];

async fn bodies_up_to_the_limit_are_written_and_read(way: Way) {
    let kafka = Kafka::shared().await.unwrap();
    let topic = &kafka.topic("sizes", 1, &KEEPS).await.unwrap();
    let stack = with(way, kafka, WRITES, "", "").await;
    let gateway = stack.gateway();
    let mut http2 = Client::connect_http2(gateway).await.unwrap();
    let mut bodies = BTreeMap::new();
    for (seed, len) in (0..).zip([257 << 10, LIMIT]) {
        let body = letters(seed, len);
        for shape in SHAPES {
            let request = Request::post(ANY, body.clone()).with("x-kafka-topic", topic);
            let request = shape.map_or(request.clone(), |pieces| request.cut(pieces));
            let mut http1 = Client::connect(gateway).await.unwrap();
            for client in [&mut http1, &mut http2] {
                let response = client.ask(request.clone()).await.unwrap();
                assert_eq!(response.status, 200, "{len} bytes in {shape:?}: {}", response.text());
                bodies.insert((0, written(&response, topic).offset), body.clone());
            }
        }
    }
    let records = consume(kafka, topic, 1).await;
    assert_eq!(records.len(), bodies.len());
    for (place, body) in bodies {
        let value = records[&place].value.as_deref().unwrap();
        assert!(value == body, "{place:?}: {} bytes that are not the {} sent", value.len(), body.len());
    }
    let mut offset = 0;
    while offset < records.len() {
        let path = format!("{REST}/topics/{topic}/partitions/0/records?offset={offset}");
        let response = http2.ask(Request::get(path)).await.unwrap();
        assert_eq!(response.status, 200, "at {offset}: {}", response.text());
        let read = response.json();
        for record in read.as_array().unwrap() {
            let value = STANDARD.decode(record["value"].as_str().unwrap()).unwrap();
            let place = (0, i64::try_from(offset).unwrap());
            assert!(Some(value) == records[&place].value, "{place:?} is read otherwise than it was written");
            offset += 1;
        }
        assert_ne!(read.as_array().unwrap().len(), 0);
    }
}

async fn bodies_over_the_limit_are_refused_and_leave_room(way: Way) {
    let kafka = Kafka::shared().await.unwrap();
    let topic = &kafka.topic("too-large", 1, &KEEPS).await.unwrap();
    let stack = with(way, kafka, WRITES, "", "").await;
    let gateway = stack.gateway();
    let (whole, larger) = (letters(8, LIMIT), letters(9, LIMIT + 1));
    for (offset, shape) in (0..).zip(SHAPES) {
        let cut = |request: Request| shape.map_or(request.clone(), |pieces| request.cut(pieces));
        let produce = |body: &Bytes| cut(Request::post(ANY, body.clone()).with("x-kafka-topic", topic));
        let rest = || cut(Request::post(format!("{REST}/topics/{topic}"), larger.clone()));
        let mut http2 = Client::connect_http2(gateway).await.unwrap();
        let told = http2.ask(produce(&larger)).await.unwrap_or_else(|e| panic!("{shape:?}: {e}"));
        problem(&told, 413, "1048576");
        for request in [produce(&larger), rest()] {
            let mut http1 = Client::connect(gateway).await.unwrap();
            let told = http1.ask(request).await.unwrap_or_else(|e| panic!("{shape:?}: {e}"));
            problem(&told, 413, "1048576");
        }
        // Given up half-way, and not JSON.
        let mut client = Client::connect(gateway).await.unwrap();
        let slow = Pieces { length: LIMIT / 2, declared: false, slow: true };
        let given_up = client.ask(Request::post(ANY, whole.clone()).cut(slow));
        let _ = timeout(Duration::from_millis(2), given_up).await;
        drop(client);
        let json = produce(&whole).with("content-type", "application/json");
        problem(&http2.ask(json).await.unwrap(), 400, "line 1");
        let accepted = http2.ask(produce(&whole)).await.unwrap();
        assert_eq!(written(&accepted, topic).offset, offset, "{shape:?}");
    }
}

/// Text, so that the console consumer's separators are not in it.
fn letters(seed: u64, len: usize) -> Bytes {
    Random::new(seed).bytes(len).into_iter().map(|byte| b'a' + byte % 26).collect()
}

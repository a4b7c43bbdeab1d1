//! Bodies around every bound on their way, however they are cut and however slowly they come.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sluicegate_tests::http::client::{Client, Pieces, Request};
use sluicegate_tests::kafka::Kafka;
use sluicegate_tests::random::Random;
use sluicegate_tests::way::Way;
use sluicegate_tests::{in_both_profiles, through_apisix};
use tokio::time::timeout;

use crate::answers::{problem, rest_problem, written};
use crate::console::consume;
use crate::stacks::{ANY, REST, WRITES, with};

in_both_profiles! {
    bodies_up_to_the_limit_are_written_however_they_come_and_can_be_read
    one_byte_more_is_refused_however_it_comes
    what_is_refused_leaves_room_for_what_is_not
}
// There, a body that is not whole is nginx's, and takes no room of the filter's.
through_apisix! {
    bodies_up_to_the_limit_are_written_however_they_come_and_can_be_read
    one_byte_more_is_refused_however_it_comes
    what_is_refused_leaves_room_for_what_is_not
}

/// What the gateway takes by default.
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

async fn bodies_up_to_the_limit_are_written_however_they_come_and_can_be_read(way: Way) {
    let kafka = Kafka::shared().await.unwrap();
    let topic = &kafka.topic("sizes", 1, &KEEPS).await.unwrap();
    let stack = with(way, kafka, WRITES, "", "").await;
    let gateway = stack.gateway();
    let mut http2 = Client::connect_http2(gateway).await.unwrap();
    let mut bodies = BTreeMap::new();
    for (seed, len) in (0..).zip([255 << 10, 257 << 10, LIMIT - 1, LIMIT]) {
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

async fn one_byte_more_is_refused_however_it_comes(way: Way) {
    let kafka = Kafka::shared().await.unwrap();
    let topic = &kafka.topic("too-large", 1, &KEEPS).await.unwrap();
    let stack = with(way, kafka, WRITES, "", "").await;
    let gateway = stack.gateway();
    for len in [LIMIT + 1, 2 * LIMIT] {
        let body = letters(7, len);
        for shape in SHAPES {
            let cut = |request: Request| shape.map_or(request.clone(), |pieces| request.cut(pieces));
            let produce = cut(Request::post(ANY, body.clone()).with("x-kafka-topic", topic));
            let rest = cut(Request::post(format!("{REST}/topics/{topic}"), body.clone()));
            let mut http2 = Client::connect_http2(gateway).await.unwrap();
            for (request, is_rest) in [(produce, false), (rest, true)] {
                let mut http1 = Client::connect(gateway).await.unwrap();
                for client in [&mut http1, &mut http2] {
                    let response = client
                        .ask(request.clone())
                        .await
                        .unwrap_or_else(|e| panic!("{len} in {shape:?}: {e}"));
                    if is_rest {
                        rest_problem(&response, 413, 413, "1048576");
                    } else {
                        problem(&response, 413, "1048576");
                    }
                }
            }
        }
    }
    assert_eq!(kafka.watermarks(topic, 0).unwrap(), (0, 0));
}

/// Memory and places that a request took come back with its end.
async fn what_is_refused_leaves_room_for_what_is_not(way: Way) {
    let kafka = Kafka::shared().await.unwrap();
    let topic = &kafka.topic("room", 1, &KEEPS).await.unwrap();
    let stack = with(way, kafka, WRITES, "", "").await;
    let gateway = stack.gateway();
    let body = letters(8, LIMIT);
    let shape = Pieces { length: 64 << 10, declared: false, slow: false };
    for _ in 0..10 {
        // Larger than the limit; given up half-way; and not JSON.
        let request = |body: Bytes| Request::post(ANY, body).with("x-kafka-topic", topic).cut(shape);
        let mut client = Client::connect(gateway).await.unwrap();
        problem(&client.ask(request(letters(9, LIMIT + 1))).await.unwrap(), 413, "1048576");
        let mut client = Client::connect(gateway).await.unwrap();
        let slow = Pieces { length: LIMIT / 2, declared: false, slow: true };
        let given_up = client.ask(Request::post(ANY, body.clone()).cut(slow));
        let _ = timeout(Duration::from_millis(2), given_up).await;
        drop(client);
        let mut client = Client::connect(gateway).await.unwrap();
        let json = request(body.clone()).with("content-type", "application/json");
        problem(&client.ask(json).await.unwrap(), 400, "line 1");
        let mut client = Client::connect(gateway).await.unwrap();
        let written_one = client.ask(request(body.clone())).await.unwrap();
        written(&written_one, topic);
    }
    assert_eq!(kafka.watermarks(topic, 0).unwrap(), (0, 10));
}

/// Text, so that the console consumer's separators are not in it.
fn letters(seed: u64, len: usize) -> Bytes {
    Random::new(seed).bytes(len).into_iter().map(|byte| b'a' + byte % 26).collect()
}

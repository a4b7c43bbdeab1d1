//! `produce` routes through each gateway: headers pass, and bodies around the limit, whole, split or slow, many on a
//! connection. The bridge's `http::produce` tests in detail which record a request becomes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sluicegate_protocol::Header;
use sluicegate_stack::http::client::{Client, Pieces, Request};
use sluicegate_stack::random::Random;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_ways;

use crate::http::answers::{problem, written};
use crate::pool::{ANY, REST, standard};

in_ways! {
    [tunnel relay apisix]
    bodies_up_to_the_limit_are_written_and_read_and_larger_ones_refused
}

/// The gateway's limit by default.
const LIMIT: usize = 1 << 20;

/// In the request's order, repeated ones repeated.
const HEADERS: [(&str, &str); 3] = [("b", "2"), ("b", ""), ("name", "Zo\u{eb}")];

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
            let request = HEADERS.iter().fold(request, |request, (name, value)| {
                request.with(&format!("x-kafka-header-{name}"), value)
            });
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
        let headers = HEADERS.map(|(key, value)| Header { key: key.into(), value: Some(value.into()) });
        assert_eq!(record.headers, headers);
        let path = format!("{REST}/topics/{topic}/partitions/0/records?offset={offset}");
        let read = http2.ask(Request::get(path)).await.unwrap().json();
        let value = STANDARD.decode(read[0]["value"].as_str().unwrap()).unwrap();
        assert!(value == whole, "{offset} is read otherwise than it was written");
    }
}

//! Bodies of plain HTTP requests: whole when they come, and bounded.

use sluicegate_harness::apisix::{Outcome, Route, Stream, Worker};

use crate::gateway::{APISIX, Gateway, apisix, calling, grpc_web, whole};
use crate::plain::{answer_of, post, request, says};
use crate::socket::configuration;

fn start(keys: &str) -> (Worker, Route) {
    let worker = apisix();
    let route = worker.route(configuration(&format!("{APISIX}{keys}")));
    (worker, route)
}

fn small() -> (Worker, Route) {
    start(r#", "max_message_bytes": 2048, "max_body_bytes": 2048, "max_assembly_bytes": 8704"#)
}

#[track_caller]
fn told(stream: &Stream, status: u16, detail: &str) {
    let Outcome::Answered(response) = stream.outcome() else { panic!("{:?}", stream.outcome()) };
    says(&response, status, detail);
}

#[test]
fn a_body_of_any_bytes_up_to_the_limit_reaches_the_bridge_whole() {
    let body: Vec<u8> = (0..(1_u32 << 20)).map(|at| (at % 251) as u8).collect();
    let gateway = Gateway::apisix();
    for size in [1, 255, 8 << 10, (64 << 10) + 1, 943_718] {
        let mut sent = gateway.posts(post("/orders"), &body[..size]);
        assert!(sent.asked().command.body[..] == body[..size], "{size} bytes");
        sent.answer(200, &[], "ok");
        assert_eq!(sent.answered().text(), "ok");
    }
}

#[test]
fn a_body_over_the_limit_is_refused_with_its_length_or_without() {
    let (_worker, route) = small();
    let too_large = "a body of at most 2048 bytes is expected";
    calling(&route.request(post("/orders"), [1; 2048]));
    told(&route.request(post("/orders"), [1; 2049]), 413, too_large);
    for length in ["2049", "18446744073709551615", "99999999999999999999999"] {
        told(
            &route.request(request("POST", "/orders").with("content-length", length), [1; 2049]),
            413,
            too_large,
        );
    }
}

#[test]
fn a_safe_requests_body_is_not_even_read() {
    let (_worker, route) = small();
    for method in ["GET", "HEAD", "OPTIONS"] {
        let stream = route.request(request(method, "/kafka/topics"), [1; 5000]);
        let call = calling(&stream);
        assert!(call.body.len() < 1000, "{method}");
    }
}

#[test]
fn memory_that_does_not_grow_refuses_bodies_and_not_the_worker() {
    let (worker, route) = start("");
    let body = vec![1; 943_718];
    let stream = route.request(post("/orders"), "first");
    drop(stream);
    worker.limit_memory(worker.memory_bytes() + (256 << 10));
    for _ in 0..3 {
        let stream = route.request(post("/orders"), &body);
        let Outcome::Answered(response) = stream.outcome() else { panic!("{:?}", stream.outcome()) };
        assert!([500, 503].contains(&response.status()), "{response:?}");
    }
    let mut stream = route.request(post("/orders"), "small");
    stream.bridge_answers(200, grpc_web(), whole(&answer_of(200, &[], "ok")));
    assert_eq!(stream.outcome().response().map(|response| response.text()), Some("ok".to_owned()));
}

#[test]
fn room_is_given_back_by_each_request() {
    let (_worker, route) = small();
    for _ in 0..100 {
        let stream = route.request(post("/orders"), [1; 2048]);
        calling(&stream);
    }
    let waiting: Vec<_> = (0..100).map(|_| route.request(post("/orders"), [1; 2048])).collect();
    waiting.iter().for_each(|stream| {
        calling(stream);
    });
}

//! Plain HTTP requests, as a gateway forwards them.

mod bodies;
mod grants;
mod pages;
mod permits;
mod refusals;

use std::time::{Duration, Instant};

use ::http::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use prost::Message;
use rdkafka::mocking::MockCluster;
use sluicegate_protocol::http_route::Resource;
use sluicegate_protocol::{HttpProduce, HttpRest, HttpRoute};
use sluicegate_stack::http::client::Response;
use sluicegate_stack::raw::Raw;

use crate::support::{Gateway, start, start_before, with};

pub(crate) const ROUTE: &str = "sluicegate-http";
pub(crate) const WRITE: (&str, &str) = ("sluicegate-write", "true");

/// A request that takes `route`.
pub(crate) fn routed(method: &str, route: &HttpRoute) -> Request<Bytes> {
    let route = STANDARD_NO_PAD.encode(route.encode_to_vec());
    let request = Request::builder().method(method).uri("http://localhost/of/the/client");
    request.header(ROUTE, route).body(Bytes::new()).unwrap()
}

pub(crate) fn rest(method: &str, path: &str) -> Request<Bytes> {
    let resource = Some(Resource::Rest(HttpRest {}));
    routed(method, &HttpRoute { resource, path: path.into(), ..HttpRoute::default() })
}

/// A record for the topic `t`.
pub(crate) fn produce() -> Request<Bytes> {
    record_for("t")
}

fn record_for(topic: &str) -> Request<Bytes> {
    let produce = HttpProduce { topic: topic.into(), ..HttpProduce::default() };
    let resource = Some(Resource::Produce(produce));
    with(routed("POST", &HttpRoute { resource, ..HttpRoute::default() }), &[WRITE])
}

/// The same, whose client does not wait for the acknowledgement.
pub(crate) fn unawaited() -> Request<Bytes> {
    with(produce(), &[("prefer", "respond-async")])
}

/// A request as HTTP/1.1 has it.
pub(crate) fn http1(request: &Request<Bytes>) -> Vec<u8> {
    let mut text = format!("{} {} HTTP/1.1\r\n", request.method(), request.uri().path());
    if !request.headers().contains_key("host") {
        text += "Host: localhost\r\n";
    }
    for (name, value) in request.headers() {
        text += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    if !request.body().is_empty() {
        text += &format!("Content-Length: {}\r\n", request.body().len());
    }
    [text.as_bytes(), b"\r\n", request.body()].concat()
}

/// The response to a request, which has the marks of the bridge's own.
pub(crate) async fn send(gateway: &Gateway, request: Request<Bytes>) -> Response {
    let response = gateway.send(request).await;
    check_marks(&response);
    response
}

#[track_caller]
fn check_marks(response: &Response) {
    let values = |name: &str| response.headers.get_all(name).iter().cloned().collect::<Vec<_>>();
    assert_eq!(values("x-accel-buffering"), ["no"], "{response:?}");
    assert_eq!(values("sluicegate-answered").len(), 1, "{response:?}");
}

#[track_caller]
fn check(response: &Response, status: u16, says: &str) {
    let text = response.text();
    assert_eq!(response.status, status, "{text}");
    assert!(text.contains(says), "{text}");
    assert_eq!(response.headers["content-type"], "application/problem+json");
}

#[tokio::test]
async fn client_mistakes_are_problem_documents() {
    let bridge = start("").await;
    let gateway = Gateway::connect(&bridge).await;
    for (request, status, says) in [
        (rest("GET", "/nothing"), 404, "unknown path"),
        (rest("PUT", "/topics"), 405, "expected GET, HEAD, OPTIONS"),
        (rest("BREW", "/topics"), 405, "expected GET, HEAD, OPTIONS"),
        (rest("GET", "/topics?x=1"), 400, "unknown query parameter x"),
    ] {
        let response = send(&gateway, request.clone()).await;
        check(&response, status, says);
        assert_eq!(response.headers["sluicegate-answered"], "1");
        let mut client = Raw::connect(bridge.address()).await;
        client.write(http1(&request)).await;
        let response = client.response().await;
        check_marks(&response);
        check(&response, status, says);
    }
}

#[tokio::test]
async fn options_names_the_methods() {
    let bridge = start("").await;
    let gateway = Gateway::connect(&bridge).await;
    let options = rest("OPTIONS", "/topics/t");
    for (request, allow) in
        [(with(options.clone(), &[WRITE]), "GET, HEAD, POST, OPTIONS"), (options, "GET, HEAD, OPTIONS")]
    {
        let response = send(&gateway, request).await;
        assert_eq!((response.status, &response.headers["allow"]), (204, &allow.parse().unwrap()));
        assert!(response.body.is_empty() && !response.headers.contains_key("content-length"));
    }
}

#[tokio::test]
async fn head_of_a_problem_has_its_length_and_no_body() {
    let bridge = start("").await;
    let gateway = Gateway::connect(&bridge).await;
    let mut get = send(&gateway, rest("GET", "/nothing")).await;
    let mut head = send(&gateway, rest("HEAD", "/nothing")).await;
    assert_eq!(head.headers["content-length"], get.body.len().to_string());
    assert!(head.body.is_empty());
    for response in [&mut get, &mut head] {
        response.headers.remove("date");
    }
    assert_eq!(head.headers, get.headers);
}

#[tokio::test]
async fn clients_are_told_to_come_back_while_kafka_is_down() {
    let bridge = start(WRITES).await;
    let gateway = Gateway::connect(&bridge).await;
    let mut batch = with(rest("POST", "/topics/t"), &[WRITE, ("content-type", "application/json")]);
    *batch.body_mut() = "{\"records\":[{\"value\":1},{\"value\":2}]}".into();
    for (request, member) in [(produce(), "\"status\":503"), (batch, "\"error_code\":50003")] {
        let response = send(&gateway, request).await;
        check(&response, 503, member);
        check(&response, 503, "try again after Retry-After");
        assert_eq!(response.headers["retry-after"], "1");
        let text = response.text();
        assert!(!text.contains("unknown_outcome"), "{text}");
        assert!(!text.contains("127.0.0.1"), "a broker's address is told: {text}");
    }
}

#[tokio::test]
async fn unnamed_cluster_is_not_written_to() {
    let bridge = start("").await;
    let gateway = Gateway::connect(&bridge).await;
    for request in [produce(), with(rest("POST", "/topics/t"), &[WRITE])] {
        let response = send(&gateway, request).await;
        check(&response, 403, "the bridge does not write to this cluster");
    }
}

#[tokio::test]
async fn drain_delivers_unawaited_records() {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic("t", 1, 1).unwrap();
    let kafka = mock.bootstrap_servers().parse().unwrap();
    // The record is still in the queue when the bridge is told to stop.
    let bridge = start_before(kafka, "", &format!("linger.ms = 20000\n{WRITES}")).await;
    let gateway = Gateway::connect(&bridge).await;
    let response = send(&gateway, unawaited()).await;
    assert_eq!(response.status, 202, "{response:?}");
    assert_eq!(response.headers["preference-applied"], "respond-async");
    bridge.drain().await;
    let next = start_before(kafka, "", "").await;
    let gateway = Gateway::connect(&next).await;
    let ends = send(&gateway, rest("GET", "/topics/t/partitions/0/offsets")).await;
    assert_eq!(ends.text(), r#"{"beginning_offset":0,"end_offset":1}"#);
}

#[tokio::test]
async fn drain_refuses_records_that_are_not_enqueued() {
    let mock = MockCluster::new(1).unwrap();
    for topic in ["t", "known"] {
        mock.create_topic(topic, 1, 1).unwrap();
    }
    let more = format!("{WRITES}\n[session]\ndrain_timeout_ms = 5000");
    let bridge = start_before(mock.bootstrap_servers().parse().unwrap(), "", &more).await;
    let gateway = Gateway::connect(&bridge).await;
    // Now there is a producer, and nothing is known of the other topic.
    assert_eq!(send(&gateway, record_for("known")).await.status, 200);
    mock.broker_round_trip_time(1, Duration::from_secs(20)).unwrap();
    let drain = async {
        // Answered after the record has come, whose topic is being looked up.
        assert_eq!(send(&gateway, rest("GET", "/nothing")).await.status, 404);
        let started = Instant::now();
        bridge.drain().await;
        started.elapsed()
    };
    let (response, elapsed) = tokio::join!(send(&gateway, unawaited()), drain);
    check(&response, 503, "the bridge is shutting down, nothing was written");
    // Two fifths of the time are for what is being written, and nothing is left to be cut off behind that.
    assert!((Duration::from_secs(2)..Duration::from_secs(5)).contains(&elapsed), "{elapsed:?}");
}

const WRITES: &str = "[write]\nclusters = [\"default\"]";

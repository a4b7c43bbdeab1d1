//! Plain HTTP requests, as a gateway forwards them.

mod bodies;
mod permits;

use std::time::{Duration, Instant};

use ::http::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use prost::Message;
use sluicegate_protocol::http_route::Resource;
use sluicegate_protocol::metadata::CLUSTER_DEFINITION;
use sluicegate_protocol::{HttpCors, HttpProduce, HttpRest, HttpRoute};
use sluicegate_stack::http::client::Response;

use crate::route_clusters;
use crate::support::{Gateway, SECRET, WRITES, mock, start, start_before, start_on, with};

pub(crate) const ROUTE: &str = "sluicegate-http";
pub(crate) const WRITE: (&str, &str) = ("sluicegate-write", "true");

/// A request that takes `route`.
fn routed(method: &str, route: &HttpRoute) -> Request<Bytes> {
    let route = STANDARD_NO_PAD.encode(route.encode_to_vec());
    let request = Request::builder().method(method).uri("http://localhost/of/the/client");
    request.header(ROUTE, route).body(Bytes::new()).unwrap()
}

pub(crate) fn rest(method: &str, path: &str) -> Request<Bytes> {
    let resource = Some(Resource::Rest(HttpRest::default()));
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
fn unawaited() -> Request<Bytes> {
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
pub(crate) fn check_marks(response: &Response) {
    let values = |name: &str| response.headers.get_all(name).iter().cloned().collect::<Vec<_>>();
    assert_eq!(values("x-accel-buffering"), ["no"], "{response:?}");
    assert_eq!(values("sluicegate-answered").len(), 1, "{response:?}");
}

#[track_caller]
pub(crate) fn check_problem(response: &Response, status: u16, says: &str) {
    let text = response.text();
    assert_eq!(response.status, status, "{text}");
    assert!(text.contains(says), "{text}");
    assert_eq!(response.headers["content-type"], "application/problem+json");
}

#[tokio::test]
async fn clients_are_told_to_come_back_while_kafka_is_down() {
    let bridge = start(WRITES).await;
    let gateway = Gateway::connect(&bridge).await;
    let mut requests = vec![(produce(), "\"status\":503"), (batch("/topics/t"), "\"error_code\":50003")];
    for path in ["/topics", "/topics/t", "/topics/t/partitions/0/offsets", "/topics/t/records"] {
        requests.push((rest("GET", path), "\"error_code\":50003"));
    }
    for (request, member) in requests {
        let response = send(&gateway, request).await;
        check_problem(&response, 503, member);
        assert_eq!(response.headers["retry-after"], "1");
        for hidden in ["unknown_outcome", "127.0.0.1"] {
            assert!(!response.text().contains(hidden), "{}", response.text());
        }
    }
}

#[tokio::test]
async fn drain_delivers_unawaited_records() {
    let [named, carried] = [mock(1), mock(1)];
    // The records are still in the queue when the bridge is told to stop.
    let routes = "[route_clusters]\nallowed_hosts = [\"127.0.0.1:*\"]\nwrite = true\n\
                  [route_clusters.properties]\nlinger.ms = 20000\n";
    let secret = format!("gateway_secret = {:?}", SECRET.1);
    let kafka = named.bootstrap_servers().parse().unwrap();
    let bridge = start_before(kafka, &secret, &format!("linger.ms = 20000\n{WRITES}{routes}")).await;
    let gateway = Gateway::connect(&bridge).await;
    let definition = route_clusters::of(&carried.bootstrap_servers());
    for headers in [&[SECRET][..], &[SECRET, (CLUSTER_DEFINITION, &definition)]] {
        let response = send(&gateway, with(unawaited(), headers)).await;
        assert_eq!(response.status, 202, "{response:?}");
        assert_eq!(response.headers["preference-applied"], "respond-async");
    }
    bridge.drain().await;
    for mock in [&named, &carried] {
        let next = start_on(mock, "").await;
        let gateway = Gateway::connect(&next).await;
        let ends = send(&gateway, rest("GET", "/topics/t/partitions/0/offsets")).await;
        assert_eq!(ends.text(), r#"{"beginning_offset":0,"end_offset":1}"#);
    }
}

#[tokio::test]
async fn drain_refuses_records_that_are_not_enqueued() {
    let mock = mock(1);
    mock.create_topic("known", 1, 1).unwrap();
    let bridge = start_on(&mock, &format!("{WRITES}[session]\ndrain_timeout_ms = 5000")).await;
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
    check_problem(&response, 503, "the bridge is shutting down, nothing was written");
    // Two fifths of the time are for what is being written, and nothing is left to be cut off behind that.
    assert!((Duration::from_secs(2)..Duration::from_secs(5)).contains(&elapsed), "{elapsed:?}");
}

fn batch(path: &str) -> Request<Bytes> {
    let request = with(rest("POST", path), &[WRITE, ("content-type", "application/json")]);
    request.map(|_| Bytes::from_static(b"{\"records\":[{\"value\":1}]}"))
}

pub(crate) const APP: (&str, &str) = ("origin", "https://app.example");

/// A request of a page whose origin the route has, for a resource that does not exist.
pub(crate) fn of_page(method: &str, headers: &[(&str, &str)]) -> Request<Bytes> {
    let cors = HttpCors { origins: vec!["https://app.example".into()], credentials: true };
    let resource = Some(Resource::Rest(HttpRest::default()));
    let route = HttpRoute { resource, cors: Some(cors), path: "/nothing".into() };
    with(routed(method, &route), headers)
}

#[tokio::test]
async fn pages_of_a_route_read_its_answers_and_problems() {
    let bridge = start("").await;
    let gateway = Gateway::connect(&bridge).await;
    let preflight = [APP, ("access-control-request-method", "GET")];
    let response = send(&gateway, of_page("OPTIONS", &preflight)).await;
    assert_eq!((response.status, response.body.len()), (204, 0));
    assert_eq!(response.headers["access-control-allow-methods"], "GET,HEAD");

    let response = send(&gateway, of_page("GET", &[APP])).await;
    check_problem(&response, 404, "unknown path");
    assert_eq!(response.headers["access-control-allow-origin"], "https://app.example");
    assert_eq!(response.headers["vary"], "origin");

    let evil = [("origin", "https://evil.example"), ("sluicegate-cluster", "nowhere")];
    let response = send(&gateway, of_page("GET", &evil)).await;
    check_problem(&response, 403, "this Origin is not allowed on this route");

    // A page can read that, and when, it has to come back, and that the route is not set up.
    let response = send(&gateway, of_page("GET", &[APP, ("sluicegate-cluster", "nowhere")])).await;
    check_problem(&response, 502, "gateway and bridge are misconfigured");
    assert_eq!(response.headers["access-control-allow-origin"], "https://app.example");
}

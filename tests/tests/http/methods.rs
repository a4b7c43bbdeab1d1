//! What is not a plain `POST`: other methods, `Prefer`, and which route a path belongs to.

use std::time::Duration;

use sluicegate_tests::http::client::{Client, Request};
use sluicegate_tests::in_every_gateway;
use sluicegate_tests::waiting::becomes;
use sluicegate_tests::way::Way;

use crate::answers::{allow, problem, rest_problem, written};
use crate::openapi::ask;
use crate::stacks::{ANY, home, shared};

in_every_gateway! {
    other_methods_are_told_which_there_are
    head_says_what_get_says_without_the_body
    who_does_not_wait_is_answered_at_once_and_written_all_the_same
    the_longest_route_answers
    many_requests_share_a_connection
}

async fn other_methods_are_told_which_there_are(way: Way) {
    let (kafka, stack) = shared(way).await;
    let topic = &kafka.topic("methods", 1, &[]).await.unwrap();
    let gateway = stack.gateway();
    let readable = ["GET", "HEAD", "OPTIONS"];
    let both = ["GET", "HEAD", "OPTIONS", "POST"];
    for (path, methods) in [
        (ANY.to_owned(), &["OPTIONS", "POST"][..]),
        ("/kafka/topics".to_owned(), &readable),
        (format!("/kafka/topics/{topic}"), &both),
        (format!("/kafka/topics/{topic}/partitions/0"), &["OPTIONS", "POST"]),
        (format!("/kafka/topics/{topic}/partitions/0/records"), &readable),
        (format!("/kafka/topics/{topic}/partitions/0/offsets"), &readable),
    ] {
        let told = |allowed: &[&str]| assert_eq!(allowed, methods, "{path}");
        let options = ask(gateway, Request::new("OPTIONS", &path)).await;
        assert_eq!((options.status, options.body.len()), (204, 0), "{path}: {options:?}");
        told(&allow(&options));
        for method in ["GET", "HEAD", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND"] {
            if methods.contains(&method) {
                continue;
            }
            let response = ask(gateway, Request::new(method, &path)).await;
            assert_eq!(response.status, 405, "{method} {path}: {response:?}");
            // nginx's own.
            if (way, method) == (Way::Apisix, "TRACE") {
                continue;
            }
            told(&allow(&response));
            match method {
                "HEAD" => assert!(response.body.is_empty()),
                _ if path == ANY => _ = problem(&response, 405, "OPTIONS"),
                _ => _ = rest_problem(&response, 405, 405, "OPTIONS"),
            }
        }
    }
    assert_eq!(kafka.watermarks(topic, 0).unwrap(), (0, 0));
}

async fn head_says_what_get_says_without_the_body(way: Way) {
    let (kafka, stack) = shared(way).await;
    let topic = &kafka.topic("head", 1, &[]).await.unwrap();
    let at = format!("/kafka/topics/{topic}/partitions/0");
    for path in [
        format!("/kafka/topics/{topic}"),
        format!("{at}/offsets"),
        format!("{at}/records?offset=0&timeout=0"),
        format!("{at}/records?offset=9"),
        "/kafka/topics/no-such-topic".to_owned(),
        "/kafka/nothing".to_owned(),
    ] {
        let get = ask(stack.gateway(), Request::get(&path)).await;
        let head = ask(stack.gateway(), Request::new("HEAD", &path)).await;
        assert!(!get.body.is_empty() && head.body.is_empty(), "{path}");
        assert_eq!(head.status, get.status, "{path}");
        for header in ["content-type", "content-length"] {
            assert!(get.header(header).is_some(), "{path}: {header}");
            assert_eq!(head.header(header), get.header(header), "{path}: {header}");
        }
    }
}

async fn who_does_not_wait_is_answered_at_once_and_written_all_the_same(way: Way) {
    let (kafka, stack) = shared(way).await;
    let topic = &kafka.topic("async", 1, &[]).await.unwrap();
    let gateway = stack.gateway();
    let request = |body: &'static str| Request::post(ANY, body).with("x-kafka-topic", topic);
    let mut want = 0;
    for prefer in ["respond-async", "respond-async, wait=10", "wait=10 , Respond-Async", "respond-async; x=y"]
    {
        let response = ask(gateway, request("v").with("prefer", prefer)).await;
        assert_eq!(response.status, 202, "{prefer}: {response:?}");
        assert_eq!(response.header("preference-applied"), Some("respond-async"));
        assert_eq!(response.header("content-type"), Some("application/json"));
        assert_eq!(response.text(), format!(r#"{{"topic":"{topic}"}}"#));
        want += 1;
        let written = async || kafka.watermarks(topic, 0).unwrap().1;
        becomes("the log end", want, Duration::from_secs(20), written).await;
    }
    for prefer in ["wait=10", "return=minimal", "\"respond-async\"", "respond-asynchronously"] {
        let response = ask(gateway, request("v").with("prefer", prefer)).await;
        assert_eq!(written(&response, topic).offset, want, "{prefer}");
        assert_eq!(response.header("preference-applied"), None);
        want += 1;
    }
    // What can be known without Kafka is said.
    let json = request("{").with("content-type", "application/json").with("prefer", "respond-async");
    problem(&ask(gateway, json).await, 400, "line 1");
    let partition = request("v").with("x-kafka-partition", "x").with("prefer", "respond-async");
    problem(&ask(gateway, partition).await, 400, "x-kafka-partition");
    assert_eq!(kafka.watermarks(topic, 0).unwrap().1, want);
}

async fn the_longest_route_answers(way: Way) {
    let (_, stack) = shared(way).await;
    let gateway = stack.gateway();
    // A whole path before a prefix, a longer prefix before a shorter one, on the boundaries of segments.
    written(&ask(gateway, Request::post("/kafka/topics/exact", "v")).await, home(way));
    written(&ask(gateway, Request::post("/fixed?query=is&not=looked+at", "v")).await, home(way));
    for path in ["/kafka/topics", "/kafka/below/topics", "/readonly/topics"] {
        let response = ask(gateway, Request::get(path)).await;
        let topics = response.json();
        assert!(topics.as_array().unwrap().iter().any(|topic| topic == home(way)), "{path}: {topics}");
    }
    let below = format!("/kafka/below/topics/{}", home(way));
    let records =
        Request::post(&below, r#"{"records":[]}"#).with("content-type", "application/vnd.kafka.json.v2+json");
    rest_problem(&ask(gateway, records).await, 403, 403, "write");
    for path in [
        "/kafka",
        "/kafka/",
        "/readonly",
        "/kafka/topics/a/b",
        "/kafka/topics/a/partitions/0/other",
        "/kafka//",
    ] {
        rest_problem(&ask(gateway, Request::get(path)).await, 404, 404, "");
    }
    // No route of ours: neither are paths that begin or end otherwise.
    for path in ["/kafkatopics", "/kafka-/topics", "/fixed/", "/fixed/x", "/fixe", "/jsonkey", "/"] {
        assert_eq!(ask(gateway, Request::post(path, "v")).await.status, 404, "{path}");
    }
}

async fn many_requests_share_a_connection(way: Way) {
    let (kafka, stack) = shared(way).await;
    let topic = &kafka.topic("shared", 1, &[]).await.unwrap();
    let mut http1 = Client::connect(stack.gateway()).await.unwrap();
    let mut http2 = Client::connect_http2(stack.gateway()).await.unwrap();
    for round in 0..50 {
        for (at, client) in [&mut http1, &mut http2].into_iter().enumerate() {
            let request = Request::post(ANY, format!("{round}")).with("x-kafka-topic", topic);
            assert_eq!(written(&client.ask(request).await.unwrap(), topic).offset, round * 2 + at as i64);
            // Not of status 400: behind that, Envoy closes a connection of HTTP/1.1.
            let refused = Request::post(ANY, "v").with("x-kafka-topic", topic).with("content-encoding", "x");
            problem(&client.ask(refused).await.unwrap(), 415, "Content-Encoding");
        }
    }
}

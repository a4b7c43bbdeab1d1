//! Web pages of other origins (CORS). The rules are proven in the bridge's `http::cors`.

use sluicegate_stack::http::client::{Request, Response};
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_gateway;

use crate::http::answers::{list, problem, rest_problem, written};
use crate::http::openapi::ask;
use crate::http::stacks::{ORIGINS, shared};

in_every_gateway! {
    pages_of_listed_origins_are_served_and_others_refused
}

#[track_caller]
fn readable_by(response: &Response, origin: &str, credentials: bool) {
    assert_eq!(response.header("access-control-allow-origin"), Some(origin), "{response:?}");
    let credentials = credentials.then_some("true");
    assert_eq!(response.header("access-control-allow-credentials"), credentials);
    assert_eq!(response.header("vary").map(str::to_lowercase).as_deref(), Some("origin"));
}

#[track_caller]
fn says_nothing_of_origins(response: &Response) {
    let named = response.headers.keys().find(|name| name.as_str().starts_with("access-control-"));
    assert_eq!(named, None, "{response:?}");
}

async fn pages_of_listed_origins_are_served_and_others_refused(way: Way) {
    let (kafka, stack) = shared(way).await;
    let topic = &kafka.topic("cors", 1, &[]).await.unwrap();
    let gateway = stack.gateway();
    let [origin, _] = ORIGINS;
    let post = |path: &str, origin: &str| {
        Request::post(path, "v").with("x-kafka-topic", topic).with("origin", origin)
    };
    let served = ask(gateway, post("/cors", origin)).await;
    written(&served, topic);
    let exposed = [
        "allow",
        "preference-applied",
        "retry-after",
        "sluicegate-end",
        "sluicegate-first-sequence",
        "sluicegate-high-watermark",
        "sluicegate-last-stable-offset",
        "sluicegate-log-start-offset",
        "sluicegate-next-offset",
        "sluicegate-next-sequence",
    ];
    for (response, status, credentials) in [
        (served, 200, true),
        (ask(gateway, Request::get("/web/topics").with("origin", origin)).await, 200, false),
    ] {
        assert_eq!(response.status, status, "{response:?}");
        readable_by(&response, origin, credentials);
        assert_eq!(list(&response, "access-control-expose-headers"), exposed);
    }
    let preflight = |path: &str, origin: &str| {
        Request::new("OPTIONS", path)
            .with("origin", origin)
            .with("access-control-request-method", "POST")
            .with("access-control-request-headers", "content-type,x-kafka-topic")
    };
    for (path, methods, credentials) in
        [("/cors", &["POST"][..], true), ("/web-readonly/topics", &["GET", "HEAD"], false)]
    {
        let response = ask(gateway, preflight(path, origin)).await;
        assert_eq!((response.status, response.body.len()), (204, 0), "{response:?}");
        readable_by(&response, origin, credentials);
        assert_eq!(list(&response, "access-control-allow-methods"), methods, "{path}");
        assert_eq!(list(&response, "access-control-allow-headers"), ["content-type", "x-kafka-topic"]);
    }

    let end = kafka.watermarks(topic, 0).unwrap();
    let other = "https://app.example.evil";
    let refused = ask(gateway, post("/cors", other)).await;
    problem(&refused, 403, "origin");
    let read = ask(gateway, Request::get("/web/topics").with("origin", other)).await;
    rest_problem(&read, 403, 403, "origin");
    let asked = ask(gateway, preflight("/cors", other)).await;
    assert_eq!(asked.status, 403);
    for response in [refused, read, asked] {
        says_nothing_of_origins(&response);
    }
    assert_eq!(kafka.watermarks(topic, 0).unwrap(), end);
}

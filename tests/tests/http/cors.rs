//! Web pages of other origins: who may ask, who may read the answer, and what a browser asks first.

use sluicegate_tests::http::client::{Request, Response};
use sluicegate_tests::in_every_gateway;
use sluicegate_tests::way::Way;

use crate::answers::{allow, list, problem, rest_problem, written};
use crate::openapi::ask;
use crate::stacks::{ANY, ORIGINS, shared};

in_every_gateway! {
    every_answer_to_a_listed_origin_can_be_read_by_it
    a_foreign_origin_is_refused_and_nothing_is_written
    a_browser_is_told_what_it_may_send
    without_the_setting_nothing_is_said_of_origins
}

#[track_caller]
fn readable_by(response: &Response, origin: &str, credentials: bool) {
    assert_eq!(response.header("access-control-allow-origin"), Some(origin), "{response:?}");
    let credentials = credentials.then_some("true");
    assert_eq!(response.header("access-control-allow-credentials"), credentials);
    if origin != "*" {
        assert_eq!(response.header("vary").map(str::to_lowercase).as_deref(), Some("origin"));
    }
}

#[track_caller]
fn exposes(response: &Response) {
    assert_eq!(
        list(response, "access-control-expose-headers"),
        ["allow", "preference-applied", "retry-after"]
    );
}

#[track_caller]
fn says_nothing_of_origins(response: &Response) {
    let named = response.headers.keys().find(|name| name.as_str().starts_with("access-control-"));
    assert_eq!(named, None, "{response:?}");
}

async fn every_answer_to_a_listed_origin_can_be_read_by_it(way: Way) {
    let (kafka, stack) = shared(way).await;
    let topic = &kafka.topic("cors", 1, &[]).await.unwrap();
    let gateway = stack.gateway();
    let post = |path: &str| Request::post(path, "v").with("x-kafka-topic", topic);
    for origin in ORIGINS {
        let response = ask(gateway, post("/cors").with("origin", origin)).await;
        written(&response, topic);
        readable_by(&response, origin, true);
        exposes(&response);
        // The bridge's errors, the filter's own, and who does not wait.
        let errors = [
            (post("/cors").with("x-kafka-partition", "x"), 400),
            (Request::post("/cors", vec![0; (1 << 20) + 1]), 413),
            (Request::new("PUT", "/cors"), 405),
            (post("/cors").with("prefer", "respond-async"), 202),
        ];
        for (request, status) in errors {
            let response = ask(gateway, request.with("origin", origin)).await;
            assert_eq!(response.status, status, "{response:?}");
            readable_by(&response, origin, true);
            exposes(&response);
        }
        for (path, status) in [("/web/topics", 200), ("/web/topics/no-such-topic", 404), ("/web/other", 404)]
        {
            let response = ask(gateway, Request::get(path).with("origin", origin)).await;
            assert_eq!(response.status, status, "{response:?}");
            readable_by(&response, origin, false);
            exposes(&response);
        }
    }
    for origin in ["https://anyone.example", "null"] {
        let response = ask(gateway, post("/public").with("origin", origin)).await;
        written(&response, topic);
        readable_by(&response, "*", false);
        exposes(&response);
    }
    // No page asks: nothing to forbid.
    written(&ask(gateway, post("/cors")).await, topic);
}

async fn a_foreign_origin_is_refused_and_nothing_is_written(way: Way) {
    let (kafka, stack) = shared(way).await;
    let topic = &kafka.topic("foreign", 1, &[]).await.unwrap();
    let gateway = stack.gateway();
    for origin in [
        "https://evil.example",
        "http://app.example",
        "https://app.example:8443",
        "https://app.example.evil",
        "https://app.example/",
        "HTTPS://APP.EXAMPLE.",
        "null",
        "",
        "*",
        "https://app.example http://localhost:3000",
    ] {
        let post = Request::post("/cors", "v").with("x-kafka-topic", topic).with("origin", origin);
        let response = ask(gateway, post).await;
        problem(&response, 403, "origin");
        says_nothing_of_origins(&response);
        let response = ask(gateway, Request::get("/web/topics").with("origin", origin)).await;
        rest_problem(&response, 403, 403, "origin");
        says_nothing_of_origins(&response);
        let asks = Request::new("OPTIONS", "/cors")
            .with("origin", origin)
            .with("access-control-request-method", "POST");
        let response = ask(gateway, asks).await;
        assert_eq!(response.status, 403);
        says_nothing_of_origins(&response);
    }
    // Two of them, one of which is listed.
    let two = Request::post("/cors", "v")
        .with("x-kafka-topic", topic)
        .with("origin", ORIGINS[0])
        .with("origin", "https://evil.example");
    assert_eq!(ask(gateway, two).await.status, 403);
    assert_eq!(kafka.watermarks(topic, 0).unwrap(), (0, 0));
}

async fn a_browser_is_told_what_it_may_send(way: Way) {
    let (_, stack) = shared(way).await;
    let gateway = stack.gateway();
    let [origin, _] = ORIGINS;
    let asks = |path: &str, method: &str| {
        Request::new("OPTIONS", path).with("origin", origin).with("access-control-request-method", method)
    };
    for (path, methods, credentials) in [
        ("/cors", &["POST"][..], true),
        ("/web/topics", &["GET", "HEAD", "POST"], false),
        ("/web-readonly/topics", &["GET", "HEAD"], false),
    ] {
        let request = asks(path, "POST").with("access-control-request-headers", "content-type,x-kafka-topic");
        let response = ask(gateway, request).await;
        assert_eq!((response.status, response.body.len()), (204, 0), "{response:?}");
        readable_by(&response, origin, credentials);
        assert_eq!(list(&response, "access-control-allow-methods"), methods, "{path}");
        assert_eq!(list(&response, "access-control-allow-headers"), ["content-type", "x-kafka-topic"]);
        assert_eq!(response.header("access-control-max-age"), Some("600"));
    }
    let any = asks("/public", "POST").with("access-control-request-headers", "content-type");
    let response = ask(gateway, any).await;
    assert_eq!(response.status, 204);
    readable_by(&response, "*", false);
    // Nothing asked for, nothing said.
    let response = ask(gateway, asks("/cors", "POST")).await;
    assert_eq!((response.status, response.header("access-control-allow-headers")), (204, None));
    // What is no header's name is not repeated to the browser.
    for names in ["a b", "x\u{e9}", "a:b", "<script>", &"x".repeat(20_000)] {
        let response =
            ask(gateway, asks("/cors", "POST").with("access-control-request-headers", names)).await;
        assert!([204, 400].contains(&response.status), "{response:?}");
        let echoed = response.header("access-control-allow-headers").unwrap_or_default();
        assert!(!echoed.contains(names), "{echoed}");
    }
}

async fn without_the_setting_nothing_is_said_of_origins(way: Way) {
    let (kafka, stack) = shared(way).await;
    let topic = &kafka.topic("no-cors", 1, &[]).await.unwrap();
    let gateway = stack.gateway();
    let post = Request::post(ANY, "v").with("x-kafka-topic", topic).with("origin", ORIGINS[0]);
    let response = ask(gateway, post).await;
    written(&response, topic);
    says_nothing_of_origins(&response);
    let asks =
        Request::new("OPTIONS", ANY).with("origin", ORIGINS[0]).with("access-control-request-method", "POST");
    let response = ask(gateway, asks).await;
    assert_eq!((response.status, allow(&response)), (204, vec!["OPTIONS", "POST"]));
    says_nothing_of_origins(&response);
}

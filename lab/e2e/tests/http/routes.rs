//! Requests find their routes by path and method, and pages by their origin.

use sluicegate_stack::http::client::Request;
use sluicegate_stack::stack::Stack;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_ways;

use crate::http::answers::{list, problem, rest_problem, written};
use crate::http::openapi::ask;
use crate::pool::{ANY, HOME, ORIGINS, standard};

in_ways! {
    [tunnel relay apisix]
    methods_and_paths_find_their_routes
    pages_of_listed_origins_are_served_and_others_refused
    deliveries_are_counted_by_the_gateways_route
}

async fn methods_and_paths_find_their_routes(way: Way) {
    let (_, stack) = standard(way).await;
    let gateway = stack.gateway();
    let options = ask(gateway, Request::new("OPTIONS", ANY)).await;
    assert_eq!((options.status, options.body.len()), (204, 0));
    let put = ask(gateway, Request::new("PUT", ANY)).await;
    problem(&put, 405, "OPTIONS");
    assert_eq!(list(&put, "allow"), ["OPTIONS", "POST"]);
    let path = format!("/kafka/topics/{HOME}");
    let get = ask(gateway, Request::get(&path)).await;
    let head = ask(gateway, Request::new("HEAD", &path)).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    for header in ["content-type", "content-length"] {
        assert!(get.header(header).is_some(), "{header}");
        assert_eq!(head.header(header), get.header(header), "{header}");
    }

    // A whole path before a prefix, and a longer prefix before a shorter one.
    written(&ask(gateway, Request::post("/kafka/topics/exact", "v")).await, HOME);
    let below = Request::post(format!("/kafka/below/topics/{HOME}"), r#"{"records":[]}"#);
    let below = below.with("content-type", "application/vnd.kafka.json.v2+json");
    rest_problem(&ask(gateway, below).await, 403, 403, "write");
    rest_problem(&ask(gateway, Request::get("/kafka")).await, 404, 404, "");
    for path in ["/kafkatopics", "/fixed/", "/fixe", "/"] {
        assert_eq!(ask(gateway, Request::post(path, "v")).await.status, 404, "{path}");
    }
    // Topics that a route does not grant look the same whether they exist or not.
    for topic in [HOME, "no-such-topic"] {
        let denied = ask(gateway, Request::get(format!("/granted/topics/{topic}"))).await;
        rest_problem(&denied, 403, 403, topic);
    }
}

/// Where CORS is concerned. The bridge's `http::cors` tests the rules.
async fn pages_of_listed_origins_are_served_and_others_refused(way: Way) {
    let (_, stack) = standard(way).await;
    let gateway = stack.gateway();
    let path = format!("/web/topics/{HOME}");
    let get = Request::get(&path).with("origin", ORIGINS[0]);
    let preflight = Request::new("OPTIONS", &path)
        .with("origin", ORIGINS[0])
        .with("access-control-request-method", "POST")
        .with("access-control-request-headers", "content-type,last-event-id");
    for (request, status) in [(get, 200), (preflight, 204)] {
        let response = ask(gateway, request).await;
        assert_eq!(response.status, status, "{response:?}");
        assert_eq!(response.header("access-control-allow-origin"), Some(ORIGINS[0]));
        assert_eq!(response.header("vary").map(str::to_lowercase).as_deref(), Some("origin"));
        if status == 204 {
            assert_eq!(list(&response, "access-control-allow-methods"), ["GET", "HEAD", "POST"]);
            assert_eq!(list(&response, "access-control-allow-headers"), ["content-type", "last-event-id"]);
        }
    }
    let refused = ask(gateway, Request::get(&path).with("origin", "https://app.example.evil")).await;
    rest_problem(&refused, 403, 403, "origin");
    let named = refused.headers.keys().find(|name| name.as_str().starts_with("access-control-"));
    assert_eq!(named, None, "{refused:?}");
}

async fn deliveries_are_counted_by_the_gateways_route(way: Way) {
    let (kafka, stack) = standard(way).await;
    let topic = kafka.topic("deliveries", 1, &[]).await.unwrap();
    for value in ["1", "22", "333"] {
        written(&ask(stack.gateway(), Request::post(ANY, value).with("x-kafka-topic", &topic)).await, &topic);
    }
    // No other test reads on this route.
    let before = delivered(&stack, "/readonly").await;
    let read = Request::get(format!("/readonly/topics/{topic}/partitions/0/records?offset=1"));
    let read = read.with("accept", "application/json").with("x-sluicegate-route", "/of/the/client");
    assert_eq!(ask(stack.gateway(), read).await.status, 200);
    assert_eq!(delivered(&stack, "/readonly").await - before, 2.0);
    assert_eq!(delivered(&stack, "/of/the/client").await, 0.0);
}

/// The records of a route.
async fn delivered(stack: &Stack, route: &str) -> f64 {
    let (prefix, label) = ("sluicegate_delivered_records_total{", format!("gateway_route=\"{route}\""));
    stack.bridge.count(prefix, &label).await.unwrap_or_default()
}

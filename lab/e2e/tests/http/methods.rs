//! Other methods than `POST`, the choice of a route by path, and persistent connections.

use sluicegate_stack::http::client::{Client, Request};
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_gateway;

use crate::http::answers::{allow, problem, rest_problem, written};
use crate::http::openapi::ask;
use crate::http::stacks::{ANY, home, shared};

in_every_gateway! {
    methods_and_paths_find_their_routes
    many_requests_share_a_connection
}

async fn methods_and_paths_find_their_routes(way: Way) {
    let (_, stack) = shared(way).await;
    let gateway = stack.gateway();
    let options = ask(gateway, Request::new("OPTIONS", ANY)).await;
    assert_eq!((options.status, options.body.len(), allow(&options)), (204, 0, vec!["OPTIONS", "POST"]));
    let put = ask(gateway, Request::new("PUT", ANY)).await;
    problem(&put, 405, "OPTIONS");
    assert_eq!(allow(&put), ["OPTIONS", "POST"]);
    let delete = ask(gateway, Request::new("DELETE", "/kafka/topics")).await;
    rest_problem(&delete, 405, 405, "OPTIONS");
    assert_eq!(allow(&delete), ["GET", "HEAD", "OPTIONS"]);
    for path in [format!("/kafka/topics/{}", home(way)), "/kafka/topics/no-such-topic".to_owned()] {
        let get = ask(gateway, Request::get(&path)).await;
        let head = ask(gateway, Request::new("HEAD", &path)).await;
        assert!(!get.body.is_empty() && head.body.is_empty(), "{path}");
        assert_eq!(head.status, get.status, "{path}");
        for header in ["content-type", "content-length"] {
            assert!(get.header(header).is_some(), "{path}: {header}");
            assert_eq!(head.header(header), get.header(header), "{path}: {header}");
        }
    }

    // A whole path before a prefix, and a longer prefix before a shorter one.
    written(&ask(gateway, Request::post("/kafka/topics/exact", "v")).await, home(way));
    written(&ask(gateway, Request::post("/fixed?query=is&not=looked+at", "v")).await, home(way));
    let below = Request::post(format!("/kafka/below/topics/{}", home(way)), r#"{"records":[]}"#)
        .with("content-type", "application/vnd.kafka.json.v2+json");
    rest_problem(&ask(gateway, below).await, 403, 403, "write");
    rest_problem(&ask(gateway, Request::get("/kafka")).await, 404, 404, "");
    for path in ["/kafkatopics", "/fixed/", "/fixe", "/"] {
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

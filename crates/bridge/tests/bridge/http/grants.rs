//! Grants over plain HTTP.

use ::http::Request;
use bytes::Bytes;
use serde_json::{Value, json};

use super::{WRITE, WRITES, produce, rest, send};
use crate::reads::Stack;
use crate::support::with;

const TOPICS: (&str, &str) = ("sluicegate-topics", "a,pub*");

/// A cluster with the topics `t`, `a`, `public` and `secret`.
async fn stack() -> Stack {
    let stack = Stack::start_with(WRITES).await;
    for topic in ["a", "public", "secret"] {
        stack.mock.create_topic(topic, 1, 1).unwrap();
    }
    stack
}

fn batch(path: &str) -> Request<Bytes> {
    let request = with(rest("POST", path), &[WRITE, ("content-type", "application/json")]);
    request.map(|_| Bytes::from_static(b"{\"records\":[{\"value\":1}]}"))
}

#[tokio::test]
async fn topic_that_is_not_granted_looks_the_same_whether_it_exists() {
    let stack = stack().await;
    for path in
        ["", "/partitions/0/offsets", "/partitions/0/records?offset=0", "/partitions/9/records?offset=0"]
    {
        let denied = async |topic: &str| {
            let request = with(rest("GET", &format!("/topics/{topic}{path}")), &[TOPICS]);
            check_denied(&stack, request, topic).await
        };
        assert_eq!(denied("secret").await, denied("missing").await, "{path}");
    }
    for path in ["", "/partitions/0", "/partitions/9"] {
        let denied = async |topic: &str| {
            let request = with(batch(&format!("/topics/{topic}{path}")), &[TOPICS]);
            check_denied(&stack, request, topic).await
        };
        assert_eq!(denied("secret").await, denied("missing").await, "{path}");
    }
    // The route's topic is `t`.
    check_denied(&stack, with(produce(), &[TOPICS]), "t").await;
    check_denied(&stack, with(produce(), &[TOPICS, ("prefer", "respond-async")]), "t").await;
}

/// The document without the topic's name.
async fn check_denied(stack: &Stack, request: Request<Bytes>, topic: &str) -> String {
    // Their trace is all that tells two answers apart.
    let traced = with(request, &[("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")]);
    let response = send(&stack.gateway, traced).await;
    let document: Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!((response.status, &document["kafka_code"]), (403, &json!(29)), "{document}");
    let text = format!("this route does not let clients use topic {topic}");
    assert_eq!(document["detail"], text, "{document}");
    response.text().replace(topic, "")
}

#[tokio::test]
async fn granted_topics_are_listed_read_and_written() {
    let stack = stack().await;
    let response = send(&stack.gateway, with(rest("GET", "/topics"), &[TOPICS])).await;
    assert_eq!(response.text(), r#"["a","public"]"#);
    for topic in ["a", "public"] {
        let response = send(&stack.gateway, with(batch(&format!("/topics/{topic}")), &[TOPICS])).await;
        assert_eq!(response.status, 200, "{}", response.text());
        let path = format!("/topics/{topic}/partitions/0/offsets");
        let response = send(&stack.gateway, with(rest("GET", &path), &[TOPICS])).await;
        assert_eq!(response.text(), r#"{"beginning_offset":0,"end_offset":1}"#);
    }
}

#[tokio::test]
async fn route_without_read_or_write_refuses_it() {
    let stack = stack().await;
    let no_read = ("sluicegate-read", "false");
    for path in
        ["/topics", "/topics/a", "/topics/a/partitions/0/offsets", "/topics/a/partitions/0/records?offset=0"]
    {
        for method in ["GET", "HEAD"] {
            let response = send(&stack.gateway, with(rest(method, path), &[no_read, WRITE])).await;
            assert_eq!(response.status, 403, "{path}");
            assert!(method == "HEAD" || response.text().contains("does not let clients read"), "{path}");
        }
    }
    let response = send(&stack.gateway, with(batch("/topics/a"), &[no_read])).await;
    assert_eq!(response.status, 200, "{}", response.text());

    let refuse_writes = async |mut request: Request<Bytes>, write: Option<&str>| {
        request.headers_mut().remove(WRITE.0);
        let request = with(request, write.map(|write| (WRITE.0, write)).as_slice());
        let response = send(&stack.gateway, request).await;
        assert_eq!(response.status, 403);
        assert!(response.text().contains("does not let clients write"), "{}", response.text());
    };
    for write in [None, Some("false")] {
        for request in [produce(), batch("/topics/a"), batch("/topics/a/partitions/0")] {
            refuse_writes(request, write).await;
        }
    }
    let response = send(&stack.gateway, rest("GET", "/topics/a/partitions/0/offsets")).await;
    assert_eq!(response.text(), r#"{"beginning_offset":0,"end_offset":1}"#, "one record was written");
}

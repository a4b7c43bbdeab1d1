//! Request bodies: the size limit, and bodies that arrive late or never.

use std::time::Duration;

use ::http::Request;
use bytes::Bytes;
use h2::Reason;
use serde_json::Value;
use sluicegate_bridge::Bridge;
use sluicegate_stack::raw::Raw;
use tokio::time::timeout;

use super::{check_marks, check_problem, http1, produce, rest, send};
use crate::reads::Stack;
use crate::support::{Gateway, WRITES, admin, start, with};

/// A bridge that takes bodies of 1024 bytes, and writes to no cluster.
async fn bridge() -> Bridge {
    start("[limits]\nmax_request_bytes = 1024").await
}

/// The answer to a body that was read.
const READ: (u16, &str) =
    (403, "the bridge does not write to cluster default (write.clusters, or route_clusters.write)");
const TOO_LARGE: (u16, &str) = (413, "body too large (limits.max_request_bytes = 1024)");

fn body(len: usize) -> Request<Bytes> {
    produce().map(|_| Bytes::from(vec![b'x'; len]))
}

#[tokio::test]
async fn body_of_the_limit_is_read_and_one_more_byte_is_413() {
    let bridge = bridge().await;
    let gateway = Gateway::connect(&bridge).await;
    for (len, (status, says)) in [(0, READ), (1024, READ), (1025, TOO_LARGE)] {
        let length = [("content-length", &len.to_string()[..])];
        check_problem(&send(&gateway, with(body(len), &length)).await, status, says);
        check_problem(&send(&gateway, body(len)).await, status, says);

        let mut chunks = chunked();
        for chunk in vec![b'x'; len].chunks(1000) {
            chunks.extend([format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
        }
        chunks.extend(b"0\r\n\r\n");
        for request in [http1(&body(len)), chunks] {
            let response = Raw::connect(bridge.address()).await.ask(&request).await;
            check_problem(&response, status, says);
        }
    }
}

/// The head of a record in chunks.
fn chunked() -> Vec<u8> {
    http1(&with(produce(), &[("transfer-encoding", "chunked")]))
}

#[tokio::test]
async fn announced_body_is_refused_or_asked_for() {
    let bridge = bridge().await;
    let mut client = Raw::connect(bridge.address()).await;
    client.write(announced("1025")).await;
    check_problem(&client.response().await, 413, "limits.max_request_bytes");
    let mut client = Raw::connect(bridge.address()).await;
    client.write(announced("3")).await;
    assert_eq!(client.head().await.unwrap().status, 100);
    client.write("abc").await;
    check_problem(&client.response().await, READ.0, READ.1);
}

/// The head of a record whose client waits until it is asked for its body.
fn announced(length: &str) -> Vec<u8> {
    http1(&with(produce(), &[("content-length", length), ("expect", "100-continue")]))
}

#[tokio::test]
async fn broken_body_is_400_and_ends_its_connection() {
    let bridge = bridge().await;
    let mut client = Raw::connect(bridge.address()).await;
    client.write([&chunked()[..], b"3\r\nabc\r\nno size\r\n"].concat()).await;
    let response = client.response().await;
    check_problem(&response, 400, "the body ended early");
    check_marks(&response);
    assert!(client.try_response().await.is_none());
}

/// Gateways reset the stream of a client that disconnects with NO_ERROR, which hyper reports as the end of the body.
#[tokio::test]
async fn body_that_is_reset_without_an_error_is_not_written() {
    let stack = Stack::start_with(WRITES).await;
    let mut written = 0;
    for _ in 0..50 {
        let (_answer, mut body) = stack.gateway.begin(produce().map(drop), false).await;
        body.send_data(Bytes::from_static(b"half of it"), false).unwrap();
        // The answer proves that the bridge has read the frames before it.
        assert_eq!(send(&stack.gateway, produce()).await.status, 200);
        written += 1;
        body.send_reset(Reason::NO_ERROR);
    }
    let mut ends = 0;
    for partition in [0, 1] {
        let offsets = rest("GET", &format!("/topics/t/partitions/{partition}/offsets"));
        let offsets: Value = serde_json::from_str(send(&stack.gateway, offsets).await.text()).unwrap();
        ends += offsets["end_offset"].as_i64().unwrap();
    }
    assert_eq!(ends, written);
}

#[tokio::test]
async fn body_of_a_get_is_ignored() {
    let bridge = bridge().await;
    let gateway = Gateway::connect(&bridge).await;
    let get = || rest("GET", "/nothing").map(|_| Bytes::from(vec![b'x'; 1000]));
    check_problem(&send(&gateway, get()).await, 404, "unknown path");
    let mut client = Raw::connect(bridge.address()).await;
    client.write(http1(&get()).repeat(2)).await;
    for _ in 0..2 {
        check_problem(&client.response().await, 404, "unknown path");
    }
}

#[tokio::test]
async fn slow_body_is_408_after_a_minute() {
    let bridge = bridge().await;
    let mut client = Raw::connect(bridge.address()).await;
    client.write(announced("3")).await;
    // The bridge begins to read.
    assert_eq!(client.head().await.unwrap().status, 100);
    client.write("ab").await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(59)).await;
    tokio::time::resume();
    // Another request goes all the way, and this one is not answered.
    assert_eq!(admin(&bridge, "/livez").await.0, 200);
    assert!(timeout(Duration::from_millis(1), client.io.peek(&mut [0])).await.is_err());
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(1)).await;
    tokio::time::resume();
    let response = client.response().await;
    check_problem(&response, 408, "the body did not arrive within 60 s");
    check_marks(&response);
}

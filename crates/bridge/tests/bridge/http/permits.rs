//! The permits of `limits.max_calls`: how long requests hold them, and the shares of clusters and clients.

use std::time::{Duration, Instant};

use ::http::{Method, Request};
use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use sluicegate_stack::raw::Raw;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{http1, rest, send};
use crate::reads::Stack;
use crate::support::{Gateway, mock, start_hanging, with};

const FRAME_BYTES: usize = 16 * 1024;
const RECORDS: &str = "/topics/t/partitions/0/records?offset=";

fn record(offset: usize) -> Request<Bytes> {
    let accept = ("accept", "application/vnd.kafka.json.v2+json");
    with(rest("GET", &format!("{RECORDS}{offset}&max_bytes=1")), &[accept])
}

/// The same, with a record in partition 0 whose answer has so many bytes for each offset.
async fn with_answers_of(sizes: &[usize]) -> Stack {
    let stack = Stack::start_with("[limits]\nmax_calls = 1").await;
    stack.produce(&[Some(b"\"\"")]);
    let empty = send(&stack.gateway, record(0)).await.body.len();
    for (offset, size) in (1..).zip(sizes) {
        let value = format!("\"{}\"", "x".repeat(size - empty));
        stack.produce(&[Some(value.as_bytes())]);
        let mut head = record(offset);
        *head.method_mut() = Method::HEAD;
        assert_eq!(send(&stack.gateway, head).await.headers["content-length"], size.to_string());
    }
    stack
}

/// Whether the only place is free.
async fn is_free(stack: &Stack) -> bool {
    match send(&stack.gateway, rest("OPTIONS", "/topics")).await.status {
        204 => true,
        503 => false,
        other => panic!("{other}"),
    }
}

async fn becomes_free(stack: &Stack) {
    let free = async { while !is_free(stack).await {} };
    timeout(Duration::from_secs(10), free).await.expect("a free place");
}

#[tokio::test]
async fn unread_answer_holds_its_place_but_for_its_last_frame() {
    let stack = with_answers_of(&[FRAME_BYTES, FRAME_BYTES + 1, 3 * FRAME_BYTES]).await;
    for (offset, window, is_held) in [
        // Without a window nothing leaves.
        (1, 0, true),
        (1, 1, false),
        (2, 1, true),
        (2, FRAME_BYTES - 1, true),
        (2, FRAME_BYTES + 1, false),
        (3, 2 * FRAME_BYTES - 1, true),
        (3, 2 * FRAME_BYTES + 1, false),
    ] {
        let io = TcpStream::connect(stack.bridge.address()).await.unwrap();
        let gateway = Gateway::with_window(window.try_into().unwrap(), io).await;
        // It takes no byte of the answer but its head.
        let (response, _) = gateway.begin(record(offset).map(|_| ()), true).await;
        let unread = response.await.unwrap().into_body();
        if is_held {
            // Other requests go all the way meanwhile.
            for _ in 0..20 {
                assert!(!is_free(&stack).await, "offset {offset}, a window of {window}");
            }
        } else {
            becomes_free(&stack).await;
        }
        // A stream that is reset frees its place, whatever is left.
        drop(unread);
        becomes_free(&stack).await;
    }
}

/// Connections, of 32, that a source with waiting reads beyond measure leaves to others.
#[tokio::test]
async fn waiting_reads_over_http1_leave_connections_to_others() {
    let stack = Stack::start_with("[limits]\nmax_connections = 32").await;
    let address = stack.bridge.address();
    let poll = |source, wait| {
        let path = format!("{RECORDS}0&timeout={wait}");
        with(rest("GET", &path), &[("sluicegate-client", source)])
    };
    let over_http1 = async |source, wait| {
        let began = Instant::now();
        let response = Raw::connect(address).await.ask(&http1(&poll(source, wait))).await;
        assert_eq!((response.status, response.text()), (200, "[]"));
        began.elapsed()
    };
    let mut attack: FuturesUnordered<_> = (0..20).map(|_| over_http1("203.0.113.1", 30_000)).collect();
    // Half of the connections are for waiting reads, and three quarters of those for one source.
    for _ in 0..20 - 12 {
        assert!(attack.next().await.unwrap() < Duration::from_secs(10), "answered at once");
    }

    let over_http2 = async {
        let began = Instant::now();
        send(&stack.gateway, poll("203.0.113.1", 300)).await;
        began.elapsed()
    };
    let waited = tokio::join!(over_http1("203.0.113.2", 300), over_http2);
    assert!(waited.0 >= Duration::from_millis(300), "a bystander: {:?}", waited.0);
    assert!(waited.1 >= Duration::from_millis(300), "over HTTP/2: {:?}", waited.1);
    assert!(attack.next().now_or_never().is_none(), "the others still wait");
}

/// Requests that a source beyond measure leaves to others, at default limits.
#[tokio::test]
async fn greedy_source_leaves_permits_to_others() {
    let healthy = mock(1);
    // The attack waits for its broker until the end, however slow the machine is.
    let more = format!(
        "socket.timeout.ms = 60000\nsocket.connection.setup.timeout.ms = 60000\n\
         [clusters.healthy]\nbootstrap.servers = {:?}",
        healthy.bootstrap_servers()
    );
    let (bridge, _silent) = start_hanging(&more).await;
    let a = ("sluicegate-client", "203.0.113.1");
    let b = ("sluicegate-client", "203.0.113.2");
    // A connection has 1000 streams.
    let gateways = [Gateway::connect(&bridge).await, Gateway::connect(&bridge).await];
    let mut attack: FuturesUnordered<_> =
        (0..1600).map(|n| send(&gateways[n % 2], with(rest("GET", "/topics"), &[a]))).collect();
    // One for each request without a permit: the others hold all that the source can have.
    for _ in 0..600 {
        let response = attack.next().await.unwrap();
        assert!(response.text().contains("limits.max_calls"), "{}", response.text());
    }

    let gateway = Gateway::connect(&bridge).await;
    let options = |source| send(&gateway, with(rest("OPTIONS", "/topics"), &[source]));
    assert_eq!(options(a).await.status, 503, "the attack holds all that it can");
    assert_eq!(options(b).await.status, 204, "a bystander on the same cluster");
    for source in [a, b] {
        let request = with(rest("GET", "/topics"), &[source, ("sluicegate-cluster", "healthy")]);
        let response = send(&gateway, request).await;
        assert_eq!((response.status, response.text()), (200, r#"["t"]"#), "another cluster");
    }
    assert_eq!(options(a).await.status, 503, "the attack still holds all that it can");
}

/// Streams that a source beyond measure leaves to others: over HTTP/1.1, each occupies one of 32 connections.
#[tokio::test]
async fn streams_leave_connections_to_others() {
    let stack = Stack::start_with("[limits]\nmax_connections = 32\nmax_calls = 1").await;
    let address = stack.bridge.address();
    let open = async |source| {
        let request = with(rest("GET", "/topics/t/events"), &[("sluicegate-client", source)]);
        let mut client = Raw::connect(address).await;
        client.write(http1(&request)).await;
        (client.head().await.unwrap(), client)
    };
    let mut streams = Vec::new();
    for number in 0..12 {
        let (head, stream) = open("203.0.113.1").await;
        assert_eq!(head.status, 200, "stream {number}: {head:?}");
        streams.push(stream);
    }
    let (refused, _) = open("203.0.113.1").await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_eq!(open("203.0.113.2").await.0.status, 200, "a bystander");
    // A client that leaves makes room.
    drop(streams.pop());
    let reopened = async { while open("203.0.113.1").await.0.status != 200 {} };
    timeout(Duration::from_secs(10), reopened).await.expect("the place of the stream that has ended");
}

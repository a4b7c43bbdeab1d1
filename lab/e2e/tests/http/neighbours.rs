//! Misbehaving clients of plain HTTP do not affect the sessions and requests of others.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use h2::RecvStream;
use h2::client::{ResponseFuture, SendRequest};
use http::Response;
use sluicegate_stack::envoy::{self, Envoy, Profile, plugin};
use sluicegate_stack::folder::Folder;
use sluicegate_stack::http::client::Request;
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::port::Port;
use sluicegate_stack::socket::Socket;
use sluicegate_stack::stack::Stack;
use sluicegate_stack::waiting::until;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_ways;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket};

use crate::http::answers::{problem, written};
use crate::http::openapi::ask;
use crate::pool::{ANY, count, routed};

in_ways! {
    [tunnel relay]
    unread_and_cancelled_requests_harm_no_other
    writes_are_not_retried_even_if_routes_or_clients_say_so
}

const CONNECTIONS: usize = 8;
/// As many as Envoy takes at once on one connection of a client.
const STREAMS: usize = 100;
/// In an answer, each of 50 kB: more than any window.
const RECORDS: usize = 10;
/// The time in which 500 answers are copied on a slow machine.
const COPYING: Duration = Duration::from_secs(180);

/// Most bytes that one unread answer can hold in Envoy: `initial_stream_window_size` of `sluicegate_http`, or in
/// the cluster's buffer in the relay profile; and Envoy's other allocations: up to 40 KiB,
/// depending on how the answers arrive.
fn bytes_per_answer(way: Way) -> u64 {
    if way == Way::Tunnel { 128 << 10 } else { 400 << 10 }
}

async fn unread_and_cancelled_requests_harm_no_other(way: Way) {
    let kafka = Kafka::shared().await.unwrap();
    let topic = kafka.topic("unread", 1, &[]).await.unwrap();
    // All clients are on one worker.
    let stack = routed(way).await.one_worker().alone().await;
    let gateway = stack.gateway();
    let write = |len: usize| Request::post(ANY, vec![b'v'; len]).with("x-kafka-topic", &topic);
    for _ in 0..RECORDS {
        written(&ask(gateway, write(50_000)).await, &topic);
    }
    // Of a machine that stands still for `connect_timeout`, Envoy says so itself, and nothing was sent.
    let bystander_writes = async || match ask(gateway, write(1)).await {
        answer if answer.status == 503 => Err(answer.text().to_owned()),
        answer => Ok(written(&answer, &topic)),
    };
    let mut session = Socket::open(&stack).await;
    let path = format!("/kafka/topics/{topic}/partitions/0/records?offset=0");
    // Memory that the first requests make Envoy allocate is there to stay.
    let warm = (0..50).map(|_| ask(gateway, Request::get(&path)));
    assert!(join_all(warm).await.iter().all(|response| response.body.len() > 200_000));
    let before = stack.envoy().process.usage().unwrap().resident_bytes;

    let mut attackers = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut attacker = Attacker { client: connect(&stack).await, asked: Vec::new(), unread: Vec::new() };
        for _ in 0..STREAMS {
            attacker.asked.push(get(&mut attacker.client, &path).await);
        }
        attackers.push(attacker);
    }
    // The share of one source, of which the bridge answers each.
    until("answers", COPYING, async || {
        for attacker in &mut attackers {
            attacker.ask_again(&path).await;
        }
        match count(&stack, "http_responses_total").await {
            500.0.. => Ok(()),
            seen => Err(format!("{seen} of 500")),
        }
    })
    .await;
    session.ping().await;
    until("a write", COPYING, bystander_writes).await;
    let grown = stack.envoy().process.usage().unwrap().resident_bytes.saturating_sub(before);
    let answers = (CONNECTIONS * STREAMS) as u64;
    assert!(grown < answers * bytes_per_answer(way), "{grown} bytes for {answers} unread answers");
    drop(attackers);

    // At the end of the log, behind the bystander's record, they wait. More than what HTTP/2 libraries take for an attack.
    let end = RECORDS + 1;
    let path = format!("/kafka/topics/{topic}/partitions/0/records?offset={end}&timeout=30000");
    for _ in 0..12 {
        let mut attacker = connect(&stack).await;
        for _ in 0..STREAMS {
            drop(get(&mut attacker, &path).await);
        }
    }
    session.ping().await;
    until("a write", COPYING, bystander_writes).await;
}

/// A client that reads no answer.
struct Attacker {
    client: SendRequest<Bytes>,
    asked: Vec<ResponseFuture>,
    unread: Vec<Response<RecvStream>>,
}

impl Attacker {
    /// Repeats requests that Envoy refused because it had not connected to the bridge within its `connect_timeout`: on a machine
    /// that stands still for as long, that can be any number of those that each need a connection.
    async fn ask_again(&mut self, path: &str) {
        for mut asked in mem::take(&mut self.asked) {
            match (&mut asked).now_or_never().transpose().unwrap() {
                None => self.asked.push(asked),
                Some(answer) if answer.status() == 503 => {
                    assert_eq!(answer.headers()["retry-after"], "1", "{answer:?}");
                    drop(answer);
                    self.asked.push(get(&mut self.client, path).await);
                }
                Some(answer) => self.unread.push(answer),
            }
        }
    }
}

/// A client's connection whose streams have no window.
async fn connect(stack: &Stack) -> SendRequest<Bytes> {
    // Not the address of the bystanders.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let stream = socket.connect(stack.gateway()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut http = h2::client::Builder::new();
    let (sender, connection) = http.initial_window_size(0).handshake(stream).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn get(client: &mut SendRequest<Bytes>, path: &str) -> ResponseFuture {
    *client = client.clone().ready().await.unwrap();
    let request = http::Request::get(format!("http://gateway{path}")).body(()).unwrap();
    client.send_request(request, true).unwrap().0
}

/// Sends requests to a bridge that reads each and then ends the connection.
async fn writes_are_not_retried_even_if_routes_or_clients_say_so(way: Way) {
    let profile = if way == Way::Relay { Profile::Relay } else { Profile::Tunnel };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bridge = listener.local_addr().unwrap();
    let received = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&received);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let is_received = match profile {
                Profile::Relay => stream.read(&mut [0; 4096]).await.unwrap() > 0,
                Profile::Tunnel => {
                    matches!(h2::server::handshake(stream).await.unwrap().accept().await, Some(Ok(_)))
                }
            };
            count.fetch_add(usize::from(is_received), Ordering::Relaxed);
        }
    });
    let folder = Folder::new("retries").unwrap();
    let routes = [
        r#"{"path": "/produce", "type": "produce", "topic": "t"}"#,
        r#"{"path": "/kafka", "type": "rest", "write": true}"#,
    ];
    // Adds a retry policy after `line`, which only the route in question has.
    let retries = |line: &str| {
        let policy = "retry_policy: {retry_on: '5xx,reset,connect-failure', num_retries: 3}";
        (line.to_owned(), format!("{line}\n                  {policy}"))
    };
    let last = if profile == Profile::Relay { "timeout: 0s" } else { "idle_timeout: 40s" };
    let edits = vec![plugin("", &routes), retries(last)];
    let setup = envoy::Setup {
        profile,
        gateway: Port::pick().unwrap(),
        bridge,
        bridge_admin: bridge,
        program: None,
        concurrency: 1,
        edits,
    };
    let envoy = Envoy::start(setup, folder.path()).await.unwrap();
    let read = ask(envoy.gateway(), Request::get("/kafka/topics")).await;
    let reads = received.swap(0, Ordering::Relaxed);
    assert!(read.status == 503 && reads > 1, "a read is retried: {reads}");
    for path in ["/produce", "/kafka/topics/t"] {
        let write = || Request::post(path, "v");
        let insists = write().with("x-envoy-retry-on", "5xx,reset").with("x-envoy-max-retries", "3");
        for request in [write(), insists] {
            let answer = ask(envoy.gateway(), request).await;
            assert_eq!(problem(&answer, 504, "not known")["unknown_outcome"], true);
            assert_eq!(received.swap(0, Ordering::Relaxed), 1, "{path}");
        }
    }
}

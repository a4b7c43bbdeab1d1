//! Misbehaving clients of plain HTTP do not affect the sessions and requests of others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use h2::client::{ResponseFuture, SendRequest};
use sluicegate_client::Client as Session;
use sluicegate_stack::envoy::{self, Envoy, Profile, plugin};
use sluicegate_stack::folder::Folder;
use sluicegate_stack::http::client::Request;
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::port::Port;
use sluicegate_stack::stack::{Setup, Stack};
use sluicegate_tests::in_every_profile;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::timeout;

use crate::http::answers::{problem, written};
use crate::http::openapi::ask;
use crate::http::stacks::{ANY, WRITES, reaches_within, setup};

in_every_profile! {
    unread_answers_cost_envoy_no_more_than_their_windows
    cancelled_requests_end_no_session
    writes_are_not_retried_even_if_routes_or_clients_say_so
}

const CONNECTIONS: usize = 8;
/// As many as Envoy takes at once on one connection of a client.
const STREAMS: usize = 100;
const SOON: Duration = Duration::from_secs(20);
/// The time in which 500 answers of a megabyte are copied on a slow machine.
const COPYING: Duration = Duration::from_secs(180);

/// Most bytes that one unread answer can hold in Envoy: `initial_stream_window_size` of `sluicegate_http`, or in
/// the cluster's buffer in the relay profile; and Envoy's other allocations: up to 40 KiB,
/// depending on how the answers arrive.
fn bytes_per_answer(profile: Profile) -> u64 {
    match profile {
        Profile::Tunnel => 128 << 10,
        Profile::Relay => 400 << 10,
    }
}

#[expect(clippy::print_stderr, reason = "a figure for the documents")]
async fn unread_answers_cost_envoy_no_more_than_their_windows(profile: Profile) {
    let kafka = Kafka::shared().await.unwrap();
    let topic = kafka.topic("unread", 1, &[]).await.unwrap();
    let stack = one_worker(profile, kafka).await;
    let gateway = stack.gateway();
    let write = |len: usize| Request::post(ANY, vec![b'v'; len]).with("x-kafka-topic", &topic);
    for _ in 0..20 {
        written(&ask(gateway, write(50_000)).await, &topic);
    }
    let session = Session::connect(&stack.url()).await.unwrap();
    let path = format!("/kafka/topics/{topic}/partitions/0/records?offset=0");
    // Memory that the first requests make Envoy allocate is there to stay.
    let warm = (0..50).map(|_| ask(gateway, Request::get(&path)));
    assert!(join_all(warm).await.iter().all(|response| response.body.len() > 200_000));
    let before = stack.envoy().process.usage().unwrap().resident_bytes;

    let mut unread: Vec<ResponseFuture> = Vec::new();
    let mut attackers = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut attacker = connect(&stack).await;
        for _ in 0..STREAMS {
            unread.push(get(&mut attacker, &path).await);
        }
        attackers.push(attacker);
    }
    // The share of one source, of which the bridge answers each.
    reaches_within(COPYING, &stack, "http_responses_total", 500.0).await;
    timeout(SOON, session.ping(b"x".as_slice())).await.expect("an answer").unwrap();
    let bystander = Request::post(ANY, "v").with("x-kafka-topic", &topic);
    let served = timeout(SOON, ask(gateway, bystander)).await.expect("an answer");
    assert_eq!(served.status, 200, "{served:?}");

    let grown = stack.envoy().process.usage().unwrap().resident_bytes.saturating_sub(before);
    let answers = (CONNECTIONS * STREAMS) as u64;
    eprintln!(
        "{}: {answers} unread answers took {} KiB of Envoy each",
        profile.name(),
        grown / answers / 1024
    );
    assert!(grown < answers * bytes_per_answer(profile), "{grown} bytes for {answers} unread answers");
    drop((unread, attackers));
}

async fn cancelled_requests_end_no_session(profile: Profile) {
    let kafka = Kafka::shared().await.unwrap();
    let topic = kafka.topic("cancelled", 1, &[]).await.unwrap();
    let stack = one_worker(profile, kafka).await;
    let session = Session::connect(&stack.url()).await.unwrap();
    let path = format!("/kafka/topics/{topic}/partitions/0/records?offset=0&timeout=30000");
    for _ in 0..100 {
        let mut attacker = connect(&stack).await;
        for _ in 0..STREAMS {
            drop(get(&mut attacker, &path).await);
        }
    }
    timeout(SOON, session.ping(b"x".as_slice())).await.expect("an answer").unwrap();
    let write = Request::post(ANY, "v").with("x-kafka-topic", &topic);
    written(&ask(stack.gateway(), write).await, &topic);
}

/// One client writes more bytes than the queue holds while Kafka acknowledges nothing, at default limits.
#[tokio::test]
async fn writes_that_are_not_acknowledged_leave_room_in_the_queue() {
    let mut kafka = Kafka::start().await.unwrap();
    let topic = kafka.topic("queued", 1, &[]).await.unwrap();
    let stack = one_worker(Profile::Tunnel, &kafka).await;
    let post = |value| Request::post(ANY, value).with("x-kafka-topic", &topic);
    written(&ask(stack.gateway(), post("before")).await, &topic);
    kafka.freeze();
    let mut accepted = 0;
    loop {
        let mut attacker = connect(&stack).await.ready().await.unwrap();
        let request = http::Request::post(format!("http://gateway{ANY}"))
            .header("x-kafka-topic", &topic)
            .header("prefer", "respond-async");
        let (answer, mut body) = attacker.send_request(request.body(()).unwrap(), false).unwrap();
        body.send_data(Bytes::from(vec![b'v'; 1_000_000]), true).unwrap();
        match timeout(SOON, answer).await.expect("an answer").unwrap().status().as_u16() {
            202 => accepted += 1,
            status => break assert_eq!(status, 429),
        }
    }
    assert!((40..=51).contains(&accepted), "of 64 MiB, three quarters: {accepted} MB");
    let bystander = ask(stack.gateway(), post("beside").with("prefer", "respond-async")).await;
    assert_eq!(bystander.status, 202, "{bystander:?}");
}

/// A gateway with all clients on one worker.
async fn one_worker(profile: Profile, kafka: &Kafka) -> Stack {
    let setup = Setup { concurrency: 1, ..setup(profile, kafka, WRITES, "", "") };
    let mut stack = Stack::start(setup).await.unwrap();
    stack.ready_within(Duration::from_secs(30)).await.unwrap();
    stack
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
async fn writes_are_not_retried_even_if_routes_or_clients_say_so(profile: Profile) {
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

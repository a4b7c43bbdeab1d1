//! Finds a cluster through bootstrap servers that are down, under addresses that it does not advertise, and over IPv6.

use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::time::Duration;

use sluicegate_tests::kafka::{Kafka, Listener, Record, Setup, Write};
use sluicegate_tests::port::Port;
use sluicegate_tests::socket::Socket;
use sluicegate_tests::stack::Stack;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::cluster::{gateway, setup};

/// From a new bridge's first fetch to its answer: `socket.timeout.ms` is 5 s, and `socket.connection.setup.timeout.ms` 3 s.
const FOUND_WITHIN: Duration = Duration::from_millis(1_500);
const V6: &str = "V6";

/// One node with a listener on `::1` besides that on 127.0.0.1, and a topic of one record.
async fn kafka() -> (&'static Kafka, &'static str) {
    static KAFKA: OnceCell<(Kafka, String)> = OnceCell::const_new();
    let start = async || {
        let bound = TcpListener::bind((Ipv6Addr::LOCALHOST, 0));
        bound.expect("these tests need IPv6: the address ::1 on the loopback interface");
        let v6 = Listener { name: V6, protocol: "PLAINTEXT", host: "[::1]" };
        let kafka = Kafka::start_with(Setup { listeners: vec![v6], ..Setup::default() }).await.unwrap();
        let topic = kafka.topic("found", 1, &[]).await.unwrap();
        kafka.produce(&topic, 0, &[Record::of("value")], Write::default()).await.unwrap();
        (kafka, topic)
    };
    let (kafka, topic) = KAFKA.get_or_init(start).await;
    (kafka, topic)
}

async fn assert_reads(stack: &Stack, topic: &str) {
    let read = Socket::open(stack).await.fetch(topic, 0, 0).await.unwrap();
    assert_eq!(
        read.iter().map(|message| message.value.as_deref()).collect::<Vec<_>>(),
        [Some(&b"value"[..])]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_working_bootstrap_server_is_enough() {
    let (kafka, topic) = kafka().await;
    let closed = Port::pick().unwrap();
    // The kernel accepts, and nobody answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let down = [closed.address(), silent.local_addr().unwrap()].map(|address| address.to_string());
    let [closed, silent] = &down;
    let works = &kafka.bootstrap();
    for servers in [[closed, silent, works], [silent, works, closed], [works, closed, silent]] {
        let servers = servers.map(String::as_str).join(",");
        let stack = Stack::start(setup(&servers, "", &[])).await.unwrap();
        let start = Instant::now();
        assert_reads(&stack, topic).await;
        let took = start.elapsed();
        assert!(took < FOUND_WITHIN, "{servers}: {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bootstrap_address_is_needed_only_at_first() {
    let (kafka, topic) = kafka().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let inside = kafka.nodes[0].address();
    let forward = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut outer, _)) = listener.accept().await {
            connections.spawn(async move {
                let mut inner = TcpStream::connect(inside).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut outer, &mut inner).await;
            });
        }
    });
    let stack = gateway(&address.to_string(), "", &[]).await;
    assert_reads(&stack, topic).await;
    let connections = |to| stack.bridge.process.connections(to).unwrap().len();
    assert!(connections(address) > 0 && connections(inside) > 0);
    forward.abort();
    assert!(forward.await.unwrap_err().is_cancelled());
    assert_reads(&stack, topic).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka_on_ipv6_is_read_over_ipv6() {
    let (kafka, topic) = kafka().await;
    let servers = kafka.bootstrap_of(V6).unwrap();
    let v6: SocketAddr = servers.parse().unwrap();
    let stack = gateway(&servers, "", &[]).await;
    assert_reads(&stack, topic).await;
    let connections = |to| stack.bridge.process.connections(to).unwrap().len();
    assert!(connections(v6) > 0);
    assert_eq!(connections(kafka.nodes[0].address()), 0);
}

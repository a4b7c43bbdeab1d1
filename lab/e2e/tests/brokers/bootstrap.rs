//! A bootstrap address that is not the address of a broker.

use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::socket::Socket;
use sluicegate_stack::stack::Stack;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::brokers::cluster::gateway;

async fn assert_reads(stack: &Stack, topic: &str) {
    let read = Socket::open(stack).await.fetch(topic, 0, 0).await.unwrap();
    assert_eq!(
        read.iter().map(|message| message.value.as_deref()).collect::<Vec<_>>(),
        [Some(&b"value"[..])]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bootstrap_address_is_needed_only_at_first() {
    let kafka = Kafka::shared().await.unwrap();
    let topic = &kafka.topic("found", 1, &[]).await.unwrap();
    kafka.produce(topic, 0, &[Record::of("value")], Write::default()).await.unwrap();
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

//! The number of the bridge's connections to each broker.

use std::time::Duration;

use futures_util::future::join_all;
use sluicegate_tests::kafka::{Record, Write};
use sluicegate_tests::socket::{Socket, fetch, messages};

use crate::cluster::{NODES, cluster, gateway};

/// Quick ones and those of fetches that wait: crates/reader/src/broker.rs.
const PER_BROKER: usize = 4 + 16;
const SOCKETS: i32 = 64;
const ROUNDS: usize = 20;
/// In each partition.
const RECORDS: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_sockets_share_few_broker_connections() {
    let kafka = cluster().await;
    let topic = &kafka.topic("connections", 6, &[]).await.unwrap();
    for partition in 0..6 {
        let records: Vec<Record> = (0..RECORDS).map(|number| Record::of(format!("{number}"))).collect();
        kafka.produce(topic, partition, &records, Write::default()).await.unwrap();
    }
    let stack = gateway(&kafka.bootstrap(), "", &[]).await;
    let open = || {
        let of = |node: usize| stack.bridge.process.connections(kafka.nodes[node].address()).unwrap().len();
        (0..NODES).map(of).collect::<Vec<_>>()
    };
    let sockets = join_all((0..SOCKETS).map(|_| Socket::open(&stack))).await;
    // Half of the fetches have records to read, half wait for some at the log end.
    let reads = sockets.into_iter().zip(0..).map(async |(mut socket, number)| {
        for _ in 0..ROUNDS {
            let partition = number % 6;
            socket.send(fetch(topic, partition, 0)).await;
            socket.send(fetch(topic, partition, RECORDS as i64)).await;
            let (_, one) = socket.receive().await;
            let (_, other) = socket.receive().await;
            let read = [one, other].map(|answer| messages(answer).unwrap().len());
            assert_eq!(read.into_iter().sum::<usize>(), RECORDS);
        }
    });
    let mut most = vec![0; NODES];
    let count = async {
        loop {
            for (most, open) in most.iter_mut().zip(open()) {
                *most = open.max(*most);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = join_all(reads) => {}
        () = count => {}
    }
    assert!(most.iter().all(|most| (2..=PER_BROKER).contains(most)), "{most:?}");
}

//! Leaders that are killed, restarted and moved while sockets read.

use std::collections::BTreeMap;
use std::time::Duration;

use sluicegate_stack::kafka::{Kafka, Partition};
use sluicegate_stack::socket::Socket;
use sluicegate_stack::stack::Stack;
use tokio::time::Instant;

use crate::brokers::cluster::{ANSWERED_WITHIN, NODES, cluster, gateway, healed};
use crate::brokers::walk::{Walk, Writer, answers};

/// From a partition's new leader to answers at every socket: pauses between attempts are below half a second.
const RECOVERED_WITHIN: Duration = Duration::from_secs(2);

/// A topic, and what writes to it and reads it.
struct Traffic {
    topic: String,
    writers: Vec<Writer>,
    walks: Vec<Walk>,
}

impl Traffic {
    async fn start(kafka: &Kafka, stack: &Stack, partitions: i32, sockets: usize) -> Self {
        let topic = kafka.topic("failover", partitions, &[]).await.unwrap();
        let writers: Vec<Writer> =
            (0..partitions).map(|partition| Writer::start(kafka, &topic, partition)).collect();
        let mut walks = Vec::new();
        for (partition, writer) in (0..partitions).zip(&writers).cycle().take(sockets) {
            walks.push(writer.walk(Socket::open(stack).await, &topic, partition));
        }
        let traffic = Self { topic, writers, walks };
        answers(&traffic.walks, ANSWERED_WITHIN).await;
        traffic
    }

    /// Waits until every partition has another leader than `node`, and every socket an answer of its leader.
    async fn recover_from(&self, kafka: &Kafka, node: usize) -> String {
        let lost = Instant::now();
        let elsewhere = |partition: &Partition| partition.leader.is_some_and(|leader| leader != node);
        let all_elsewhere = |partitions: &[Partition]| partitions.iter().all(elsewhere);
        kafka.partitions_become("elect other leaders", &self.topic, all_elsewhere).await.unwrap();
        let election = lost.elapsed();
        let recovered = answers(&self.walks, RECOVERED_WITHIN).await;
        format!("election {election:.1?}, then answers everywhere after {recovered:.1?}")
    }

    async fn healed(&self, kafka: &Kafka) {
        kafka.partitions_become("heal", &self.topic, healed).await.unwrap();
    }

    /// Every socket gets the last record; what happened on the way is told.
    async fn end(self) {
        let mut written = 0;
        for writer in self.writers {
            written += writer.stop().await;
        }
        let mut errors = BTreeMap::new();
        let mut slowest = Duration::ZERO;
        let sockets = self.walks.len();
        for walk in self.walks {
            slowest = slowest.max(walk.slowest());
            for (error, count) in walk.end().await {
                *errors.entry(error).or_insert(0) += count;
            }
        }
        tell(&format!(
            "{sockets} sockets, {written} records, slowest answer {slowest:.1?}, errors {errors:#?}"
        ));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_arrive_once_while_leaders_die_and_move() {
    let mut kafka = cluster().await;
    let stack = gateway(&kafka.bootstrap(), "", &[]).await;
    let traffic = Traffic::start(&kafka, &stack, 6, 32).await;
    // Each of them leads two partitions, and one of them is the active controller.
    for node in 1..=NODES {
        kafka.nodes[node - 1].process.kill();
        let told = traffic.recover_from(&kafka, node).await;
        tell(&format!("node {node} killed: {told}"));
        kafka.up().await.unwrap();
        traffic.healed(&kafka).await;
    }
    // Every leader goes, and its records with it; then all come back.
    let replicas: Vec<Vec<usize>> =
        kafka.partitions(&traffic.topic).unwrap().into_iter().map(|partition| partition.replicas).collect();
    let others: Vec<&[usize]> = replicas.iter().map(|replicas| &replicas[1..]).collect();
    let all: Vec<&[usize]> = replicas.iter().map(Vec::as_slice).collect();
    for replicas in [others, all] {
        kafka.reassign(&traffic.topic, &replicas).await.unwrap();
        let recovered = answers(&traffic.walks, RECOVERED_WITHIN).await;
        tell(&format!("leaders moved: answers everywhere after {recovered:.1?}"));
    }
    traffic.end().await;
}

#[expect(clippy::print_stderr, reason = "figures for who reads the test's output")]
fn tell(what: &str) {
    eprintln!("{what}");
}

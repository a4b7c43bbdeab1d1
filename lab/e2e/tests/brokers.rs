//! Brokers that fail, restart and move: a real Kafka of three nodes behind a real Envoy and the real bridge.
//!
//! 1. [`failover`]: leaders that die and move while sockets read; [`writes`]: leaders and replicas that die while the
//!    bridge writes
//! 2. [`unclean`]: a log that loses its end
//! 3. [`reads`]: racks, quotas, and a topic that is being created

mod failover;
mod reads;
mod unclean;
mod writes;

use std::time::Duration;

use sluicegate_stack::kafka::{Kafka, Partition};

/// Lets a topic of one partition have two replicas, which are given: its leader, and a follower. Further nodes keep the
/// cluster alive.
async fn two_replicas(kafka: &Kafka, topic: &str) -> (usize, usize) {
    let replicas = kafka.partitions(topic).unwrap().remove(0).replicas;
    let (leader, follower) = (replicas[0], replicas[1]);
    kafka.reassign(topic, &[&[leader, follower]]).await.unwrap();
    (leader, follower)
}

/// Kills the follower, and waits until the leader is alone in sync.
async fn lose(kafka: &mut Kafka, topic: &str, (leader, follower): (usize, usize)) {
    kafka.nodes[follower - 1].process.kill();
    let is_alone = |partitions: &[Partition]| partitions.iter().all(|one| one.in_sync == [leader]);
    kafka.partitions_become("lose a replica", topic, is_alone).await.unwrap();
}

/// Limit for a broker's answer: the default of `socket.timeout.ms`, the 100 ms that a fetch waits for records, and the
/// delays of a busy machine.
const ANSWERED_WITHIN: Duration = Duration::from_millis(5_000 + 100 + 3_000);

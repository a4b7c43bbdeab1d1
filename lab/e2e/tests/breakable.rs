//! The Kafkas that tests break, one test at a time: one of a single node, and one of three.

use sluicegate_soak::live;
use sluicegate_stack::kafka::{Kafka, Partition, Setup};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

/// A single node, which serves clients when this returns. Its topics are those of all tests.
pub(crate) async fn kafka() -> MutexGuard<'static, Kafka> {
    static KAFKA: OnceCell<Mutex<Kafka>> = OnceCell::const_new();
    mended(&KAFKA, Setup::default()).await
}

/// Three nodes, all of which serve clients when this returns. An acknowledged record is on two of them, and so are the ends
/// of transactions.
pub(crate) async fn cluster() -> MutexGuard<'static, Kafka> {
    static KAFKA: OnceCell<Mutex<Kafka>> = OnceCell::const_new();
    let properties = format!("{}{PROPERTIES}", live::PROPERTIES);
    mended(&KAFKA, Setup { nodes: NODES, properties, ..Setup::default() }).await
}

async fn mended(cell: &'static OnceCell<Mutex<Kafka>>, setup: Setup) -> MutexGuard<'static, Kafka> {
    let start = async || Mutex::new(Kafka::start_with(setup).await.unwrap());
    let mut kafka = cell.get_or_init(start).await.lock().await;
    kafka.thaw();
    kafka.up().await.unwrap();
    kafka
}

/// Whether nothing is left of a failure: all nodes have all that was written, and lead what they should.
pub(crate) fn healed(partitions: &[Partition]) -> bool {
    let healed = |partition: &Partition| {
        partition.in_sync.len() == partition.replicas.len()
            && partition.leader == partition.replicas.first().copied()
    };
    partitions.iter().all(healed)
}

/// Lets a topic of one partition have two replicas, which are given: its leader, and a follower. Further nodes keep the
/// cluster alive.
pub(crate) async fn two_replicas(kafka: &Kafka, topic: &str) -> (usize, usize) {
    let replicas = kafka.partitions(topic).unwrap().remove(0).replicas;
    let (leader, follower) = (replicas[0], replicas[1]);
    kafka.reassign(topic, &[&[leader, follower]]).await.unwrap();
    (leader, follower)
}

/// Kills the follower, and waits until the leader is alone in sync.
pub(crate) async fn lose(kafka: &mut Kafka, topic: &str, (leader, follower): (usize, usize)) {
    kafka.nodes[follower - 1].process.kill();
    let is_alone = |partitions: &[Partition]| partitions.iter().all(|one| one.in_sync == [leader]);
    kafka.partitions_become("lose a replica", topic, is_alone).await.unwrap();
}

/// Nodes of the cluster, and replicas of each partition.
const NODES: usize = 3;

const PROPERTIES: &str = "
# A node that was away leads again what it should as soon as it has what it missed.
leader.imbalance.check.interval.seconds=1
leader.imbalance.per.broker.percentage=0
";

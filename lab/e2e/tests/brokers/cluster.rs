//! The shared cluster, which each test repairs before use.

use std::time::Duration;

use sluicegate_stack::envoy::{Profile, plugin, routes};
use sluicegate_stack::kafka::{Kafka, Partition, Setup};
use sluicegate_stack::socket::Socket;
use sluicegate_stack::stack::{self, BridgeConfig, Stack};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

/// Three nodes; all of them serve clients when this returns.
pub(crate) async fn cluster() -> MutexGuard<'static, Kafka> {
    static KAFKA: OnceCell<Mutex<Kafka>> = OnceCell::const_new();
    let start = async || {
        let setup = Setup {
            nodes: NODES,
            properties: PROPERTIES.to_owned(),
            // Logs a node's requests and its answers.
            java: vec!["-Dorg.slf4j.simpleLogger.log.kafka.request.logger=debug".to_owned()],
            ..Setup::default()
        };
        Mutex::new(Kafka::start_with(setup).await.unwrap())
    };
    let mut kafka = KAFKA.get_or_init(start).await.lock().await;
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

/// A gateway that is ready for a fetch. Behind `/pubsub` is the cluster `default` with these properties, lines of TOML;
/// behind a path for each of `others`, a cluster of this name with its own.
pub(crate) async fn gateway(bootstrap: &str, properties: &str, others: &[(&str, &str)]) -> Stack {
    let mut stack = Stack::start(setup(bootstrap, properties, others)).await.unwrap();
    stack.ready_within(Duration::from_secs(30)).await.unwrap();
    stack
}

/// The setup of [`gateway`].
pub(crate) fn setup(bootstrap: &str, properties: &str, others: &[(&str, &str)]) -> stack::Setup {
    let section = |(name, properties): &(&str, &str)| {
        format!("[clusters.{name}]\nbootstrap.servers = {bootstrap:?}\n{properties}\n")
    };
    let sections: String = [&[("default", properties)], others].concat().iter().map(section).collect();
    let paths: Vec<String> = others.iter().map(|(name, _)| format!("/{name}")).collect();
    let object = |(name, _): &(&str, &str)| format!(r#"{{"path": "/{name}", "cluster": "{name}"}}"#);
    let objects: Vec<String> = others.iter().map(object).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let objects: Vec<&str> = objects.iter().map(String::as_str).collect();
    stack::Setup {
        bridge: BridgeConfig::Text(sections),
        envoy_edits: vec![plugin("", &objects), routes(&paths)],
        ..stack::Setup::new(Profile::Tunnel, bootstrap)
    }
}

/// A session on one of the other clusters of [`gateway`].
pub(crate) async fn open(stack: &Stack, cluster: &str) -> Socket {
    Socket::open_at(&format!("ws://{}/{cluster}", stack.gateway())).await
}

/// Nodes of the cluster, and replicas of each partition.
pub(crate) const NODES: usize = 3;

/// Limit for a broker's answer: the default of `socket.timeout.ms`, the 100 ms that a fetch waits for records, and the
/// delays of a busy machine.
pub(crate) const ANSWERED_WITHIN: Duration = Duration::from_millis(5_000 + 100 + 3_000);

const PROPERTIES: &str = "
# KIP-392: a client of a rack is sent to the replica there.
replica.selector.class=org.apache.kafka.common.replica.RackAwareReplicaSelector

# A node that was away leads again what it should as soon as it has what it missed.
leader.imbalance.check.interval.seconds=1
leader.imbalance.per.broker.percentage=0

# A quota over two seconds: clients may be ahead of it by one.
quota.window.num=2
";

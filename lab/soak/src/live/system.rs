//! The messaging systems that are checked: a cluster of three nodes with one topic, or with as many streams as it has
//! partitions.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use sluicegate_protocol::KafkaMessage;
use sluicegate_stack::kafka::{self, Kafka};
use sluicegate_stack::nats::Cluster as NatsCluster;

use super::stream_name::{CHECKED, stream};
use super::writers::{self, Writers};

/// The system to check.
#[derive(Debug, Clone, Copy)]
pub enum System {
    /// Apache Kafka.
    Kafka,
    /// NATS JetStream.
    Nats,
}

/// A running cluster with its logs.
pub(super) enum Cluster {
    Kafka(Kafka, Arc<str>),
    Nats(NatsCluster),
}

/// Logs that subscribers read.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// A topic.
    Topic(Arc<str>),
    /// Streams whose names begin like this, each of which stands for a partition.
    Streams(&'static str),
}

impl System {
    /// Streams keep only a few messages if the cluster `discards`.
    pub(super) async fn start(self, partitions: i32, discards: bool) -> Cluster {
        match self {
            Self::Kafka => {
                let properties = PROPERTIES.to_owned();
                let brokers = kafka::Setup { nodes: 3, properties, ..kafka::Setup::default() };
                let kafka = Kafka::start_with(brokers).await.unwrap();
                let topic = kafka.topic(CHECKED, partitions, &[]).await.unwrap().into();
                Cluster::Kafka(kafka, topic)
            }
            Self::Nats => {
                let cluster = NatsCluster::start().await.unwrap();
                let streams = cluster.streams().await.unwrap();
                let limits = if discards { json!({ "max_msgs": KEPT }) } else { json!({}) };
                for partition in 0..partitions {
                    cluster.create(&streams, &stream(CHECKED, partition), limits.clone()).await.unwrap();
                }
                Cluster::Nats(cluster)
            }
        }
    }
}

impl Cluster {
    /// The keys of its table in the bridge's configuration.
    pub(super) fn keys(&self) -> String {
        match self {
            Self::Kafka(kafka, _) => format!("bootstrap.servers = {:?}\n", kafka.bootstrap()),
            Self::Nats(cluster) => format!("kind = \"nats\"\nservers = {:?}\n", cluster.servers()),
        }
    }

    pub(super) fn source(&self) -> Source {
        match self {
            Self::Kafka(_, topic) => Source::Topic(Arc::clone(topic)),
            Self::Nats(_) => Source::Streams(CHECKED),
        }
    }

    pub(super) fn write(&self, partitions: i32, value: fn(i32, u64) -> String) -> Writers {
        match self {
            Self::Kafka(kafka, topic) => writers::start(kafka, topic, partitions, value),
            Self::Nats(cluster) => {
                let addresses = cluster.nodes.iter().map(sluicegate_stack::nats::Nats::client).collect();
                writers::start_on_streams(addresses, partitions, value)
            }
        }
    }

    pub(super) fn nodes(&self) -> usize {
        match self {
            Self::Kafka(kafka, _) => kafka.nodes.len(),
            Self::Nats(cluster) => cluster.nodes.len(),
        }
    }

    pub(super) fn kill(&mut self, at: usize) {
        match self {
            Self::Kafka(kafka, _) => kafka.nodes.get_mut(at).unwrap().process.kill(),
            Self::Nats(cluster) => cluster.nodes.get_mut(at).unwrap().process.kill(),
        }
    }

    /// Starts a node that was killed, and waits until it serves clients.
    pub(super) async fn up(&mut self, at: usize) {
        match self {
            Self::Kafka(kafka, _) => kafka.up_only(at.saturating_add(1)).await.unwrap(),
            Self::Nats(cluster) => cluster.nodes.get_mut(at).unwrap().up().await.unwrap(),
        }
    }

    pub(super) fn freeze(&mut self, at: usize) {
        match self {
            Self::Kafka(kafka, _) => kafka.nodes.get_mut(at).unwrap().process.freeze(),
            Self::Nats(cluster) => cluster.nodes.get_mut(at).unwrap().process.freeze(),
        }
    }

    pub(super) fn thaw(&mut self, at: usize) {
        match self {
            Self::Kafka(kafka, _) => kafka.nodes.get_mut(at).unwrap().process.thaw(),
            Self::Nats(cluster) => cluster.nodes.get_mut(at).unwrap().process.thaw(),
        }
    }

    /// Discards what a partition has now. False: the cluster cannot do it at the moment.
    pub(super) async fn discard(&self, partition: i32) -> bool {
        match self {
            Self::Kafka(kafka, topic) => match kafka.watermarks(topic, partition) {
                Ok((_, end)) => kafka.delete_records_before(topic, partition, end).await.is_ok(),
                Err(_) => false,
            },
            Self::Nats(cluster) => {
                let streams = cluster.streams().await.unwrap();
                streams
                    .call(&format!("STREAM.PURGE.{}", stream(CHECKED, partition)), &json!({}))
                    .await
                    .is_ok()
            }
        }
    }

    /// Lets all consumers of a stream pause. False: there is none, or the cluster cannot do it at the moment.
    pub(super) async fn pause_consumers(&self, partition: i32) -> bool {
        let Self::Nats(cluster) = self else { return false };
        let (streams, stream) = (cluster.streams().await.unwrap(), stream(CHECKED, partition));
        let Ok(named) = streams.call(&format!("CONSUMER.NAMES.{stream}"), &json!({})).await else {
            return false;
        };
        let names = named.get("consumers").and_then(Value::as_array).into_iter().flatten();
        let mut has_paused = false;
        for name in names.filter_map(Value::as_str) {
            let until = json!({ "pause_until": "2100-01-01T00:00:00Z" });
            has_paused |= streams.call(&format!("CONSUMER.PAUSE.{stream}.{name}"), &until).await.is_ok();
        }
        has_paused
    }

    /// The committed records of each log.
    pub(super) async fn logs(&self, source: &Source, partitions: i32) -> BTreeMap<i32, Vec<KafkaMessage>> {
        let mut logs = BTreeMap::new();
        match (self, source) {
            (Self::Kafka(kafka, _), Source::Topic(topic)) => {
                logs.extend(
                    (0..partitions).map(|partition| (partition, kafka.read_committed(topic, partition))),
                );
            }
            (Self::Nats(cluster), Source::Streams(names)) => {
                let streams = cluster.streams().await.unwrap();
                for partition in 0..partitions {
                    logs.insert(partition, streams.read(&stream(names, partition)).await.unwrap());
                }
            }
            _ => unreachable!("a cluster has sources of its own"),
        }
        logs
    }
}

impl Source {
    /// The offset of the first record.
    pub(super) fn first(&self) -> i64 {
        match self {
            Self::Topic(_) => 0,
            Self::Streams(_) => 1,
        }
    }

    /// The keys with these numbers in each partition, for filters.
    pub(super) fn keys(&self, partitions: i32, numbers: impl Iterator<Item = u64>) -> Vec<Bytes> {
        let keys = numbers.map(writers::key);
        match self {
            Self::Topic(_) => keys.map(Bytes::from).collect(),
            Self::Streams(names) => keys
                .flat_map(|key| {
                    (0..partitions).map(move |number| format!("{}.{key}", stream(names, number)).into())
                })
                .collect(),
        }
    }
}

/// Messages that a stream keeps if it discards: those of a few seconds.
const KEPT: u32 = 30;

/// A record that is acknowledged is on two nodes, and one of them leads next.
/// The same holds for the ends of transactions.
const PROPERTIES: &str = "min.insync.replicas=2
unclean.leader.election.enable=false
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
";

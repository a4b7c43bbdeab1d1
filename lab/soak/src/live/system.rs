//! The messaging systems that are checked: a cluster of three nodes with one topic, or with as many streams as it has
//! partitions.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use serde_json::{Value, json};
use sluicegate_protocol::KafkaMessage;
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::nats::Cluster as NatsCluster;
use sluicegate_stack::process::Process;

use super::writers::Sink;
use crate::clients::source::{Source, stream};

pub enum System<'a> {
    /// Apache Kafka: three nodes with [`PROPERTIES`], which the check breaks.
    Kafka(&'a mut Kafka),
    /// NATS JetStream, in a cluster of the check's own.
    Nats,
}

pub(super) enum Cluster<'a> {
    /// With the topic that is checked.
    Kafka(&'a mut Kafka, Arc<str>),
    Nats(NatsCluster),
}

impl<'a> System<'a> {
    /// Streams keep only a few messages if the cluster `discards`.
    pub(super) async fn start(self, partitions: i32, discards: bool) -> Cluster<'a> {
        match self {
            Self::Kafka(kafka) => {
                let topic = kafka.topic(CHECKED, partitions, &[]).await.unwrap();
                Cluster::Kafka(kafka, topic.into())
            }
            Self::Nats => {
                let cluster = Cluster::Nats(NatsCluster::start().await.unwrap());
                let limits = if discards { json!({ "max_msgs": KEPT }) } else { json!({}) };
                cluster.create(CHECKED, partitions, &[], limits).await;
                cluster
            }
        }
    }
}

impl Cluster<'_> {
    /// Creates a topic with these settings, whose name begins with `name`, or streams with these limits.
    pub(super) async fn create(
        &self,
        name: &'static str,
        partitions: i32,
        settings: &[(&str, &str)],
        limits: Value,
    ) -> Source {
        match self {
            Self::Kafka(kafka, _) => {
                Source::Topic(kafka.topic(name, partitions, settings).await.unwrap().into())
            }
            Self::Nats(cluster) => {
                let streams = cluster.streams().await.unwrap();
                for partition in 0..partitions {
                    cluster.create(&streams, &stream(name, partition), limits.clone()).await.unwrap();
                }
                Source::Streams(name)
            }
        }
    }

    /// The keys of its table in the bridge's configuration.
    pub(super) fn keys(&self) -> String {
        match self {
            Self::Kafka(kafka, _) => format!("bootstrap.servers = {:?}\n", kafka.bootstrap()),
            Self::Nats(cluster) => format!("kind = \"nats\"\nservers = {:?}\n", cluster.servers()),
        }
    }

    pub(super) fn source(&self) -> Source {
        match self {
            Self::Kafka(_, name) => Source::Topic(Arc::clone(name)),
            Self::Nats(_) => Source::Streams(CHECKED),
        }
    }

    /// Where writers write to this source.
    pub(super) async fn sink(&self, source: &Source) -> Sink {
        let name = source.name().into();
        match self {
            Self::Kafka(kafka, _) => Sink::topic(kafka, name),
            Self::Nats(cluster) => Sink::Streams(cluster.streams().await.unwrap().into(), name),
        }
    }

    pub(super) fn node(&mut self, at: usize) -> &mut Process {
        match self {
            Self::Kafka(kafka, _) => &mut kafka.nodes.get_mut(at).unwrap().process,
            Self::Nats(cluster) => &mut cluster.nodes.get_mut(at).unwrap().process,
        }
    }

    /// Starts a node that was killed, and waits until it serves clients.
    pub(super) async fn up(&mut self, at: usize) {
        match self {
            Self::Kafka(kafka, _) => kafka.up_only(at.saturating_add(1)).await.unwrap(),
            Self::Nats(cluster) => cluster.nodes.get_mut(at).unwrap().up().await.unwrap(),
        }
    }

    /// The start and the end of a log. None: they are not known at the moment.
    pub(super) async fn bounds(&self, source: &Source, partition: i32) -> Option<Range<i64>> {
        match self {
            Self::Kafka(kafka, _) => {
                let (start, end) = kafka.watermarks(source.name(), partition).ok()?;
                Some(start..end)
            }
            Self::Nats(cluster) => {
                let info = format!("STREAM.INFO.{}", stream(source.name(), partition));
                let info = cluster.streams().await.unwrap().call(&info, &json!({})).await.ok()?;
                let sequence = |name: &str| info.get("state")?.get(name)?.as_i64();
                Some(sequence("first_seq")?..sequence("last_seq")?)
            }
        }
    }

    /// Deletes the records of a log before this one, or all of them. False: the cluster cannot do it at the moment.
    pub(super) async fn delete(&self, source: &Source, partition: i32, before: Option<i64>) -> bool {
        match self {
            Self::Kafka(kafka, _) => {
                let end = || kafka.watermarks(source.name(), partition).ok().map(|(_, end)| end);
                let Some(before) = before.or_else(end) else { return false };
                kafka.delete_records_before(source.name(), partition, before).await.is_ok()
            }
            Self::Nats(cluster) => {
                let purge = format!("STREAM.PURGE.{}", stream(source.name(), partition));
                let before = before.map_or(json!({}), |before| json!({ "seq": before }));
                cluster.streams().await.unwrap().call(&purge, &before).await.is_ok()
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
        let cluster = match self {
            Self::Kafka(kafka, _) => return kafka.read_all_committed(source.name(), partitions),
            Self::Nats(cluster) => cluster,
        };
        let mut logs = BTreeMap::new();
        for partition in 0..partitions {
            let stream = stream(source.name(), partition);
            logs.insert(partition, cluster.streams().await.unwrap().read(&stream).await.unwrap());
        }
        logs
    }
}

pub(super) const NODES: usize = 3;

/// The topic that is checked record by record, and the beginning of the names of such streams.
pub(super) const CHECKED: &str = "checked";

/// Messages that a stream keeps if it discards: those of a few seconds.
const KEPT: u32 = 30;

/// A record that is acknowledged is on two nodes, and one of them leads next.
/// The same holds for the ends of transactions, and for commits of groups.
pub const PROPERTIES: &str = "min.insync.replicas=2
unclean.leader.election.enable=false
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
offsets.topic.replication.factor=3
";

//! Metadata: the brokers, and the leaders of some topics or the names of all.

use std::ops::RangeInclusive;

use kafka_protocol::messages::{ApiKey, metadata_request};

use super::{Api, topic_name};
use crate::error::ErrorCode;
use crate::wire::{Wire, WireError};

/// Requests the brokers and some topics. Never creates a topic.
pub(crate) struct MetadataRequest {
    /// `None`: all topics that the user can see, by name only.
    pub(crate) topics: Option<Vec<String>>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct MetadataAnswer {
    /// The cluster's name for itself; `None`: it has none.
    pub(crate) cluster_id: Option<String>,
    /// Node id, host, port.
    pub(crate) brokers: Vec<(i32, String, i32)>,
    pub(crate) topics: Vec<TopicAnswer>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TopicAnswer {
    pub(crate) error: Option<ErrorCode>,
    pub(crate) name: String,
    /// Whether it is one of Kafka's internal topics.
    pub(crate) internal: bool,
    /// Distinguishes it from others of the same name (KIP-516); `None` from brokers before Kafka 2.8.
    pub(crate) id: Option<u128>,
    pub(crate) partitions: Vec<PartitionAnswer>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartitionAnswer {
    pub(crate) error: Option<ErrorCode>,
    pub(crate) partition: i32,
    /// Node id; −1 without a leader.
    pub(crate) leader: i32,
    /// −1 if the version has no epochs.
    pub(crate) epoch: i32,
    pub(crate) replicas: Box<[Replica]>,
}

/// A broker with a copy of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replica {
    /// The broker's id.
    pub broker: i32,
    /// Whether it has all acknowledged records.
    pub in_sync: bool,
}

impl Api for MetadataRequest {
    const KEY: ApiKey = ApiKey::Metadata;
    /// Since version 4 a client can disable the creation of topics.
    const VERSIONS: RangeInclusive<i16> = 4..=12;
    const FLEXIBLE: i16 = 9;
    type Body = metadata_request::MetadataRequest;
    type Answer = MetadataAnswer;

    fn body(&self, _version: i16) -> metadata_request::MetadataRequest {
        let topic = |name: &String| {
            metadata_request::MetadataRequestTopic::default().with_name(Some(topic_name(name)))
        };
        // An empty list requests no topic, null requests all.
        metadata_request::MetadataRequest::default()
            .with_topics(self.topics.as_ref().map(|names| names.iter().map(topic).collect()))
            .with_allow_auto_topic_creation(false)
    }

    fn decode(&self, wire: &mut Wire, version: i16) -> Result<MetadataAnswer, WireError> {
        let mut answer = MetadataAnswer::default();
        wire.take_throttle_time(version >= 6)?;
        for _ in 0..wire.array(9)? {
            let broker = (wire.i32()?, wire.string()?, wire.i32()?);
            wire.string()?; // rack
            wire.end()?;
            answer.brokers.push(broker);
        }
        answer.cluster_id = Some(wire.string()?).filter(|id| !id.is_empty());
        wire.i32()?; // controller
        for _ in 0..wire.array(5)? {
            let mut topic = topic(wire, version)?;
            if self.topics.is_none() {
                topic.partitions = Vec::new();
            }
            answer.topics.push(topic);
        }
        // The remaining fields are not used.
        Ok(answer)
    }
}

fn topic(wire: &mut Wire, version: i16) -> Result<TopicAnswer, WireError> {
    let error = ErrorCode::of(wire.i16()?);
    let name = wire.string()?;
    let id = if version >= 10 { wire.uuid()? } else { None };
    let internal = wire.i8()? != 0;
    let mut partitions = Vec::new();
    for _ in 0..wire.array(10)? {
        partitions.push(partition(wire, version)?);
    }
    if version >= 8 {
        wire.i32()?; // authorized operations
    }
    wire.end()?;
    Ok(TopicAnswer { error, name, internal, id, partitions })
}

fn partition(wire: &mut Wire, version: i16) -> Result<PartitionAnswer, WireError> {
    let error = ErrorCode::of(wire.i16()?);
    let partition = wire.i32()?;
    let leader = wire.i32()?;
    let epoch = if version >= 7 { wire.i32()? } else { -1 };
    let replicas = nodes(wire)?;
    let mut in_sync = nodes(wire)?;
    in_sync.sort_unstable();
    if version >= 5 {
        nodes(wire)?; // offline
    }
    wire.end()?;
    let replica = |broker: i32| Replica { broker, in_sync: in_sync.binary_search(&broker).is_ok() };
    let replicas = replicas.into_iter().map(replica).collect();
    Ok(PartitionAnswer { error, partition, leader, epoch, replicas })
}

fn nodes(wire: &mut Wire) -> Result<Vec<i32>, WireError> {
    (0..wire.array(4)?).map(|_| wire.i32()).collect()
}

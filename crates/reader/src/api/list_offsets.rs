//! ListOffsets: offsets of some partitions of a broker, by timestamp.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{ApiKey, list_offsets_request as body};
use sluicegate_shared_log::MAX_TIMESTAMP;

use super::{Api, topic_name};
use crate::error::ErrorCode;
use crate::wire::{Wire, WireError};

pub(crate) struct ListOffsetsRequest {
    /// Whether a log ends where its first open transaction begins (isolation level read_committed).
    pub(crate) committed: bool,
    /// In order, and each partition once: brokers answer the same partition a second time with an error.
    pub(crate) partitions: Vec<AskedOffset>,
}

/// The offset that is asked for of one partition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AskedOffset {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    /// Milliseconds; −1: the log end, −2: the log start, −3: the record with the latest timestamp.
    pub(crate) timestamp: i64,
    /// The leader epoch from the metadata; −1 if unknown. A leader of another epoch answers with an error.
    pub(crate) leader_epoch: i32,
}

/// By topic and partition: each that was asked for.
pub(crate) type ListOffsetsAnswer = BTreeMap<(String, i32), AnsweredOffset>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AnsweredOffset {
    pub(crate) error: Option<ErrorCode>,
    /// The record's; −1 for an end of the log.
    pub(crate) timestamp: i64,
    /// −1 if there is none.
    pub(crate) offset: i64,
}

impl Api for ListOffsetsRequest {
    const KEY: ApiKey = ApiKey::ListOffsets;
    /// Version 2 added isolation levels.
    const VERSIONS: RangeInclusive<i16> = 2..=7;
    const FLEXIBLE: i16 = 6;
    type Body = body::ListOffsetsRequest;
    type Answer = ListOffsetsAnswer;

    fn body(&self, _version: i16) -> body::ListOffsetsRequest {
        let partition = |asked: &AskedOffset| {
            body::ListOffsetsPartition::default()
                .with_partition_index(asked.partition)
                .with_current_leader_epoch(asked.leader_epoch)
                .with_timestamp(asked.timestamp)
        };
        let topic = |asked: &[AskedOffset]| {
            let name = asked.first().map(|first| topic_name(&first.topic)).unwrap_or_default();
            body::ListOffsetsTopic::default()
                .with_name(name)
                .with_partitions(asked.iter().map(partition).collect())
        };
        let topics = self.partitions.chunk_by(|one, next| one.topic == next.topic).map(topic);
        body::ListOffsetsRequest::default()
            .with_replica_id((-1).into())
            .with_isolation_level(self.committed.into())
            .with_topics(topics.collect())
    }

    fn decode(&self, wire: &mut Wire, version: i16) -> Result<ListOffsetsAnswer, WireError> {
        wire.take_throttle_time(version >= 3)?;
        let mut answered = ListOffsetsAnswer::new();
        for _ in 0..wire.array(3)? {
            let topic = wire.string()?;
            for _ in 0..wire.array(22)? {
                let partition = wire.i32()?;
                let error = ErrorCode::of(wire.i16()?);
                let timestamp = wire.i64()?;
                let offset = wire.i64()?;
                if version >= 4 {
                    wire.i32()?; // leader epoch
                }
                wire.end()?;
                answered.insert((topic.clone(), partition), AnsweredOffset { error, timestamp, offset });
            }
            wire.end()?;
        }
        let asked = self.partitions.iter().map(|AskedOffset { topic, partition, timestamp, .. }| {
            let (place, mut answer) =
                answered.remove_entry(&(topic.clone(), *partition)).ok_or(WireError::Partition)?;
            // KIP-734: brokers before Kafka 3.0 take −3 for a time, before every record.
            if *timestamp == MAX_TIMESTAMP && version < 7 {
                answer.error = answer.error.or(Some(ErrorCode(ResponseError::UnsupportedVersion)));
            }
            Ok((place, answer))
        });
        asked.collect()
    }
}

//! ListOffsets: an offset of one partition, by timestamp.

use std::ops::RangeInclusive;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{ApiKey, list_offsets_request};

use super::request::{Api, topic_name};
use crate::error_code::ErrorCode;
use crate::wire::{Wire, WireError};

pub(crate) struct ListOffsetsRequest<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    /// The leader epoch from the metadata; −1 if unknown. A leader of another epoch rejects the request.
    pub(crate) leader_epoch: i32,
    /// Milliseconds; −1: the log end, −2: the log start, −3: the record with the latest timestamp.
    pub(crate) timestamp: i64,
    /// Whether the log ends where its first open transaction begins (isolation level read_committed).
    pub(crate) committed: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ListOffsetsAnswer {
    pub(crate) error: Option<ErrorCode>,
    /// The record's; −1 for an end of the log.
    pub(crate) timestamp: i64,
    /// −1 if there is none.
    pub(crate) offset: i64,
}

impl Api for ListOffsetsRequest<'_> {
    const KEY: ApiKey = ApiKey::ListOffsets;
    /// Version 2 added isolation levels.
    const VERSIONS: RangeInclusive<i16> = 2..=7;
    const FLEXIBLE: i16 = 6;
    type Body = list_offsets_request::ListOffsetsRequest;
    type Answer = ListOffsetsAnswer;

    fn body(&self, _version: i16) -> list_offsets_request::ListOffsetsRequest {
        let partition = list_offsets_request::ListOffsetsPartition::default()
            .with_partition_index(self.partition)
            .with_current_leader_epoch(self.leader_epoch)
            .with_timestamp(self.timestamp);
        let topic = list_offsets_request::ListOffsetsTopic::default()
            .with_name(topic_name(self.topic))
            .with_partitions(vec![partition]);
        list_offsets_request::ListOffsetsRequest::default()
            .with_replica_id((-1).into())
            .with_isolation_level(self.committed.into())
            .with_topics(vec![topic])
    }

    fn decode(&self, wire: &mut Wire, version: i16) -> Result<ListOffsetsAnswer, WireError> {
        wire.take_throttle_time(version >= 3)?;
        // Brokers before Kafka 3.0 take −3 for a time, before every record.
        let is_unsupported = self.timestamp == MAX_TIMESTAMP && version < 7;
        let unsupported = is_unsupported.then_some(ErrorCode(ResponseError::UnsupportedVersion));
        let mut found = None;
        for _ in 0..wire.array(3)? {
            let topic = wire.string()?;
            for _ in 0..wire.array(22)? {
                let partition = wire.i32()?;
                let error = ErrorCode::of(wire.i16()?).or(unsupported);
                let timestamp = wire.i64()?;
                let offset = wire.i64()?;
                if version >= 4 {
                    wire.i32()?; // leader epoch
                }
                wire.end()?;
                if topic == self.topic && partition == self.partition {
                    found = Some(ListOffsetsAnswer { error, timestamp, offset });
                }
            }
            wire.end()?;
        }
        found.ok_or(WireError::Partition)
    }
}

/// The timestamp that asks for the record with the latest one (KIP-734).
pub(crate) const MAX_TIMESTAMP: i64 = -3;

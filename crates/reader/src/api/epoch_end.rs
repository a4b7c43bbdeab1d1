//! OffsetForLeaderEpoch: up to which offset a log still has what was written under a leader epoch.

use std::ops::RangeInclusive;

use kafka_protocol::messages::{ApiKey, offset_for_leader_epoch_request as body};

use super::{Api, topic_name};
use crate::error::ErrorCode;
use crate::wire::{Wire, WireError};

pub(crate) struct EpochEndRequest<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    /// The leader epoch from the metadata; −1 if unknown. A leader of another epoch rejects the request.
    pub(crate) leader_epoch: i32,
    /// The epoch that is asked about.
    pub(crate) epoch: i32,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EpochEndAnswer {
    pub(crate) error: Option<ErrorCode>,
    /// The offset after the last record of this epoch, or of the last one before it that the log has; −1 if it has
    /// none.
    pub(crate) offset: i64,
}

impl Api for EpochEndRequest<'_> {
    const KEY: ApiKey = ApiKey::OffsetForLeaderEpoch;
    /// Since version 3, clients need no more rights than for reading (KIP-320).
    const VERSIONS: RangeInclusive<i16> = 3..=4;
    const FLEXIBLE: i16 = 4;
    type Body = body::OffsetForLeaderEpochRequest;
    type Answer = EpochEndAnswer;

    fn body(&self, _version: i16) -> body::OffsetForLeaderEpochRequest {
        let partition = body::OffsetForLeaderPartition::default()
            .with_partition(self.partition)
            .with_current_leader_epoch(self.leader_epoch)
            .with_leader_epoch(self.epoch);
        let topic = body::OffsetForLeaderTopic::default()
            .with_topic(topic_name(self.topic))
            .with_partitions(vec![partition]);
        body::OffsetForLeaderEpochRequest::default().with_replica_id((-1).into()).with_topics(vec![topic])
    }

    fn decode(&self, wire: &mut Wire, _version: i16) -> Result<EpochEndAnswer, WireError> {
        wire.take_throttle_time(true)?;
        let mut found = None;
        for _ in 0..wire.array(3)? {
            let topic = wire.string()?;
            for _ in 0..wire.array(18)? {
                let error = ErrorCode::of(wire.i16()?);
                let partition = wire.i32()?;
                wire.i32()?; // the epoch that was found
                let offset = wire.i64()?;
                wire.end()?;
                if topic == self.topic && partition == self.partition {
                    found = Some(EpochEndAnswer { error, offset });
                }
            }
            wire.end()?;
        }
        found.ok_or(WireError::Partition)
    }
}

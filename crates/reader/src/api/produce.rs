//! Produce: one batch for one partition.

use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, produce_request as body};
use uuid::Uuid;

use super::{Api, millis, topic_name};
use crate::error::ErrorCode;
use crate::wire::{Wire, WireError};

pub(crate) struct ProduceRequest<'a> {
    pub(crate) topic: &'a str,
    /// None: brokers of the cluster give topics no ids.
    pub(crate) topic_id: Option<u128>,
    pub(crate) partition: i32,
    /// The time that the leader waits for all replicas in sync.
    pub(crate) timeout: Duration,
    pub(crate) batch: &'a Bytes,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ProduceAnswer {
    pub(crate) error: Option<ErrorCode>,
    /// The offset of the first record; −1 if the leader does not know it.
    pub(crate) offset: i64,
    /// The leader's time of writing. −1 if the records keep their own, unless the batch was there already: it has the
    /// latest of its records then.
    pub(crate) appended_at: i64,
    /// The places of records that the leader does not accept, if it tells.
    pub(crate) invalid: Vec<usize>,
}

impl Api for ProduceRequest<'_> {
    const KEY: ApiKey = ApiKey::Produce;
    const VERSIONS: RangeInclusive<i16> = 3..=13;
    const FLEXIBLE: i16 = 9;
    type Body = body::ProduceRequest;
    type Answer = ProduceAnswer;

    /// Since version 13, topics have their ids (KIP-516).
    fn max_version(&self) -> i16 {
        if self.topic_id.is_some() { 13 } else { 12 }
    }

    fn body(&self, version: i16) -> body::ProduceRequest {
        let partition = body::PartitionProduceData::default()
            .with_index(self.partition)
            .with_records(Some(self.batch.clone()));
        let topic = body::TopicProduceData::default().with_partition_data(vec![partition]);
        let topic = match self.topic_id {
            Some(id) if version >= WITH_ID => topic.with_topic_id(Uuid::from_u128(id)),
            _ => topic.with_name(topic_name(self.topic)),
        };
        body::ProduceRequest::default()
            .with_acks(ALL_IN_SYNC)
            .with_timeout_ms(millis(self.timeout))
            .with_topic_data(vec![topic])
    }

    fn decode(&self, wire: &mut Wire, version: i16) -> Result<ProduceAnswer, WireError> {
        let mut found = None;
        for _ in 0..wire.array(3)? {
            let is_topic =
                if version >= WITH_ID { wire.uuid()? == self.topic_id } else { wire.string()? == self.topic };
            for _ in 0..wire.array(22)? {
                let partition = wire.i32()?;
                let error = ErrorCode::of(wire.i16()?);
                let (offset, appended_at) = (wire.i64()?, wire.i64()?);
                if version >= 5 {
                    wire.i64()?; // where the log starts
                }
                let mut invalid = Vec::new();
                if version >= 8 {
                    for _ in 0..wire.array(6)? {
                        invalid.extend(usize::try_from(wire.i32()?));
                        wire.string()?; // its error
                        wire.end()?;
                    }
                    wire.string()?; // the error's message
                }
                wire.end()?;
                if is_topic && partition == self.partition {
                    found = Some(ProduceAnswer { error, offset, appended_at, invalid });
                }
            }
            wire.end()?;
        }
        wire.take_throttle_time(version >= 6)?;
        wire.end()?;
        found.ok_or(WireError::Partition)
    }
}

const WITH_ID: i16 = 13;
/// `acks=all`.
const ALL_IN_SYNC: i16 = -1;

//! DescribeProducers: the idempotent producers that a partition knows (KIP-664).

use std::collections::HashMap;
use std::ops::RangeInclusive;

use kafka_protocol::messages::{ApiKey, describe_producers_request as body};

use super::{Api, topic_name};
use crate::error::ErrorCode;
use crate::wire::{Wire, WireError};

pub(crate) struct DescribeProducersRequest<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    /// Producers with lower ids are left out of the answer.
    pub(crate) from_id: i64,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DescribeProducersAnswer {
    pub(crate) error: Option<ErrorCode>,
    pub(crate) producers: HashMap<i64, KnownProducer>,
}

/// A producer as the leader of a partition knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownProducer {
    /// Its latest epoch.
    pub epoch: i16,
    /// The sequence of its last record; −1 if it has none in this epoch.
    pub last_sequence: i32,
    /// The time of its last batch: the latest of the records' timestamps, in milliseconds since 1970.
    pub last_timestamp: i64,
}

impl Api for DescribeProducersRequest<'_> {
    const KEY: ApiKey = ApiKey::DescribeProducers;
    const VERSIONS: RangeInclusive<i16> = 0..=0;
    const FLEXIBLE: i16 = 0;
    type Body = body::DescribeProducersRequest;
    type Answer = DescribeProducersAnswer;

    fn body(&self, _version: i16) -> body::DescribeProducersRequest {
        let topic = body::TopicRequest::default()
            .with_name(topic_name(self.topic))
            .with_partition_indexes(vec![self.partition]);
        body::DescribeProducersRequest::default().with_topics(vec![topic])
    }

    fn decode(&self, wire: &mut Wire, _version: i16) -> Result<DescribeProducersAnswer, WireError> {
        wire.take_throttle_time(true)?;
        let mut found = None;
        for _ in 0..wire.array(3)? {
            let is_topic = wire.string()? == self.topic;
            for _ in 0..wire.array(9)? {
                let is_asked = wire.i32()? == self.partition && is_topic;
                let error = ErrorCode::of(wire.i16()?);
                wire.string()?; // the error's message
                let mut producers = HashMap::new();
                for _ in 0..wire.array(PRODUCER_BYTES)? {
                    let id = wire.i64()?;
                    let epoch = i16::try_from(wire.i32()?).unwrap_or(i16::MAX);
                    let (last_sequence, last_timestamp) = (wire.i32()?, wire.i64()?);
                    wire.skip(12)?; // the coordinator's epoch, and where a transaction begins
                    wire.end()?;
                    if id >= self.from_id {
                        producers.insert(id, KnownProducer { epoch, last_sequence, last_timestamp });
                    }
                }
                wire.end()?;
                if is_asked {
                    found = Some(DescribeProducersAnswer { error, producers });
                }
            }
            wire.end()?;
        }
        found.ok_or(WireError::Partition)
    }
}

/// The bytes of a producer in the answer.
const PRODUCER_BYTES: usize = 37;

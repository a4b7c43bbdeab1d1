//! Fetch: the record batches of one partition from an offset on.

use std::ops::RangeInclusive;

use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, fetch_request};

use super::{Api, topic_name};
use crate::error::ErrorCode;
use crate::wire::{Wire, WireError};

pub(crate) struct FetchRequest<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    /// What is known of the leader, −1 where nothing is; another leader refuses.
    pub(crate) leader_epoch: i32,
    pub(crate) offset: i64,
    /// The broker exceeds it only to return one whole batch.
    pub(crate) max_bytes: i32,
    /// Milliseconds to wait for a first byte.
    pub(crate) max_wait: i32,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FetchAnswer {
    pub(crate) error: Option<ErrorCode>,
    /// The log end as far as consumers may see it; −1 with some errors.
    pub(crate) high_watermark: i64,
    /// Whole batches, the last of which may be cut off.
    pub(crate) records: Bytes,
}

impl Api for FetchRequest<'_> {
    const KEY: ApiKey = ApiKey::Fetch;
    /// From 4 on batches have magic 2; from 13 on topics have ids in place of names.
    const VERSIONS: RangeInclusive<i16> = 4..=12;
    const FLEXIBLE: i16 = 12;
    type Body = fetch_request::FetchRequest;
    type Answer = FetchAnswer;

    fn body(&self, _version: i16) -> fetch_request::FetchRequest {
        let partition = fetch_request::FetchPartition::default()
            .with_partition(self.partition)
            .with_current_leader_epoch(self.leader_epoch)
            .with_fetch_offset(self.offset)
            .with_partition_max_bytes(self.max_bytes);
        let topic = fetch_request::FetchTopic::default()
            .with_topic(topic_name(self.topic))
            .with_partitions(vec![partition]);
        // KIP-227: session 0 with epoch −1 is a full fetch outside of any session.
        fetch_request::FetchRequest::default()
            .with_replica_id((-1).into())
            .with_max_wait_ms(self.max_wait)
            .with_min_bytes(1)
            .with_max_bytes(self.max_bytes)
            .with_session_id(0)
            .with_session_epoch(-1)
            .with_topics(vec![topic])
    }

    fn decode(&self, wire: &mut Wire, version: i16) -> Result<FetchAnswer, WireError> {
        wire.i32()?; // throttle time
        if version >= 7 {
            let error = ErrorCode::of(wire.i16()?);
            wire.i32()?; // session
            if error.is_some() {
                return Ok(FetchAnswer { error, high_watermark: -1, records: Bytes::new() });
            }
        }
        let mut found = None;
        for _ in 0..wire.array(3)? {
            let topic = wire.string()?;
            for _ in 0..wire.array(22)? {
                let (partition, answer) = partition(wire, version)?;
                if topic == self.topic && partition == self.partition {
                    found = Some(answer);
                }
            }
            wire.end()?;
        }
        found.ok_or(WireError::Partition)
    }
}

fn partition(wire: &mut Wire, version: i16) -> Result<(i32, FetchAnswer), WireError> {
    let partition = wire.i32()?;
    let error = ErrorCode::of(wire.i16()?);
    let high_watermark = wire.i64()?;
    wire.i64()?; // last stable offset
    if version >= 5 {
        wire.i64()?; // log start offset
    }
    for _ in 0..wire.array(16)? {
        wire.skip(16)?; // an aborted transaction
        wire.end()?;
    }
    if version >= 11 {
        wire.i32()?; // preferred read replica
    }
    let records = wire.bytes()?;
    wire.end()?;
    Ok((partition, FetchAnswer { error, high_watermark, records }))
}

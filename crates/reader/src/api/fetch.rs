//! Fetch: the record batches of one partition from an offset on.

use std::ops::RangeInclusive;

use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, fetch_request};
use kafka_protocol::protocol::StrBytes;

use super::request::{Api, TopicId, topic_name};
use crate::error_code::ErrorCode;
use crate::wire::{Wire, WireError};

pub(crate) struct FetchRequest<'a> {
    pub(crate) topic: &'a str,
    /// Brokers that support ids reject another topic of the same name.
    pub(crate) topic_id: Option<TopicId>,
    pub(crate) partition: i32,
    /// The leader epoch from the metadata; −1 if unknown. A leader of another epoch rejects the request.
    pub(crate) leader_epoch: i32,
    pub(crate) offset: i64,
    /// The broker exceeds it only to return one whole batch.
    pub(crate) max_bytes: i32,
    /// How long the broker waits for a first byte, in milliseconds.
    pub(crate) max_wait: i32,
    /// The rack of this client, for which the leader chooses its preferred replica; `None` if the leader must answer itself.
    pub(crate) rack: Option<StrBytes>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FetchAnswer {
    pub(crate) error: Option<ErrorCode>,
    /// The id of the topic that was read; `None` in versions with names only, which a recreated topic can have, too.
    pub(crate) topic_id: Option<TopicId>,
    /// The log end that consumers can see; −1 with some errors.
    pub(crate) high_watermark: i64,
    /// The node id of the replica to fetch from (KIP-392); the response has no records then.
    pub(crate) preferred_read_replica: Option<i32>,
    /// Record batches; the last one can be truncated.
    pub(crate) records: Bytes,
}

impl Api for FetchRequest<'_> {
    const KEY: ApiKey = ApiKey::Fetch;
    /// Since version 4 batches have magic 2, since 11 the leader names preferred replicas, since 13 topics have ids instead of
    /// names. Versions 14 to 18 add tagged fields that are for followers or unused here.
    const VERSIONS: RangeInclusive<i16> = 4..=18;
    const FLEXIBLE: i16 = 12;
    type Body = fetch_request::FetchRequest;
    type Answer = FetchAnswer;

    fn max_version(&self) -> i16 {
        match (&self.rack, self.topic_id) {
            (Some(_), Some(_)) => *Self::VERSIONS.end(),
            (Some(_), None) => NAMES,
            (None, _) => LEADER_ONLY,
        }
    }

    fn body(&self, version: i16) -> fetch_request::FetchRequest {
        let partition = fetch_request::FetchPartition::default()
            .with_partition(self.partition)
            .with_current_leader_epoch(self.leader_epoch)
            .with_fetch_offset(self.offset)
            .with_partition_max_bytes(self.max_bytes);
        let mut topic = fetch_request::FetchTopic::default().with_partitions(vec![partition]);
        match self.topic_id {
            Some(id) if version > NAMES => topic = topic.with_topic_id(uuid::Uuid::from_u128(id.get())),
            _ => topic = topic.with_topic(topic_name(self.topic)),
        }
        // KIP-227: session 0 with epoch −1 is a full fetch outside of any session.
        fetch_request::FetchRequest::default()
            .with_replica_id((-1).into())
            .with_max_wait_ms(self.max_wait)
            .with_min_bytes(1)
            .with_max_bytes(self.max_bytes)
            .with_session_id(0)
            .with_session_epoch(-1)
            .with_topics(vec![topic])
            .with_rack_id(self.rack.clone().unwrap_or_default())
    }

    fn decode(&self, wire: &mut Wire, version: i16) -> Result<FetchAnswer, WireError> {
        wire.take_throttle_time(version >= 8)?;
        let topic_id = self.topic_id.filter(|_| version > NAMES);
        if version >= 7 {
            let error = ErrorCode::of(wire.i16()?);
            wire.i32()?; // session
            if error.is_some() {
                let records = Bytes::new();
                return Ok(FetchAnswer {
                    error,
                    topic_id,
                    high_watermark: -1,
                    preferred_read_replica: None,
                    records,
                });
            }
        }
        let topics = wire.array(3)?;
        // KIP-219: a broker answers a fetch over the quota at once, without the partition.
        if topics == 0 && !wire.throttle_time().is_zero() {
            return Err(WireError::Throttled(wire.throttle_time()));
        }
        let mut found = None;
        for _ in 0..topics {
            let ours = match version {
                ..=NAMES => wire.string()? == self.topic,
                _ => wire.uuid()? == self.topic_id,
            };
            for _ in 0..wire.array(22)? {
                let (partition, answer) = partition(wire, version)?;
                if ours && partition == self.partition {
                    found = Some(FetchAnswer { topic_id, ..answer });
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
    let preferred_read_replica =
        if version >= 11 { Some(wire.i32()?).filter(|node| *node >= 0) } else { None };
    let records = wire.bytes()?;
    wire.end()?;
    Ok((partition, FetchAnswer { error, topic_id: None, high_watermark, preferred_read_replica, records }))
}

/// The last version with topic names.
const NAMES: i16 = 12;

/// The last version without preferred replicas.
const LEADER_ONLY: i16 = 10;

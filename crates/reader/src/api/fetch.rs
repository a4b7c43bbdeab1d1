//! Fetch: the record batches of partitions, each from an offset on.

use std::ops::RangeInclusive;

use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, fetch_request};
use kafka_protocol::protocol::StrBytes;

use sluicegate_records::AbortedTransaction;
use sluicegate_shared_log::Ends;

use super::{Api, topic_name};
use crate::error::ErrorCode;
use crate::wire::{Wire, WireError};

/// A fetch from several partitions.
pub(crate) struct FetchRequest<'a> {
    /// At least one. Partitions of one topic follow each other.
    pub(crate) partitions: Vec<FetchPartition<'a>>,
    /// The size of all records. The broker exceeds it only to return one whole batch.
    pub(crate) max_bytes: i32,
    /// The broker's wait for a first byte, in milliseconds.
    pub(crate) max_wait: i32,
    /// Whether records of open and aborted transactions are left out.
    pub(crate) committed: bool,
    /// The rack of this client, for which the leader chooses its preferred replica; `None` if the leader must answer
    /// itself.
    pub(crate) rack: Option<StrBytes>,
}

/// The range to read in one partition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FetchPartition<'a> {
    pub(crate) topic: &'a str,
    /// Brokers that support ids reject another topic of the same name.
    pub(crate) topic_id: Option<u128>,
    pub(crate) partition: i32,
    /// The leader epoch from the metadata; −1 if unknown. A leader of another epoch rejects the request.
    pub(crate) leader_epoch: i32,
    pub(crate) offset: i64,
    /// As [`FetchRequest::max_bytes`], of this partition.
    pub(crate) max_bytes: i32,
}

/// The answer for one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FetchAnswer {
    pub(crate) error: Option<ErrorCode>,
    /// The log end that consumers can see; −1 with some errors.
    pub(crate) high_watermark: i64,
    /// The offset at which open transactions begin, or else the high watermark; −1 with some errors.
    pub(crate) last_stable_offset: i64,
    /// −1 with some errors, and from brokers before Kafka 1.0.
    pub(crate) log_start_offset: i64,
    /// Aborted transactions whose records are among the batches, if the request leaves them out.
    pub(crate) aborted: Vec<AbortedTransaction>,
    /// The node id of the replica to fetch from (KIP-392); the response has no records then.
    pub(crate) preferred_read_replica: Option<i32>,
    /// Record batches; the last one can be truncated.
    pub(crate) records: Bytes,
}

impl Api for FetchRequest<'_> {
    const KEY: ApiKey = ApiKey::Fetch;
    /// Since version 4 batches have magic 2, since 11 the leader names preferred replicas, since 13 topics have ids
    /// instead of names. Versions 14 to 18 add tagged fields that are for followers or unused here.
    const VERSIONS: RangeInclusive<i16> = 4..=18;
    const FLEXIBLE: i16 = 12;
    type Body = fetch_request::FetchRequest;
    /// One per partition of the request, in its order.
    type Answer = Vec<FetchAnswer>;

    fn max_version(&self) -> i16 {
        match &self.rack {
            Some(_) if self.has_topic_ids() => *Self::VERSIONS.end(),
            Some(_) => NAMES,
            None => LEADER_ONLY,
        }
    }

    fn body(&self, version: i16) -> fetch_request::FetchRequest {
        let partition = |partition: &FetchPartition<'_>| {
            fetch_request::FetchPartition::default()
                .with_partition(partition.partition)
                .with_current_leader_epoch(partition.leader_epoch)
                .with_fetch_offset(partition.offset)
                .with_partition_max_bytes(partition.max_bytes)
        };
        let topic = |partitions: &[FetchPartition<'_>]| {
            let topic = fetch_request::FetchTopic::default()
                .with_partitions(partitions.iter().map(partition).collect());
            match partitions.first() {
                Some(FetchPartition { topic_id: Some(id), .. }) if version > NAMES => {
                    topic.with_topic_id(uuid::Uuid::from_u128(*id))
                }
                first => topic.with_topic(topic_name(first.map_or("", |first| first.topic))),
            }
        };
        let same_topic =
            |a: &FetchPartition<'_>, b: &FetchPartition<'_>| (a.topic, a.topic_id) == (b.topic, b.topic_id);
        // KIP-227: session 0 with epoch −1 is a full fetch outside of any session.
        fetch_request::FetchRequest::default()
            .with_replica_id((-1).into())
            .with_max_wait_ms(self.max_wait)
            .with_min_bytes(1)
            .with_max_bytes(self.max_bytes)
            .with_isolation_level(i8::from(self.committed))
            .with_session_id(0)
            .with_session_epoch(-1)
            .with_topics(self.partitions.chunk_by(same_topic).map(topic).collect())
            .with_rack_id(self.rack.clone().unwrap_or_default())
    }

    fn decode(&self, wire: &mut Wire, version: i16) -> Result<Vec<FetchAnswer>, WireError> {
        wire.take_throttle_time(version >= 8)?;
        if version >= 7 {
            let error = ErrorCode::of(wire.i16()?);
            wire.i32()?; // session
            if error.is_some() {
                return Ok(self.partitions.iter().map(|_| FetchAnswer::failed(error)).collect());
            }
        }
        let topics = wire.array(3)?;
        // KIP-219: a broker answers a fetch over the quota at once, without the partitions.
        if topics == 0 && !wire.throttle_time().is_zero() {
            return Err(WireError::Throttled(wire.throttle_time()));
        }
        let mut answers: Vec<Option<FetchAnswer>> = self.partitions.iter().map(|_| None).collect();
        // Brokers keep the order of the request, so each search usually ends where it begins.
        let mut next = 0_usize;
        for _ in 0..topics {
            let topic = if version > NAMES { Topic::Id(wire.uuid()?) } else { Topic::Name(wire.string()?) };
            for _ in 0..wire.array(22)? {
                let (partition, answer) = partition(wire, version)?;
                let is_it = |asked: &FetchPartition<'_>| asked.partition == partition && topic.is_of(asked);
                let Some(index) = position(&self.partitions, next, is_it) else { continue };
                if let Some(slot) = answers.get_mut(index) {
                    *slot = Some(answer);
                }
                next = index.saturating_add(1);
            }
            wire.end()?;
        }
        answers.into_iter().collect::<Option<_>>().ok_or(WireError::Partition)
    }
}

impl FetchRequest<'_> {
    fn has_topic_ids(&self) -> bool {
        self.partitions.iter().all(|partition| partition.topic_id.is_some())
    }
}

impl FetchAnswer {
    /// The ends of the log.
    pub(crate) fn ends(&self) -> Ends {
        Ends { start: self.log_start_offset, stable: self.last_stable_offset, end: self.high_watermark }
    }

    fn failed(error: Option<ErrorCode>) -> Self {
        Self {
            error,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            aborted: Vec::new(),
            preferred_read_replica: None,
            records: Bytes::new(),
        }
    }
}

/// A topic of a response.
enum Topic {
    Id(Option<u128>),
    Name(String),
}

impl Topic {
    fn is_of(&self, partition: &FetchPartition<'_>) -> bool {
        match self {
            Self::Id(id) => *id == partition.topic_id,
            Self::Name(name) => name == partition.topic,
        }
    }
}

/// The index of the first item that matches, searched from `start` on and then from the front.
fn position<T>(items: &[T], start: usize, matches: impl Fn(&T) -> bool) -> Option<usize> {
    let (before, after) = items.split_at_checked(start)?;
    match after.iter().position(&matches) {
        Some(index) => start.checked_add(index),
        None => before.iter().position(matches),
    }
}

fn partition(wire: &mut Wire, version: i16) -> Result<(i32, FetchAnswer), WireError> {
    let partition = wire.i32()?;
    let error = ErrorCode::of(wire.i16()?);
    let high_watermark = wire.i64()?;
    let last_stable_offset = wire.i64()?;
    let log_start_offset = if version >= 5 { wire.i64()? } else { -1 };
    let mut aborted = Vec::new();
    for _ in 0..wire.array(16)? {
        aborted.push(AbortedTransaction { producer_id: wire.i64()?, first_offset: wire.i64()? });
        wire.end()?;
    }
    let preferred_read_replica =
        if version >= 11 { Some(wire.i32()?).filter(|node| *node >= 0) } else { None };
    let records = wire.bytes()?;
    wire.end()?;
    let answer = FetchAnswer {
        error,
        high_watermark,
        last_stable_offset,
        log_start_offset,
        aborted,
        preferred_read_replica,
        records,
    };
    Ok((partition, answer))
}

/// The last version with topic names.
const NAMES: i16 = 12;

/// The last version without preferred replicas.
const LEADER_ONLY: i16 = 10;

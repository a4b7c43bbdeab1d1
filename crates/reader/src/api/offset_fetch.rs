//! OffsetFetch: the positions that a group keeps.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::{ApiKey, offset_fetch_request as body};

use super::{Api, group_id, topic_name};
use crate::error::ErrorCode;
use crate::wire::{Wire, WireError};

pub(crate) struct OffsetFetchRequest<'a> {
    pub(crate) group: &'a str,
    pub(crate) logs: &'a [(Arc<str>, i32)],
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OffsetFetchAnswer {
    /// Of the whole group.
    pub(crate) error: Option<ErrorCode>,
    /// One per log of the request, in its order; none with an error.
    pub(crate) offsets: Vec<FetchedOffset>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FetchedOffset {
    pub(crate) error: Option<ErrorCode>,
    /// −1 if nothing is committed.
    pub(crate) offset: i64,
    pub(crate) metadata: Arc<str>,
}

impl Api for OffsetFetchRequest<'_> {
    const KEY: ApiKey = ApiKey::OffsetFetch;
    /// Since version 7 brokers tell of positions that a transaction is about to commit. Since version 8, one request can
    /// ask for several groups.
    const VERSIONS: RangeInclusive<i16> = 5..=7;
    const FLEXIBLE: i16 = 6;
    type Body = body::OffsetFetchRequest;
    type Answer = OffsetFetchAnswer;

    fn body(&self, version: i16) -> body::OffsetFetchRequest {
        let mut topics = BTreeMap::<&str, Vec<i32>>::new();
        for (topic, partition) in self.logs {
            topics.entry(topic).or_default().push(*partition);
        }
        let topic = |(name, partitions): (&str, _)| {
            body::OffsetFetchRequestTopic::default()
                .with_name(topic_name(name))
                .with_partition_indexes(partitions)
        };
        body::OffsetFetchRequest::default()
            .with_group_id(group_id(self.group))
            .with_topics(Some(topics.into_iter().map(topic).collect()))
            .with_require_stable(version >= 7)
    }

    fn decode(&self, wire: &mut Wire, _version: i16) -> Result<OffsetFetchAnswer, WireError> {
        wire.take_throttle_time(true)?;
        let mut answered = BTreeMap::new();
        for _ in 0..wire.array(3)? {
            let topic = wire.string()?;
            for _ in 0..wire.array(19)? {
                let (partition, offset) = (wire.i32()?, wire.i64()?);
                wire.i32()?; // leader epoch
                let metadata = wire.string()?.into();
                let error = ErrorCode::of(wire.i16()?);
                wire.end()?;
                answered.insert((topic.clone(), partition), FetchedOffset { error, offset, metadata });
            }
            wire.end()?;
        }
        let error = ErrorCode::of(wire.i16()?);
        if error.is_some() {
            return Ok(OffsetFetchAnswer { error, offsets: Vec::new() });
        }
        let of =
            |(topic, partition): &(Arc<str>, i32)| answered.get(&(topic.to_string(), *partition)).cloned();
        let offsets = self.logs.iter().map(of).collect::<Option<_>>().ok_or(WireError::Partition)?;
        Ok(OffsetFetchAnswer { error, offsets })
    }
}

//! The command `subscribe`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Error;
use sluicegate_backend::command::{self, Start, SubscribeCommand};
use sluicegate_delivery::{MAX_FILTERS, MAX_PARTITIONS};
use sluicegate_protocol::{
    CmdKafkaSubscribe, Isolation, KafkaSource, OnLag, PartitionNext, Snapshot, kafka_source,
};

use super::fetch::IsolationName;
use crate::Subscribed;
use crate::json::format::Format;
use crate::json::list::List;
use crate::session::bounds::{MAX_SOURCES, size};
use crate::session::filter::{Filter, filters, record_filters};
use crate::session::members::{self, Int64, Object, object, or_default};
use crate::session::subscribe::{
    MAX_BATCH_BYTES, MAX_BATCH_RECORDS, OnLagName, SnapshotName, TopicId, at_most, bounded, check_len,
    one_or_many, table, topic_id,
};

/// The subscription.
///
/// # Errors
/// A topic's id or a filter is invalid.
pub(super) fn of_protobuf(command: CmdKafkaSubscribe) -> Result<Subscribed, String> {
    let (isolation, on_lag, table) = (
        command.isolation(),
        command.on_lag(),
        table(command.snapshot() == Snapshot::LatestPerKey, command.away_ms),
    );
    let CmdKafkaSubscribe {
        sources,
        filters,
        max_batch_bytes,
        max_batch_records,
        linger_ms,
        credit,
        decode,
        group,
        ..
    } = command;
    let command = SubscribeCommand {
        sources: sources.into_iter().map(source).collect::<Result<_, _>>()?,
        committed: isolation == Isolation::ReadCommitted,
        decode,
        filters: record_filters(filters)?,
        max_bytes: size(max_batch_bytes),
        max_records: size(max_batch_records),
        linger: Duration::from_millis(linger_ms.into()),
        skips: on_lag == OnLag::Skip,
        table,
        group,
    };
    Ok(Subscribed { command, credit })
}

fn source(
    KafkaSource { topic, partitions, from, next, topic_id: id }: KafkaSource,
) -> Result<command::Source, String> {
    let from = match from {
        None => Start::default(),
        Some(kafka_source::From::Timestamp(timestamp)) => Start::Timestamp(timestamp),
        Some(kafka_source::From::Offset(offset)) => Start::at(offset),
    };
    let next = next.into_iter().map(|PartitionNext { partition, offset }| (partition, offset)).collect();
    Ok(command::Source { topic_id: topic_id(&id, "topic", &topic)?, topic, partitions, from, next })
}

/// A source, or many, with the members that are the same for all.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Subscribe<'a> {
    topic: Option<String>,
    partitions: Option<Partitions>,
    from: Option<From>,
    next: Option<Next>,
    topic_id: Option<TopicId>,
    sources: Option<List<Object<Source>, MAX_SOURCES>>,
    #[serde(default, deserialize_with = "or_default")]
    format: Format,
    #[serde(default, deserialize_with = "or_default")]
    isolation: IsolationName,
    #[serde(borrow, default, deserialize_with = "or_default")]
    filters: List<Object<Filter<'a>>, MAX_FILTERS>,
    #[serde(default, deserialize_with = "or_default")]
    max_batch_bytes: u32,
    #[serde(default, deserialize_with = "or_default")]
    max_batch_records: u32,
    #[serde(default, deserialize_with = "or_default")]
    linger_ms: u32,
    credit: Option<u64>,
    #[serde(default, deserialize_with = "or_default")]
    on_lag: OnLagName,
    snapshot: Option<SnapshotName>,
    away_ms: Option<u64>,
    group: Option<String>,
}

impl<'a> Subscribe<'a> {
    /// The command, whose deliveries are bounded for their text, and the format of keys and values.
    ///
    /// # Errors
    /// The text is not a subscription, or is beyond the bounds of one in protobuf.
    pub(super) fn parse(json: &'a str) -> Result<(Subscribed, Format), Error> {
        check_len(json)?;
        object::<Self>(json)?.decode()
    }

    fn decode(self) -> Result<(Subscribed, Format), Error> {
        let Self { topic, partitions, from, next, topic_id, sources, format, filters: given, .. } = self;
        let is_alone = partitions.is_none() && from.is_none() && next.is_none() && topic_id.is_none();
        let one = topic.map(|topic| Source { topic, partitions, from, next, topic_id });
        let sources = one_or_many("topic", one, is_alone, sources)?;
        let nexts = sources.iter().filter_map(|source| source.next.as_ref()).map(|next| next.0.len());
        at_most(nexts.fold(0, usize::saturating_add), "offsets", MAX_PARTITIONS)?;
        let command = SubscribeCommand {
            sources: sources.into_iter().map(Into::into).collect(),
            committed: self.isolation.is_committed(),
            decode: format.decodes(),
            filters: filters(given.0.into_iter().map(|Object(filter)| filter), "key", format)?,
            max_bytes: bounded(self.max_batch_bytes, MAX_BATCH_BYTES),
            max_records: bounded(self.max_batch_records, MAX_BATCH_RECORDS),
            linger: Duration::from_millis(self.linger_ms.into()),
            skips: self.on_lag.skips(),
            table: table(self.snapshot.is_some(), self.away_ms),
            group: self.group,
        };
        Ok((Subscribed { command, credit: self.credit }, format))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    topic: String,
    partitions: Option<Partitions>,
    from: Option<From>,
    next: Option<Next>,
    topic_id: Option<TopicId>,
}

type Partitions = List<i32, MAX_PARTITIONS>;

/// Where to begin: `"earliest"`, `"s@-5m"` or `{"offset": 5}`.
struct From(Start);

impl<'de> Deserialize<'de> for From {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        members::start("offset", deserializer).map(Self)
    }
}

/// The offset to continue from, by partition.
struct Next(BTreeMap<i32, i64>);

impl std::convert::From<Source> for command::Source {
    fn from(Source { topic, partitions, from, next, topic_id }: Source) -> Self {
        Self {
            topic,
            partitions: partitions.unwrap_or_default().0,
            from: from.map(|From(from)| from).unwrap_or_default(),
            next: next.into_iter().flat_map(|Next(next)| next).collect(),
            topic_id: topic_id.map(TopicId::number),
        }
    }
}

impl<'de> Deserialize<'de> for Next {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Offsets)
    }
}

struct Offsets;

impl<'de> Visitor<'de> for Offsets {
    type Value = Next;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of offsets by partition")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Next, A::Error> {
        let mut next = BTreeMap::new();
        while let Some((partition, offset)) = members.next_entry::<i32, Option<Int64>>()? {
            let Some(Int64(offset)) = offset else { continue };
            if next.insert(partition, offset).is_some() {
                return Err(A::Error::custom(format_args!("next: duplicate partition {partition}")));
            }
            if next.len() > MAX_PARTITIONS {
                let message = format_args!("next: more than {MAX_PARTITIONS} partitions");
                return Err(A::Error::custom(message));
            }
        }
        Ok(Next(next))
    }
}

#[cfg(test)]
mod tests;

//! The JSON of a subscription.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Error;
use sluicegate_backend::command::SubscribeCommand;
use sluicegate_delivery::{MAX_FILTERS, MAX_PARTITIONS};

use super::command::IsolationName;
use super::source::{From, Next, Partitions, Source};
use crate::Subscribed;
use crate::json::format::Format;
use crate::json_sessions::filter::Filter;
use crate::json_sessions::list::List;
use crate::json_sessions::object::{Object, object};
use crate::json_sessions::subscribe::{
    MAX_BATCH_BYTES, MAX_BATCH_RECORDS, OnLagName, SnapshotName, TopicId, at_most, bounded, check_len,
    filters, one_or_many, table,
};
use crate::limits::MAX_SOURCES;

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
    #[serde(default)]
    format: Format,
    #[serde(default)]
    isolation: IsolationName,
    #[serde(borrow, default)]
    filters: List<Object<Filter<'a>>, MAX_FILTERS>,
    #[serde(default)]
    max_batch_bytes: u32,
    #[serde(default)]
    max_batch_records: u32,
    #[serde(default)]
    linger_ms: u32,
    credit: Option<u64>,
    #[serde(default)]
    on_lag: OnLagName,
    snapshot: Option<SnapshotName>,
    #[serde(default)]
    away_ms: u64,
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
        let given = given.0.into_iter().map(|Object(filter)| filter.decode("key", format));
        let command = SubscribeCommand {
            sources: sources.into_iter().map(Into::into).collect(),
            committed: self.isolation.is_committed(),
            filters: filters(given)?,
            max_bytes: bounded(self.max_batch_bytes, MAX_BATCH_BYTES),
            max_records: bounded(self.max_batch_records, MAX_BATCH_RECORDS),
            linger: Duration::from_millis(self.linger_ms.into()),
            skips: self.on_lag.skips(),
            table: table(self.snapshot, self.away_ms),
        };
        Ok((Subscribed { command, credit: self.credit }, format))
    }
}

#[cfg(test)]
mod tests;

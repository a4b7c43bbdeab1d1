//! What a client subscribes to: `{"topic": "demo", "from": "earliest", "filters": [{"key": "a"}]}`.

mod filter;
mod source;

use std::time::Duration;

use serde::Deserialize;
use serde::de::Error as _;
use serde_json::Error;

pub(super) use self::filter::Filter;
pub(super) use self::source::TopicId;

use self::source::{From, Next, Partitions, Source};
use super::command::IsolationName;
use super::item::{MAX_BATCH_BYTES, MAX_BATCH_RECORDS};
use super::list::List;
use super::object::{Object, object};
use crate::backend::command::{RecordFilter, SubscribeCommand};
use crate::delivery::{MAX_FILTERS, MAX_PARTITIONS, MAX_VALUES};
use crate::json::format::Format;
use crate::session::command_limits::{MAX_SOURCES, MAX_SUBSCRIPTION_BYTES};
use crate::session::request::{Subscribed, size};

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
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Unsubscribe {
    pub(super) subscription: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Credit {
    pub(super) subscription: i64,
    pub(super) bytes: u64,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OnLagName {
    #[default]
    Wait,
    Skip,
}

impl OnLagName {
    pub(super) fn skips(&self) -> bool {
        matches!(self, Self::Skip)
    }
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
        let Self { topic, partitions, from, next, topic_id, sources, format, filters, .. } = self;
        let is_alone = partitions.is_none() && from.is_none() && next.is_none() && topic_id.is_none();
        let one = topic.map(|topic| Source { topic, partitions, from, next, topic_id });
        let sources = one_or_many("topic", one, is_alone, sources)?;
        let nexts = sources.iter().filter_map(|source| source.next.as_ref()).map(|next| next.0.len());
        at_most(nexts.fold(0, usize::saturating_add), "offsets", MAX_PARTITIONS)?;
        let filters = filters.0.into_iter().map(|Object(filter)| filter.decode("key", format));
        let command = SubscribeCommand {
            sources: sources.into_iter().map(Into::into).collect(),
            committed: self.isolation.is_committed(),
            filters: self::filters(filters)?,
            max_bytes: bounded(self.max_batch_bytes, MAX_BATCH_BYTES),
            max_records: bounded(self.max_batch_records, MAX_BATCH_RECORDS),
            linger: Duration::from_millis(self.linger_ms.into()),
            skips: self.on_lag.skips(),
        };
        Ok((Subscribed { command, credit: self.credit }, format))
    }
}

/// Checks the size of a subscription's text.
pub(super) fn check_len(json: &str) -> Result<(), Error> {
    at_most(json.len(), "bytes", MAX_SUBSCRIPTION_BYTES)
}

/// The sources of a subscription: a single one, whose member `name` is required, or `many`. `is_alone`: no other member of a
/// single source was given.
pub(super) fn one_or_many<S>(
    name: &str,
    one: Option<S>,
    is_alone: bool,
    many: Option<List<Object<S>, MAX_SOURCES>>,
) -> Result<Vec<S>, Error> {
    match (one, many) {
        (Some(source), None) => Ok(vec![source]),
        (None, Some(sources)) if is_alone => Ok(sources.0.into_iter().map(|Object(source)| source).collect()),
        (None, None) => Err(Error::custom(format_args!("missing field `{name}`, or `sources`"))),
        (_, Some(_)) => {
            Err(Error::custom("`sources` and members of a single source: expected one or the other"))
        }
    }
}

/// The filters of a subscription, if they do not have too many values.
pub(super) fn filters(
    filters: impl Iterator<Item = Result<RecordFilter, String>>,
) -> Result<Vec<RecordFilter>, Error> {
    let filter = |(index, filter): (usize, Result<_, String>)| {
        filter.map_err(|error| Error::custom(format_args!("filters[{index}]: {error}")))
    };
    let filters = filters.enumerate().map(filter).collect::<Result<Vec<RecordFilter>, _>>()?;
    let values = filters.iter().map(|filter| filter.equals.len().saturating_add(filter.prefixes.len()));
    at_most(values.fold(0, usize::saturating_add), "values in filters", MAX_VALUES)?;
    Ok(filters)
}

fn at_most(count: usize, of: &str, max: usize) -> Result<(), Error> {
    if count <= max {
        return Ok(());
    }
    Err(Error::custom(format_args!("{count} {of} in one subscription: expected at most {max}")))
}

/// What the client chose, if that is not too much; 0: it did not.
pub(super) fn bounded(chosen: u32, max: usize) -> usize {
    if chosen == 0 { max } else { size(chosen).min(max) }
}

#[cfg(test)]
mod tests;

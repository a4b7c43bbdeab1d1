//! Members of subscriptions that systems share.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, de};
use serde_json::Error;
use sluicegate_backend::command::TableCommand;
use sluicegate_delivery::SkipCause;
use sluicegate_delivery::cluster::escape_for_message;
use sluicegate_protocol::kafka_subscription_event::skipped::Cause;

use super::bounds::{MAX_SOURCES, MAX_SUBSCRIPTION_BYTES, size};
use super::members::Object;
use crate::json::list::List;

/// The command `unsubscribe` in JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Unsubscribe {
    /// The `id` of its command.
    pub subscription: i64,
}

/// The command `credit` in JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Credit {
    /// The `id` of its command.
    pub subscription: i64,
    /// The bytes to deliver beyond those granted before.
    pub bytes: u64,
}

/// The value of `on_lag`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnLagName {
    /// Deliver everything.
    #[default]
    Wait,
    /// Jump to the end.
    Skip,
}

impl OnLagName {
    /// Whether to jump to the end.
    pub(crate) fn skips(&self) -> bool {
        matches!(self, Self::Skip)
    }
}

/// The value of `snapshot`.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SnapshotName {
    /// The newest record of each key.
    LatestPerKey,
}

/// The table of a subscription that has one, from which the client was away for so long, if it says so.
pub(crate) fn table(has_table: bool, away_ms: Option<u64>) -> Option<TableCommand> {
    has_table.then(|| TableCommand { away: away_ms.map(Duration::from_millis) })
}

/// The id of a topic in protobuf; none without bytes.
///
/// # Errors
/// It does not have 16 bytes. `word` is the name of a topic in the error.
pub(crate) fn topic_id(id: &[u8], word: &str, topic: &str) -> Result<Option<u128>, String> {
    match <[u8; 16]>::try_from(id) {
        Ok(id) => Ok(Some(u128::from_be_bytes(id))),
        Err(_) if id.is_empty() => Ok(None),
        Err(_) => {
            let (len, topic) = (id.len(), escape_for_message(topic));
            Err(format!("{word}_id of {len} bytes: expected 16 or none, {word}: {topic}"))
        }
    }
}

/// The bytes of a topic's id; none if it is not known.
pub(crate) fn id_bytes(id: Option<u128>) -> Bytes {
    id.map(|id| id.to_be_bytes().to_vec().into()).unwrap_or_default()
}

/// The id of a topic, in Kafka's text form: URL-safe base64 without padding.
pub(crate) struct TopicId([u8; 16]);

impl TopicId {
    /// The topic's id.
    pub(crate) fn number(self) -> u128 {
        u128::from_be_bytes(self.0)
    }

    /// The member of this name.
    pub(crate) fn named<'de, D: Deserializer<'de>>(name: &str, deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let id = URL_SAFE_NO_PAD.decode(text).ok().and_then(|id| id.try_into().ok());
        let problem =
            || de::Error::custom(format_args!("{name}: expected the one of an answer to `subscribe`"));
        id.map(Self).ok_or_else(problem)
    }
}

impl<'de> Deserialize<'de> for TopicId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::named("topic_id", deserializer)
    }
}

/// The text of a topic's id; empty if it is not known.
pub(crate) fn id_text(id: Option<u128>) -> String {
    id.map(|id| URL_SAFE_NO_PAD.encode(id.to_be_bytes())).unwrap_or_default()
}

/// The cause of a gap, which has the same numbers in all systems.
pub(crate) fn cause(cause: SkipCause) -> Cause {
    match cause {
        SkipCause::Deleted => Cause::Deleted,
        SkipCause::Lag => Cause::Lag,
    }
}

/// Checks the size of a subscription's text.
pub(crate) fn check_len(json: &str) -> Result<(), Error> {
    at_most(json.len(), "bytes", MAX_SUBSCRIPTION_BYTES)
}

/// The sources of a subscription: a single one, whose member `name` is required, or `many`. `is_alone`: no other member
/// of a single source was given.
pub(crate) fn one_or_many<S>(
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

/// Checks a number of parts.
///
/// # Errors
/// There are more than `max`.
pub(crate) fn at_most(count: usize, of: &str, max: usize) -> Result<(), Error> {
    if count <= max {
        return Ok(());
    }
    Err(Error::custom(format_args!("{count} {of} in one subscription: expected at most {max}")))
}

/// The client's choice, at most `max`; 0: it made none.
pub(crate) fn bounded(chosen: u32, max: usize) -> usize {
    if chosen == 0 { max } else { size(chosen).min(max) }
}

/// The largest delivery. As protobuf it can be larger, because its text is.
pub const MAX_BATCH_BYTES: usize = 24 * 1024;
/// The most records of a delivery.
pub const MAX_BATCH_RECORDS: usize = 600;

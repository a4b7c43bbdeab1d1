//! A consumer's settings, which its group keeps for the bridge that takes it over.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sluicegate_backend::groups::MAX_SETTINGS;

use super::ConsumerError;

/// A consumer to create.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewConsumer {
    /// The name in its group: 1 to 249 letters, digits, `.`, `_` and `-`, as Kafka's `group.instance.id`. None: a random
    /// one.
    pub instance: Option<String>,
    /// The settings.
    pub settings: ConsumerSettings,
}

/// The settings of a consumer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsumerSettings {
    /// Where it begins in logs without a usable position.
    pub reset: Reset,
    /// The time between two commits of what the client has; None: only the client commits.
    #[serde(with = "millis")]
    pub auto_commit: Option<Duration>,
    /// Whether records of open and aborted transactions are left out.
    pub committed: bool,
    /// A text of the way in, such as the format and timeouts.
    pub extra: String,
}

/// Where a consumer begins in a log of which its group has no position, or one that the log does not have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reset {
    /// At the first record.
    Earliest,
    /// At the end.
    #[default]
    Latest,
    /// Nowhere: the client is told.
    Error,
}

/// The text that the group keeps.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stored {
    /// Tells it from what other programs keep there.
    #[serde(rename = "sluicegate")]
    version: u32,
    pub(super) settings: ConsumerSettings,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pattern: Option<String>,
}

impl Stored {
    pub(crate) fn new(settings: ConsumerSettings, pattern: Option<String>) -> Self {
        Self { version: VERSION, settings, pattern }
    }

    /// As JSON.
    ///
    /// # Errors
    /// It is longer than a group keeps.
    pub(super) fn to_bytes(&self) -> Result<Bytes, ConsumerError> {
        // It has no map with other keys than strings, so this cannot fail.
        let json = serde_json::to_vec(self).unwrap_or_default();
        let message = || {
            format!("the consumer's settings are {} bytes long: expected at most {MAX_SETTINGS}", json.len())
        };
        if json.len() > MAX_SETTINGS { Err(ConsumerError::Invalid(message())) } else { Ok(json.into()) }
    }

    /// The settings of a bridge's consumer; None: it is another program's member.
    pub(crate) fn parse(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok().filter(|stored: &Self| stored.version == VERSION)
    }
}

mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        match time {
            None => to.serialize_none(),
            Some(time) => to.serialize_some(&u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(from)?.map(Duration::from_millis))
    }
}

/// Changes if an earlier version would misread the text.
const VERSION: u32 = 1;

//! The producer of a command, and what its records' results have of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sluicegate_backend::Dedup;
use sluicegate_backend::command;
use sluicegate_protocol as wire;

/// A producer in JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Producer {
    id: String,
    epoch: u64,
    sequence: u64,
    age_ms: Option<u64>,
}

impl Producer {
    /// As [`of_protobuf`].
    pub(crate) fn decode(self) -> Result<command::Producer, String> {
        let Self { id, epoch, sequence, age_ms } = self;
        of(id, epoch, sequence, age_ms.map(Duration::from_millis))
    }
}

/// A producer in protobuf.
///
/// # Errors
/// A member is not what was expected.
pub(crate) fn of_protobuf(producer: wire::Producer) -> Result<command::Producer, String> {
    let wire::Producer { id, epoch, sequence, age_ms } = producer;
    of(id, epoch.into(), sequence.into(), age_ms.map(Duration::from_millis))
}

fn of(id: String, epoch: u64, sequence: u64, age: Option<Duration>) -> Result<command::Producer, String> {
    command::Producer::new(id, epoch, sequence, age).map_err(|invalid| {
        let command::InvalidProducer { member, expected } = invalid;
        let name = if member == "age" { "age_ms" } else { member };
        format!("producer.{name}: expected {expected}")
    })
}

/// Members of the result of a record whose repeats are recognized.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Recognized {
    pub(crate) duplicate: bool,
    pub(crate) duplicate_window_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_sequence: Option<u32>,
}

impl From<Dedup> for Recognized {
    fn from(Dedup { is_duplicate, window, last, .. }: Dedup) -> Self {
        let window = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        let last = last.filter(|_| is_duplicate).and_then(|last| u32::try_from(last).ok());
        Self { duplicate: is_duplicate, duplicate_window_ms: window, last_sequence: last }
    }
}

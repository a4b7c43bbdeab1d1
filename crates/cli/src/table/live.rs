//! A table of a topic or a stream.

use bytes::Bytes;
use sluicegate_client::{KafkaMessage, Table, TableChange, nats};

use crate::failure::Failure;
use crate::json::Decoded;
use crate::subscribe::Update;

pub(super) enum Live {
    Topic(Table),
    Stream(Table<nats::Update>),
}

/// The newest message of a key.
pub(super) struct Row<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
    /// Milliseconds since 1970.
    pub(super) timestamp: i64,
    pub(super) decoded: Decoded<'a>,
}

#[derive(Default)]
pub(super) struct Change {
    pub(super) keys: Vec<Bytes>,
    /// Whether the table has become complete.
    pub(super) is_complete: bool,
    /// Something else that happened.
    pub(super) told: Option<Update>,
}

impl Live {
    pub(super) async fn next(&mut self) -> Result<Change, Failure> {
        match self {
            Self::Topic(table) => change(table.next().await),
            Self::Stream(table) => change(table.next().await),
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        match self {
            Self::Topic(table) => table.is_complete(),
            Self::Stream(table) => table.is_complete(),
        }
    }

    pub(super) fn get<'a>(&'a self, key: &'a [u8]) -> Option<Row<'a>> {
        match self {
            Self::Topic(table) => table.get(key).map(|message| of_topic(key, message)),
            Self::Stream(table) => table.get(key).map(|message| of_stream(key, message)),
        }
    }

    /// All rows, in the order of keys.
    pub(super) fn rows(&self) -> Box<dyn Iterator<Item = Row<'_>> + '_> {
        match self {
            Self::Topic(table) => Box::new(table.iter().map(|(key, message)| of_topic(key, message))),
            Self::Stream(table) => Box::new(table.iter().map(|(key, message)| of_stream(key, message))),
        }
    }
}

fn of_topic<'a>(key: &'a [u8], message: &'a KafkaMessage) -> Row<'a> {
    let value = message.value.as_deref().unwrap_or_default();
    Row { key, value, timestamp: message.timestamp, decoded: Decoded::of_row(message) }
}

fn of_stream<'a>(key: &'a [u8], message: &'a nats::NatsMessage) -> Row<'a> {
    Row { key, value: &message.data, timestamp: message.timestamp, decoded: Decoded::default() }
}

fn change<U>(change: Option<Result<TableChange<U>, sluicegate_client::Error>>) -> Result<Change, Failure>
where
    Update: From<U>,
{
    // It ends with an error only.
    Ok(match change.transpose()? {
        Some(TableChange::Keys(keys)) => Change { keys, ..Change::default() },
        Some(TableChange::Complete) => Change { is_complete: true, ..Change::default() },
        Some(TableChange::Other(update)) => Change { told: Some(update.into()), ..Change::default() },
        None => Change::default(),
    })
}

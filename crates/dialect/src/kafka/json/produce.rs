//! The records of a produce command.

use serde::Deserialize;
use serde::de::Error as _;
use serde_json::Error;
use serde_json::value::RawValue;
use sluicegate_backend::command;
use sluicegate_delivery::cluster::{MAX_HEADERS, MAX_RECORDS};

use crate::json::format::Format;
use crate::json::member::present;
use crate::json_sessions::int64::Int64;
use crate::json_sessions::list::List;
use crate::json_sessions::object::Object;
use crate::json_sessions::value::{self, RecordHeader, check_headers, text};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Produce<'a> {
    #[serde(borrow)]
    records: List<Object<Record<'a>>, MAX_RECORDS>,
    #[serde(default)]
    format: Format,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Record<'a> {
    topic: String,
    partition: Option<i32>,
    #[serde(borrow)]
    key: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    value: Option<&'a RawValue>,
    #[serde(borrow, default)]
    headers: List<Object<RecordHeader<'a>>, MAX_HEADERS>,
    timestamp: Option<Int64>,
}

impl Produce<'_> {
    /// The records.
    ///
    /// # Errors
    /// A key, a value or a header does not have the command's format, or there are too many headers.
    pub(super) fn decode(self) -> Result<Vec<command::Record>, Error> {
        let Self { records, format } = self;
        check_headers(records.0.iter().map(|Object(record)| record.headers.0.len()))?;
        let record = |(index, Object(record)): (usize, Object<Record<'_>>)| {
            record.decode(format).map_err(|error| Error::custom(format_args!("records[{index}].{error}")))
        };
        records.0.into_iter().enumerate().map(record).collect()
    }
}

impl Record<'_> {
    fn decode(self, format: Format) -> Result<command::Record, String> {
        let Self { topic, partition, key, value, headers, timestamp } = self;
        Ok(command::Record {
            topic,
            partition,
            key: text(key, format).map_err(|expected| format!("key: {expected}"))?,
            value: value::value(value, format).map_err(|expected| format!("value: {expected}"))?,
            headers: value::headers(headers, format)?,
            timestamp: timestamp.map(|Int64(timestamp)| timestamp),
        })
    }
}

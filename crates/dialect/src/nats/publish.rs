//! The command `publish`, and its answer.

use bytes::Bytes;
use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::Error;
use serde_json::value::RawValue;
use sluicegate_backend::command::{Command, Header, Record, Write};
use sluicegate_backend::{DeliveryReport, Written};
use sluicegate_delivery::cluster::{MAX_HEADERS, MAX_RECORDS};
use sluicegate_protocol as wire;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdNatsPublish, MESSAGE_ID_HEADER, NatsPublishResp, PublishMessage};

use super::SYSTEM;
use crate::json::format::Format;
use crate::json::list::List;
use crate::json::present;
use crate::session::answer::{Answer, Encoding};
use crate::session::error::{MAX_RECORD_ERROR_BYTES, error_resp};
use crate::session::members::{Object, or_default};
use crate::session::producer::{self, Producer, Recognized};
use crate::session::text::results;
use crate::session::value::{self, RecordHeader, header};

pub(super) fn of_protobuf(command: CmdNatsPublish) -> Result<Command, String> {
    let CmdNatsPublish { messages, producer, dry_run } = command;
    let producer = producer.map(producer::of_protobuf).transpose()?;
    let records = messages.into_iter().map(record).collect();
    Ok(Command::Produce(Write { records, producer, dry_run, ..Write::default() }))
}

fn record(PublishMessage { stream, subject, data, headers, message_id }: PublishMessage) -> Record {
    let headers = headers.into_iter().map(header).collect();
    message(stream, subject, data, headers, message_id, false)
}

/// A message to write. That of a client that has read it, with its sequence, is a copy: what it was once written on
/// condition of does not hold for another stream, or any more.
pub(super) fn message(
    stream: String,
    subject: String,
    data: Bytes,
    mut headers: Vec<Header>,
    message_id: String,
    is_copy: bool,
) -> Record {
    let is_condition = |name: &str| name.to_ascii_lowercase().starts_with(CONDITION);
    headers.retain(|header| !is_copy || !is_condition(&header.key));
    if !message_id.is_empty() {
        headers.push(Header { key: MESSAGE_ID_HEADER.to_owned(), value: Some(message_id.into()) });
    }
    Record { topic: stream, key: Some(subject.into()), value: Some(data), headers, ..Record::default() }
}

/// The command in JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Publish<'a> {
    #[serde(borrow)]
    messages: List<Object<ToPublish<'a>>, MAX_RECORDS>,
    #[serde(default, deserialize_with = "or_default")]
    format: Format,
    producer: Option<Object<Producer>>,
    #[serde(default, deserialize_with = "or_default")]
    dry_run: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ToPublish<'a> {
    stream: String,
    subject: String,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    headers: List<Object<RecordHeader<'a>>, MAX_HEADERS>,
    #[serde(default, deserialize_with = "or_default")]
    message_id: String,
    // Of messages that were read: they can be written as they are.
    sequence: Option<IgnoredAny>,
    #[serde(rename = "timestamp")]
    _timestamp: Option<IgnoredAny>,
}

impl Publish<'_> {
    /// The messages, and their producer.
    ///
    /// # Errors
    /// Data or a header does not have the command's format, there are too many headers, or the producer is invalid.
    pub(super) fn decode(self) -> Result<Write, Error> {
        let Self { messages, format, producer, dry_run } = self;
        value::check_headers(messages.0.iter().map(|Object(message)| message.headers.0.len()))?;
        let record = |(index, Object(message)): (usize, Object<ToPublish<'_>>)| {
            let record = message.decode(format);
            record.map_err(|error| Error::custom(format_args!("messages[{index}].{error}")))
        };
        let records = messages.0.into_iter().enumerate().map(record).collect::<Result<_, _>>()?;
        let producer =
            producer.map(|Object(producer)| producer.decode().map_err(Error::custom)).transpose()?;
        Ok(Write { records, producer, dry_run, ..Write::default() })
    }
}

impl ToPublish<'_> {
    fn decode(self, format: Format) -> Result<Record, String> {
        let Self { stream, subject, data, headers, message_id, sequence, .. } = self;
        let data: Option<Bytes> =
            value::value(data, format).map_err(|expected| format!("data: {expected}"))?;
        let headers = value::headers(headers, format)?;
        Ok(message(stream, subject, data.unwrap_or_default(), headers, message_id, sequence.is_some()))
    }
}

/// Prefix of the headers that let a stream refuse a message, in lower case.
const CONDITION: &str = "nats-expected-";

/// The answer with the report of each message.
pub(super) fn answer(sequence: i64, reports: Vec<DeliveryReport>, encoding: Encoding) -> Answer {
    match encoding {
        Encoding::Protobuf => {
            let results = reports.into_iter().map(result).collect();
            Answer::new(sequence, Resp::NatsPublishResp(NatsPublishResp { results }))
        }
        Encoding::Json(_) => Answer::Text(results(
            sequence,
            SYSTEM,
            reports.into_iter().map(|report| report.map(Published::from)),
        )),
    }
}

fn result(report: DeliveryReport) -> wire::Published {
    match report {
        Ok(Written { offset, dedup, .. }) => {
            let Recognized { duplicate, duplicate_window_ms, last_sequence } =
                dedup.map(Recognized::from).unwrap_or_default();
            let in_order = dedup.is_some_and(|dedup| dedup.in_order);
            wire::Published {
                sequence: offset,
                error: None,
                duplicate,
                duplicate_window_ms,
                in_order,
                last_sequence,
            }
        }
        Err(error) => wire::Published {
            error: Some(error_resp(error, SYSTEM, MAX_RECORD_ERROR_BYTES)),
            ..wire::Published::default()
        },
    }
}

/// The place of a written message in its stream, in JSON.
#[derive(Serialize)]
pub(super) struct Published {
    sequence: i64,
    /// Present if the message has an id or a producer. If it is a duplicate, the stream already had the message, and the place is
    /// that one's.
    #[serde(flatten)]
    dedup: Option<Recognized>,
    /// Present if true.
    #[serde(skip_serializing_if = "Option::is_none")]
    in_order: Option<bool>,
}

impl From<Written> for Published {
    fn from(Written { offset, dedup, .. }: Written) -> Self {
        let in_order = dedup.filter(|dedup| dedup.in_order).map(|_| true);
        Self { sequence: offset, dedup: dedup.map(Recognized::from), in_order }
    }
}

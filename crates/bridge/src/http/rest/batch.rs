//! Parses the body of a write: JSON whose keys and values, or data, are embedded JSON or base64 strings.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use sluicegate_backend::System;
use sluicegate_backend::command::{self, Header};
use sluicegate_delivery::cluster::{MAX_COMMAND_HEADERS, MAX_HEADERS, MAX_RECORDS};

use super::super::media_type::Format;
use super::super::problem::{Problem, ProblemKind};
use super::super::published::message_id;
use crate::json;
use crate::json::member::{or_null, present};

/// The records of a body, for a topic or one of its partitions, or for a stream. A misspelt member would write null, so
/// unknown ones are errors.
///
/// # Errors
/// The body is invalid; says where, and what was expected.
pub(super) fn parse(
    body: &[u8],
    system: System,
    format: Format,
    topic: &str,
    partition: Option<i32>,
) -> Result<Vec<command::Record>, Problem> {
    let body = json::parse(body)?.trim_ascii();
    let (name, records) = match system {
        System::Kafka => ("records", object::<Records>(body, "the body")?.records),
        System::Nats => ("messages", object::<Messages>(body, "the body")?.messages),
    };
    let records = records.ok_or_else(|| wrong(name, "expected an array"))?;
    let items = list(records, name, MAX_RECORDS)?;
    if items.is_empty() {
        return Err(wrong(name, "expected at least one"));
    }
    let mut headers = 0_usize;
    let mut records = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let place = format!("{name}[{index}]");
        let record = match system {
            System::Kafka => record(item, &place, format, topic, partition)?,
            System::Nats => message(item, &place, format, topic)?,
        };
        headers = headers.saturating_add(record.headers.len());
        if headers > MAX_COMMAND_HEADERS {
            return Err(Problem::new(
                ProblemKind::TooLarge,
                format!("too many headers in one request: expected at most {MAX_COMMAND_HEADERS}"),
            ));
        }
        records.push(record);
    }
    Ok(records)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Records<'a> {
    #[serde(borrow)]
    records: Option<&'a RawValue>,
    // Clients of the REST proxies send these with any format. They mean nothing in JSON and base64.
    #[serde(rename = "key_schema")]
    _key_schema: Option<IgnoredAny>,
    #[serde(rename = "key_schema_id")]
    _key_schema_id: Option<IgnoredAny>,
    #[serde(rename = "value_schema")]
    _value_schema: Option<IgnoredAny>,
    #[serde(rename = "value_schema_id")]
    _value_schema_id: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Messages<'a> {
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Record<'a> {
    #[serde(borrow)]
    key: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    value: Option<&'a RawValue>,
    #[serde(borrow)]
    partition: Option<&'a RawValue>,
    #[serde(borrow)]
    headers: Option<&'a RawValue>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    // Of records that were read: they can be written as they are.
    #[serde(rename = "topic")]
    _topic: Option<IgnoredAny>,
    #[serde(rename = "offset")]
    _offset: Option<IgnoredAny>,
    #[serde(rename = "timestamp_type")]
    _timestamp_type: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Message<'a> {
    #[serde(borrow)]
    subject: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    headers: Option<&'a RawValue>,
    #[serde(borrow)]
    message_id: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordHeader<'a> {
    #[serde(borrow)]
    key: Option<&'a RawValue>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
}

fn record(
    item: &RawValue,
    place: &str,
    format: Format,
    topic: &str,
    partition: Option<i32>,
) -> Result<command::Record, Problem> {
    let record: Record = object(item.get(), place)?;
    let own = record.partition.map(|own| number(own, &format!("{place}.partition"), -1, i32::MAX.into()));
    let own = own.transpose()?.and_then(|own| i32::try_from(own).ok());
    if let (Some(own), Some(partition)) = (own, partition)
        && own != partition
    {
        return Err(wrong(
            &format!("{place}.partition"),
            &format!("expected {partition} as in the path, got {own}"),
        ));
    }
    let timestamp =
        record.timestamp.map(|timestamp| number(timestamp, &format!("{place}.timestamp"), 1, i64::MAX));
    Ok(command::Record {
        topic: topic.to_owned(),
        partition: partition.or(own),
        key: bytes(record.key, &format!("{place}.key"), format)?,
        value: given(record.value, &format!("{place}.value"), format)?,
        headers: record.headers.map_or(Ok(Vec::new()), |list| headers(list, place))?,
        timestamp: timestamp.transpose()?,
    })
}

fn message(item: &RawValue, place: &str, format: Format, stream: &str) -> Result<command::Record, Problem> {
    let message: Message = object(item.get(), place)?;
    let text = |value: &RawValue, name| {
        let text: Option<String> = serde_json::from_str(value.get()).ok();
        let text = text.filter(|text| !text.is_empty());
        text.ok_or_else(|| wrong(&format!("{place}.{name}"), "expected a string that is not empty"))
    };
    let subject = message.subject.ok_or_else(|| wrong(&format!("{place}.subject"), "expected a string"))?;
    let mut headers = message.headers.map_or(Ok(Vec::new()), |list| headers(list, place))?;
    if let Some(id) = message.message_id {
        headers.push(message_id(&text(id, "message_id")?));
    }
    Ok(command::Record {
        topic: stream.to_owned(),
        key: Some(text(subject, "subject")?.into()),
        // Messages have no null.
        value: Some(given(message.data, &format!("{place}.data"), format)?.unwrap_or_default()),
        headers,
        ..Default::default()
    })
}

fn headers(headers: &RawValue, place: &str) -> Result<Vec<Header>, Problem> {
    let place = format!("{place}.headers");
    let items = list(headers, &place, MAX_HEADERS)?.into_iter().enumerate();
    let header = |(index, item): (usize, &RawValue)| {
        let place = format!("{place}[{index}]");
        let header: RecordHeader = object(item.get(), &place)?;
        let key = header.key.and_then(|key| serde_json::from_str(key.get()).ok());
        let key = key.ok_or_else(|| wrong(&format!("{place}.key"), "expected a string"))?;
        let value = bytes(header.value, &format!("{place}.value"), Format::Binary)?;
        Ok(Header { key, value })
    };
    items.map(header).collect()
}

/// The bytes of a value that must be given; `None` for null.
fn given(value: Option<&RawValue>, place: &str, format: Format) -> Result<Option<Bytes>, Problem> {
    bytes(or_null(value).map_err(|expected| wrong(place, expected))?, place, format)
}

/// The bytes of a key or value; `None` for null.
fn bytes(value: Option<&RawValue>, place: &str, format: Format) -> Result<Option<Bytes>, Problem> {
    let Some(value) = value else { return Ok(None) };
    match format {
        Format::Json => Ok(Some(json::compacted(value.get()).into())),
        Format::Binary => {
            let text: Option<String> = serde_json::from_str(value.get()).ok();
            let bytes = text.and_then(|text| BASE64.decode(text).ok());
            let bytes = bytes.ok_or_else(|| wrong(place, "expected a padded base64 string or null"))?;
            Ok(Some(bytes.into()))
        }
    }
}

fn number(value: &RawValue, place: &str, least: i64, most: i64) -> Result<i64, Problem> {
    // Rust only parses JSON numbers without a fraction or exponent as integers.
    let number: Option<i64> = value.get().parse().ok();
    let number = number.filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| wrong(place, &format!("expected a whole number from {least} to {most}")))
}

/// Parses valid JSON as an object with members of any value.
fn object<'a, T: Deserialize<'a>>(json: &'a str, place: &str) -> Result<T, Problem> {
    if !json.starts_with('{') {
        return Err(wrong(place, "expected an object"));
    }
    serde_json::from_str(json).map_err(|error| {
        // The JSON is valid, and members can have any value. What remains are serde's errors for an unknown or
        // duplicate member, which can repeat a name of any length, and the parser's for a name with half a surrogate
        // pair.
        let text = error.to_string();
        match text.strip_prefix("unknown field `").and_then(|unknown| unknown.rsplit_once("`, expected ")) {
            Some((name, expected)) => wrong(place, &unknown_member(name, expected)),
            None if error.is_data() => wrong(place, "has a duplicate member"),
            None => wrong(place, "has a member name that is not Unicode"),
        }
    })
}

/// The error of an unknown member; `expected` is serde's list of names, with the place of the error.
fn unknown_member(name: &str, expected: &str) -> String {
    let name: String = name.chars().take(MAX_SHOWN).flat_map(char::escape_debug).collect();
    let expected = expected.rsplit_once(" at line ").map_or(expected, |(expected, _)| expected);
    format!("unknown member {name}, expected {}", expected.replace('`', ""))
}

/// The elements of an array, at most `max`.
fn list<'a>(array: &'a RawValue, place: &str, max: usize) -> Result<Vec<&'a RawValue>, Problem> {
    let list = json::list::bounded(&mut serde_json::Deserializer::from_str(array.get()), max);
    let (items, count) = list.map_err(|_| wrong(place, "expected an array"))?;
    if count > max {
        let detail = format!("{place}: expected at most {max} elements, got {count}");
        return Err(Problem::new(ProblemKind::TooLarge, detail));
    }
    Ok(items)
}

fn wrong(place: &str, expected: &str) -> Problem {
    Problem::new(ProblemKind::Unprocessable, format!("{place}: {expected}"))
}

/// Characters of a name that a message repeats.
const MAX_SHOWN: usize = 100;

#[cfg(test)]
mod tests;

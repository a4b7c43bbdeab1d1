//! Parses the body of a write: JSON whose keys and values, or data, are embedded JSON or base64 strings.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use sluicegate_protocol::{Header, ProduceRecord};

use super::super::media_type::Format;
use super::super::problem::{Problem, ProblemKind};
use super::super::published::message_id;
use crate::backend::System;
use crate::cluster::{MAX_COMMAND_HEADERS, MAX_HEADERS, MAX_RECORDS};
use crate::json;

/// The records of a body, for a topic or one of its partitions, or for a stream. Unknown members of Kafka's records are ignored,
/// because clients of the REST proxies send some for schemas.
///
/// # Errors
/// The body is invalid; says where, and what was expected.
pub(super) fn parse(
    body: &[u8],
    system: System,
    format: Format,
    topic: &str,
    partition: Option<i32>,
) -> Result<Vec<ProduceRecord>, Problem> {
    let body: Body = object(json::parse(body)?.trim_ascii(), "the body")?;
    let (name, records) = match system {
        System::Kafka => ("records", body.records),
        System::Nats => ("messages", body.messages),
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
struct Body<'a> {
    #[serde(borrow)]
    records: Option<&'a RawValue>,
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    key: Option<&'a RawValue>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    #[serde(borrow)]
    partition: Option<&'a RawValue>,
    #[serde(borrow)]
    headers: Option<&'a RawValue>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
}

/// Strict: a misspelt `message_id` would write duplicates, and a misspelt `data` nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Message<'a> {
    #[serde(borrow)]
    subject: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    headers: Option<&'a RawValue>,
    #[serde(borrow)]
    message_id: Option<&'a RawValue>,
}

#[derive(Deserialize)]
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
) -> Result<ProduceRecord, Problem> {
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
    Ok(ProduceRecord {
        topic: topic.to_owned(),
        partition: partition.or(own),
        key: bytes(record.key, &format!("{place}.key"), format)?,
        value: bytes(record.value, &format!("{place}.value"), format)?,
        headers: record.headers.map_or(Ok(Vec::new()), |list| headers(list, place))?,
        timestamp: timestamp.transpose()?,
    })
}

fn message(item: &RawValue, place: &str, format: Format, stream: &str) -> Result<ProduceRecord, Problem> {
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
    Ok(ProduceRecord {
        topic: stream.to_owned(),
        key: Some(text(subject, "subject")?.into()),
        // Messages have no null.
        value: Some(bytes(message.data, &format!("{place}.data"), format)?.unwrap_or_default()),
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
        // The JSON is valid, and members can have any value. What remains are serde's errors for an unknown or duplicate member,
        // which can repeat a name of any length, and the parser's for a name with half a surrogate pair.
        let reason = match error.is_data() {
            true if error.to_string().starts_with("unknown field") => "has an unknown member",
            true => "has a duplicate member",
            false => "has a member name that is not Unicode",
        };
        wrong(place, reason)
    })
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

#[cfg(test)]
mod tests;

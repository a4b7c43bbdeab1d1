//! Records one by one, as version 3 of the REST proxies' API has them, and their answers.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use sluicegate_backend::Written;
use sluicegate_backend::command::{Record, SchemaChoice};
use sluicegate_protocol::SchemaType;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::http::body::{BodyError, bytes, headers, number, object, wrong};
use crate::http::failure::is_default;
use crate::http::media_type::Format;
use crate::http::{StreamedPart, StreamedParts, StreamedRecord, json};
use crate::position;

/// Parses valid JSON as a record for a topic. Members can be null or missing: such a key or value is null.
pub(super) fn record(json: &str, topic: &str) -> Result<StreamedRecord, BodyError> {
    let Members { partition_id, headers: list, key, value, timestamp } = object(json, "the record")?;
    let partition = given(partition_id).map(|id| number(id, "partition_id", 0, i32::MAX.into()));
    let key = given(key).map(|part| Part::parse(part, "key", topic)).transpose()?.unwrap_or_default();
    let value = given(value).map(|part| Part::parse(part, "value", topic)).transpose()?.unwrap_or_default();
    let record = Record {
        topic: topic.to_owned(),
        partition: partition.transpose()?.and_then(|partition| i32::try_from(partition).ok()),
        key: key.bytes,
        value: value.bytes,
        headers: given(list).map_or(Ok(Vec::new()), |list| headers(list, "the record"))?,
        timestamp: given(timestamp).map(time).transpose()?,
        key_schema: key.schema,
        value_schema: value.schema,
        // A text is of its own type.
        schema_type: None,
    };
    Ok(StreamedRecord { record, parts: StreamedParts { key: key.form, value: value.form } })
}

/// A key or value.
#[derive(Default)]
struct Part {
    bytes: Option<Bytes>,
    schema: Option<SchemaChoice>,
    form: Option<StreamedPart>,
}

impl Part {
    fn parse(part: &RawValue, place: &str, topic: &str) -> Result<Self, BodyError> {
        let data: Data = object(part.get(), place)?;
        let kind = given(data.r#type).map(|kind| {
            let kind = text(kind).and_then(|kind| TYPES.iter().find(|(name, _)| *name == kind));
            kind.ok_or_else(|| wrong(&format!("{place}.type"), EXPECTED))
        });
        let place_of_data = format!("{place}.data");
        let bytes = |format| bytes(given(data.data), &place_of_data, format);
        match kind.transpose()? {
            Some((name, format @ (Format::Binary | Format::Json | Format::Text))) => {
                if let Some((member, _)) = data.of_schema().into_iter().find(|(_, given)| given.is_some()) {
                    let expected = format!("expected none with the type {name}");
                    return Err(wrong(&format!("{place}.{member}"), &expected));
                }
                let bytes = bytes(*format)?;
                let size = bytes.as_ref().map_or(0, Bytes::len);
                let form = StreamedPart { kind: Some(*name), size: Some(size), ..StreamedPart::default() };
                Ok(Self { bytes, schema: None, form: Some(form) })
            }
            kind => {
                let schema = data.schema(kind.map(|(_, format)| *format), place, topic)?;
                let mut form = StreamedPart { kind: kind.map(|(name, _)| *name), ..StreamedPart::default() };
                if let SchemaChoice::Subject(subject) = &schema {
                    form.subject = Some(String::from(&**subject));
                }
                Ok(Self { bytes: bytes(Format::Json)?, schema: Some(schema), form: Some(form) })
            }
        }
    }
}

impl Data<'_> {
    /// The members about a schema, as far as they are given.
    fn of_schema(&self) -> [(&'static str, Option<&RawValue>); 5] {
        [
            ("subject", given(self.subject)),
            ("subject_name_strategy", given(self.subject_name_strategy)),
            ("schema_id", given(self.schema_id)),
            ("schema_version", given(self.schema_version)),
            ("schema", given(self.schema)),
        ]
    }

    /// The schema. Without a type and a schema, the latest one of the subject.
    fn schema(&self, of: Option<Format>, place: &str, topic: &str) -> Result<SchemaChoice, BodyError> {
        let [(_, subject), (_, strategy), (_, id), (_, version), (_, schema)] = self.of_schema();
        let refused = |member: &str, expected: &str| Err(wrong(&format!("{place}.{member}"), expected));
        if version.is_some() {
            return refused("schema_version", "not served, expected schema_id");
        }
        let topics_own = format!("{topic}-{place}");
        let subject = match subject.map(text) {
            Some(Some(subject)) => Some(subject),
            Some(None) => return refused("subject", "expected a string"),
            None => None,
        };
        if strategy.is_some_and(|strategy| text(strategy).as_deref() != Some("TOPIC_NAME")) {
            return refused("subject_name_strategy", "expected TOPIC_NAME");
        }
        match (of, id, schema) {
            (Some(Format::Schema(kind)), None, Some(schema)) => {
                if subject.is_some_and(|subject| subject != topics_own) {
                    return refused("subject", &format!("expected {topics_own}, of a schema with its text"));
                }
                let text = text(schema);
                let text = text.ok_or_else(|| wrong(&format!("{place}.schema"), "expected a string"))?;
                Ok(SchemaChoice::Text { kind, text: text.into(), registers: false })
            }
            (Some(_), Some(_), _) => refused("schema_id", "expected it without type"),
            (Some(_), None, _) => refused("schema", "missing, expected it with this type"),
            (None, _, Some(_)) => refused("schema", "expected it with type AVRO, JSONSCHEMA or PROTOBUF"),
            (None, Some(id), None) => {
                let id = number(id, &format!("{place}.schema_id"), 0, u32::MAX.into())?;
                Ok(SchemaChoice::Id(u32::try_from(id).unwrap_or_default()))
            }
            (None, None, None) => Ok(SchemaChoice::Subject(subject.unwrap_or(topics_own).into())),
        }
    }
}

/// A member that is not null.
fn given(member: Option<&RawValue>) -> Option<&RawValue> {
    member.filter(|member| member.get() != "null")
}

fn text(member: &RawValue) -> Option<String> {
    serde_json::from_str(member.get()).ok()
}

/// The milliseconds since 1970 of a date with a time.
fn time(member: &RawValue) -> Result<i64, BodyError> {
    let text = text(member).filter(|text| text.contains('T'));
    let millis = text.and_then(|text| position::time(&text, 0));
    millis.ok_or_else(|| wrong("timestamp", "expected a time such as 2026-01-31T12:00:00Z"))
}

/// The document of a record that was written.
pub(super) fn written(
    cluster_id: &str,
    topic_name: &str,
    StreamedParts { key, value }: &StreamedParts,
    Written { partition, offset, timestamp, key_schema_id, value_schema_id, .. }: Written,
) -> Vec<u8> {
    let nanos = (timestamp >= 0).then(|| i128::from(timestamp).saturating_mul(1_000_000));
    let time = nanos.and_then(|nanos| OffsetDateTime::from_unix_timestamp_nanos(nanos).ok());
    json(&Receipt {
        error_code: 200,
        cluster_id,
        topic_name,
        partition_id: partition,
        offset,
        timestamp: time.and_then(|time| time.format(&Rfc3339).ok()),
        key: key.as_ref().map(|part| PartOf { part, schema_id: key_schema_id }),
        value: value.as_ref().map(|part| PartOf { part, schema_id: value_schema_id }),
    })
}

/// The document of a record that was not written, or perhaps.
pub(super) fn failed(error_code: u32, message: &str, unknown_outcome: bool) -> Vec<u8> {
    json(&Failed { error_code, message, unknown_outcome })
}

#[derive(Serialize)]
struct Receipt<'a> {
    error_code: u32,
    cluster_id: &'a str,
    topic_name: &'a str,
    partition_id: i32,
    offset: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<PartOf<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<PartOf<'a>>,
}

/// The form of a key or value, and the schema with which it was encoded.
#[derive(Serialize)]
struct PartOf<'a> {
    #[serde(flatten)]
    part: &'a StreamedPart,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema_id: Option<u32>,
}

#[derive(Serialize)]
struct Failed<'a> {
    error_code: u32,
    message: &'a str,
    /// The record may have been written. Present only if true, because the REST proxies have no such member.
    #[serde(skip_serializing_if = "is_default")]
    unknown_outcome: bool,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Members<'a> {
    #[serde(borrow)]
    partition_id: Option<&'a RawValue>,
    #[serde(borrow)]
    headers: Option<&'a RawValue>,
    #[serde(borrow)]
    key: Option<&'a RawValue>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Data<'a> {
    #[serde(borrow)]
    r#type: Option<&'a RawValue>,
    #[serde(borrow)]
    subject: Option<&'a RawValue>,
    #[serde(borrow)]
    subject_name_strategy: Option<&'a RawValue>,
    #[serde(borrow)]
    schema_id: Option<&'a RawValue>,
    #[serde(borrow)]
    schema_version: Option<&'a RawValue>,
    #[serde(borrow)]
    schema: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// The types of keys and values.
const TYPES: [(&str, Format); 6] = [
    ("BINARY", Format::Binary),
    ("JSON", Format::Json),
    ("STRING", Format::Text),
    ("AVRO", Format::Schema(SchemaType::Avro)),
    ("JSONSCHEMA", Format::Schema(SchemaType::JsonSchema)),
    ("PROTOBUF", Format::Schema(SchemaType::Protobuf)),
];

const EXPECTED: &str = "expected BINARY, JSON, STRING, AVRO, JSONSCHEMA or PROTOBUF";

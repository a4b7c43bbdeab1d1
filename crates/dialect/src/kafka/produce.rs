//! The command `produce`, and its answer.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, IgnoredAny, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Error;
use serde_json::value::RawValue;
use sluicegate_backend::command::{self, Command, SchemaChoice, Write};
use sluicegate_backend::{DeliveryReport, Written};
use sluicegate_delivery::cluster::{MAX_HEADERS, MAX_RECORDS};
use sluicegate_protocol as wire;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::schema_choice::Of;
use sluicegate_protocol::{CmdKafkaProduce, KafkaProduceResp, ProduceRecord, Produced as WireProduced};

use super::SYSTEM;
use crate::json::format::Format;
use crate::json::list::List;
use crate::json::present;
use crate::session::answer::{Answer, Encoding};
use crate::session::error::{MAX_RECORD_ERROR_BYTES, error_resp};
use crate::session::members::{Int64, Object, or_default};
use crate::session::producer::{self, Producer, Recognized};
use crate::session::text::results;
use crate::session::value::{self, RecordHeader, check_headers, header, text};

pub(super) fn of_protobuf(command: CmdKafkaProduce) -> Result<Command, String> {
    let CmdKafkaProduce { records, producer, dry_run } = command;
    let producer = producer.map(producer::of_protobuf).transpose()?;
    let records = records.into_iter().map(record).collect();
    Ok(Command::Produce(Write { records, producer, dry_run, ..Write::default() }))
}

fn record(
    ProduceRecord { topic, partition, key, value, headers, timestamp, value_schema, key_schema }: ProduceRecord,
) -> command::Record {
    let headers = headers.into_iter().map(header).collect();
    let [value_schema, key_schema] = [value_schema, key_schema].map(|schema| schema.map(schema_choice));
    command::Record {
        topic,
        partition,
        key,
        value,
        headers,
        timestamp,
        value_schema,
        key_schema,
        schema_type: None,
    }
}

/// The command in JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Produce<'a> {
    #[serde(borrow)]
    records: List<Object<Record<'a>>, MAX_RECORDS>,
    #[serde(default, deserialize_with = "or_default")]
    format: Format,
    producer: Option<Object<Producer>>,
    #[serde(default, deserialize_with = "or_default")]
    dry_run: bool,
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
    #[serde(borrow, default, deserialize_with = "or_default")]
    headers: List<Object<RecordHeader<'a>>, MAX_HEADERS>,
    timestamp: Option<Int64>,
    value_schema: Option<Choice>,
    key_schema: Option<Choice>,
    // Of records that were read: they can be written as they are.
    #[serde(rename = "offset")]
    _offset: Option<IgnoredAny>,
    #[serde(rename = "timestamp_type")]
    _timestamp_type: Option<IgnoredAny>,
    #[serde(rename = "not_decoded")]
    _not_decoded: Option<IgnoredAny>,
}

impl Produce<'_> {
    /// The records, and their producer.
    ///
    /// # Errors
    /// A key, a value or a header does not have the command's format, there are too many headers, or the producer is
    /// invalid.
    pub(super) fn decode(self) -> Result<Write, Error> {
        let Self { records, format, producer, dry_run } = self;
        check_headers(records.0.iter().map(|Object(record)| record.headers.0.len()))?;
        let record = |(index, Object(record)): (usize, Object<Record<'_>>)| {
            record.decode(format).map_err(|error| Error::custom(format_args!("records[{index}].{error}")))
        };
        let records = records.0.into_iter().enumerate().map(record).collect::<Result<_, _>>()?;
        let producer =
            producer.map(|Object(producer)| producer.decode().map_err(Error::custom)).transpose()?;
        Ok(Write { records, producer, dry_run, ..Write::default() })
    }
}

impl Record<'_> {
    fn decode(self, format: Format) -> Result<command::Record, String> {
        let Self { topic, partition, key, value, headers, timestamp, value_schema, key_schema, .. } = self;
        let by_route = (format == Format::Json).then_some(SchemaChoice::Topic);
        let key = match (format, &key_schema) {
            // A key with a schema is any JSON.
            (Format::Json, Some(_)) if key.is_some() => value::value(key, format),
            _ => text(key, format),
        };
        Ok(command::Record {
            topic,
            partition,
            key: key.map_err(|expected| format!("key: {expected}"))?,
            value: value::value(value, format).map_err(|expected| format!("value: {expected}"))?,
            headers: value::headers(headers, format)?,
            timestamp: timestamp.map(|Int64(timestamp)| timestamp),
            value_schema: value_schema.map(|Choice(choice)| choice).or(by_route),
            key_schema: key_schema.map(|Choice(choice)| choice),
            schema_type: None,
        })
    }
}

/// A choice in protobuf. One without a member is that of a subject that no registry has.
fn schema_choice(choice: wire::SchemaChoice) -> SchemaChoice {
    match choice.of {
        Some(Of::Id(id)) => SchemaChoice::Id(id),
        Some(Of::Subject(subject)) => SchemaChoice::Subject(subject.into()),
        None => SchemaChoice::Subject("".into()),
    }
}

/// A choice in JSON: a subject, an id, or the schema of a record that was read.
#[derive(Debug, PartialEq)]
struct Choice(SchemaChoice);

impl<'de> Deserialize<'de> for Choice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Choices)
    }
}

struct Choices;

impl<'de> Visitor<'de> for Choices {
    type Value = Choice;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a subject, the id of a schema, or the schema of a record that was read")
    }

    fn visit_u64<E: serde::de::Error>(self, id: u64) -> Result<Choice, E> {
        let id = u32::try_from(id).map_err(|_| E::invalid_value(Unexpected::Unsigned(id), &self))?;
        Ok(Choice(SchemaChoice::Id(id)))
    }

    fn visit_str<E: serde::de::Error>(self, subject: &str) -> Result<Choice, E> {
        Ok(Choice(SchemaChoice::Subject(subject.into())))
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Choice, A::Error> {
        #[derive(Deserialize)]
        struct Read {
            id: u32,
        }
        let Read { id } = Read::deserialize(MapAccessDeserializer::new(members))?;
        Ok(Choice(SchemaChoice::Id(id)))
    }
}

/// The answer with the report of each record.
pub(super) fn answer(sequence: i64, reports: Vec<DeliveryReport>, encoding: Encoding) -> Answer {
    match encoding {
        Encoding::Protobuf => {
            let results = reports.into_iter().map(result).collect();
            Answer::new(sequence, Resp::KafkaProduceResp(KafkaProduceResp { results }))
        }
        Encoding::Json(_) => {
            let place = |Written { partition, offset, timestamp, dedup, .. }| Produced {
                partition,
                offset,
                timestamp,
                dedup: dedup.map(Recognized::from),
            };
            Answer::Text(results(sequence, SYSTEM, reports.into_iter().map(|report| report.map(place))))
        }
    }
}

fn result(report: DeliveryReport) -> WireProduced {
    match report {
        Ok(Written { partition, offset, timestamp, dedup, .. }) => {
            let Recognized { duplicate, duplicate_window_ms, last_sequence } =
                dedup.map(Recognized::from).unwrap_or_default();
            WireProduced {
                partition,
                offset,
                timestamp,
                error: None,
                duplicate,
                duplicate_window_ms,
                last_sequence,
            }
        }
        Err(error) => {
            let error = Some(error_resp(error, SYSTEM, MAX_RECORD_ERROR_BYTES));
            WireProduced { error, ..WireProduced::default() }
        }
    }
}

#[derive(Serialize)]
struct Produced {
    partition: i32,
    offset: i64,
    timestamp: i64,
    #[serde(flatten)]
    dedup: Option<Recognized>,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sluicegate_backend::{CommandError, Fault};

    use super::*;
    use crate::session::answer::MAX_RESULT_BYTES;
    use crate::session::answer::tests::encoded;

    #[test]
    fn result_fits_its_reservation() {
        let fault = Fault::UnknownOutcome { retriable: true };
        let error = CommandError::new(fault, i32::MIN, "é".repeat(1000));
        let error = CommandError { retry_after: Duration::MAX, ends: Some((i64::MAX, i64::MAX)), ..error };
        let written = Written { partition: -1, offset: -1, timestamp: -1, ..Written::default() };
        for report in [Err(error), Ok(written)] {
            let len = encoded(answer(0, vec![report], Encoding::Protobuf)).len();
            assert!(len <= MAX_RESULT_BYTES, "{len}");
        }
    }
}

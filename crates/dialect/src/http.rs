//! Plain HTTP in the words of each messaging system: paths, parameters, headers, media types and documents.
//!
//! [`HttpDialect`] is everything that a system defines for it: words as data, and functions for documents whose shapes
//! differ. [`resource`] has the rows of a system's paths, [`media_type`] its types. [`body`] parses records, and
//! [`failure`] renders errors within documents. [`consumers`] are those of systems with groups.

pub mod body;
pub mod consumers;
pub mod failure;
pub mod media_type;
pub mod resource;

use http::HeaderName;
use serde::Serialize;
use serde_json::value::RawValue;
use sluicegate_backend::command::{Record, RecordFilter, SchemaChoice};
use sluicegate_backend::{Chunk, CommandError, DeliveryReport, Written};
use sluicegate_delivery::Place;
use sluicegate_protocol::KafkaMessage;

use self::body::BodyError;
use self::consumers::ConsumerResource;
use self::media_type::{Format, MediaTypes};
use self::resource::{Resources, Unserved};
use crate::json::format;

/// A messaging system in plain HTTP.
pub trait HttpDialect: Sync {
    /// The words of the system.
    fn words(&self) -> &'static HttpWords;

    /// The members of a body.
    ///
    /// # Errors
    /// The body is not an object with known members.
    fn batch<'a>(&self, body: &'a str, format: Format) -> Result<Batch<'a>, BodyError>;

    /// Parses a record of a body, for a topic or one of its partitions. `place` is the record's in the body.
    ///
    /// # Errors
    /// The record is invalid; says where, and what was expected.
    fn record(
        &self,
        item: &RawValue,
        place: &str,
        format: Format,
        topic: &str,
        partition: Option<i32>,
    ) -> Result<Record, BodyError>;

    /// Appends a record of a document. Bytes that do not fit the format are an object with base64.
    fn put_record(
        &self,
        text: &mut Vec<u8>,
        topic: &str,
        partition: i32,
        message: &KafkaMessage,
        format: Format,
    );

    /// The document with the result of each record.
    fn results(&self, reports: Vec<DeliveryReport>, schema_ids: [Option<u32>; 2]) -> Vec<u8>;

    /// The document of the only record of a `produce` route's request.
    fn acknowledged(&self, topic: &str, written: Written) -> Vec<u8>;

    /// The data of the event that a log has no more records, and the end of a transaction that hides some.
    fn caught_up(&self, place: &Place, blocked_until: Option<i64>) -> Vec<u8>;

    /// The data of the event that a record is too large for the client.
    fn too_large(
        &self,
        partition: i32,
        message: &KafkaMessage,
        format: format::Format,
        error: &CommandError,
    ) -> Vec<u8>;

    /// Checks a record's key to filter events by.
    ///
    /// # Errors
    /// No record has it; says what was expected.
    fn check_key(&self, key: &str) -> Result<(), &'static str>;

    /// Parses a filter of records as sessions have it in JSON.
    ///
    /// # Errors
    /// Says what was expected.
    fn filter(&self, json: &str) -> Result<RecordFilter, String>;
}

/// A body with records.
#[derive(Debug, Default)]
pub struct Batch<'a> {
    /// The value of the member that lists them; none if the body lacks it.
    pub records: Option<&'a RawValue>,
    /// The schema of keys, if the body names one.
    pub key_schema: Option<SchemaChoice>,
    /// The schema of values, if the body names one.
    pub value_schema: Option<SchemaChoice>,
}

/// The words of a messaging system in plain HTTP.
pub struct HttpWords {
    /// The first segments of its paths.
    pub roots: &'static [&'static str],
    /// The paths as listed to clients.
    pub paths: &'static str,
    /// The rows of its paths.
    pub resources: Resources,
    /// The rows of the paths of consumers; none if the system has no groups.
    pub consumers: &'static [ConsumerResource],
    /// Paths that name the cluster; none if the system has none.
    pub clusters: Option<&'static Clusters>,
    /// Paths that clients of other services ask for.
    pub unserved: &'static [Unserved],
    /// The media types of documents.
    pub media_types: MediaTypes,
    /// The parameter and the member with an offset.
    pub offset: &'static str,
    /// The members with the first offset of a log, and the one after the last.
    pub ends: [&'static str; 2],
    /// The parameter with the most records of a read.
    pub max_records: &'static str,
    /// A record's key in errors, and the parameter of events with that key.
    pub key: &'static str,
    /// The parameter of events with a key's prefix.
    pub key_prefix: &'static str,
    /// Whether every record must have a key.
    pub needs_key: bool,
    /// Ids of records in writes; none if the system has none.
    pub record_id: Option<RecordId>,
    /// The member of a body with its records.
    pub records: &'static str,
    /// CloudEvents in records.
    pub cloudevents: CloudEvents,
    /// The member of an error with the system's code.
    pub code: &'static str,
    /// The headers of a read. The first says where to continue.
    pub positions: &'static [Position],
    /// Advice if a record may have been written.
    pub unknown_outcome: &'static str,
    /// Advice if the system does not authorize the cluster's user.
    pub not_authorized: &'static str,
}

impl HttpWords {
    /// The parameters that can be repeated.
    pub fn lists(&self) -> [&'static str; 4] {
        [self.key, self.key_prefix, "header", FILTER]
    }
}

/// Version 3 of the REST proxies' API: its paths name the cluster, and records are written one by one.
#[derive(Debug)]
pub struct Clusters {
    /// The first segment of its paths.
    pub root: &'static str,
    /// The document of all clusters: the one with this id, at this URL without a slash at its end.
    pub list: fn(url: &str, id: &str) -> Vec<u8>,
    /// The document of that cluster.
    pub describe: fn(url: &str, id: &str) -> Vec<u8>,
    /// Parses valid JSON as a record for a topic.
    pub record: fn(json: &str, topic: &str) -> Result<StreamedRecord, BodyError>,
    /// The document of a written record.
    pub written: fn(cluster: &str, topic: &str, parts: &StreamedParts, written: Written) -> Vec<u8>,
    /// The document of a record that failed, with its code and message.
    pub failed: fn(code: u32, message: &str, unknown_outcome: bool) -> Vec<u8>,
}

/// A record of a stream of them.
#[derive(Debug)]
pub struct StreamedRecord {
    /// The record.
    pub record: Record,
    /// The parts that its answer repeats.
    pub parts: StreamedParts,
}

/// The forms in which a client gave a key and a value; None: it gave none.
#[derive(Debug, Default)]
pub struct StreamedParts {
    /// The key's.
    pub key: Option<StreamedPart>,
    /// The value's.
    pub value: Option<StreamedPart>,
}

/// The form of a key or value.
#[derive(Debug, Default, Serialize)]
pub struct StreamedPart {
    /// The name of the type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    /// The subject of the schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The bytes; None: they are not known before they are encoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<usize>,
}

impl StreamedParts {
    /// Whether one of them has a schema.
    pub fn have_schema(&self) -> bool {
        [&self.key, &self.value].into_iter().flatten().any(|part| part.size.is_none())
    }
}

/// CloudEvents in records, as the binding to the system has them.
pub struct CloudEvents {
    /// The prefix of the headers with attributes.
    pub prefix: &'static str,
    /// The header with the type of an event's data.
    pub data_type: &'static str,
    /// The header that tells that the value is a whole event.
    pub content_type: &'static str,
    /// Whether attributes in headers are percent-encoded.
    pub is_encoded: bool,
}

/// The parameter with a filter in JSON.
pub const FILTER: &str = "filter";

/// The places of a record's id.
pub struct RecordId {
    /// The request's header, with the id of its only record.
    pub header: &'static str,
    /// A record in messages.
    pub record: &'static str,
    /// The member of a record.
    pub member: &'static str,
    /// The record's own header.
    pub record_header: &'static str,
}

/// A header with an offset, if that is known.
pub struct Position {
    /// The name.
    pub header: HeaderName,
    /// Its value, none if it is unknown.
    pub of: fn(&Chunk) -> Option<i64>,
}

/// The parameter of events in which polyfills of `EventSource` send the header `Last-Event-ID`.
pub const LAST_EVENT_ID: &str = "lastEventId";

/// The bytes of a document.
pub(super) fn json(document: &impl Serialize) -> Vec<u8> {
    // Cannot fail: there are no maps with keys that are not strings.
    serde_json::to_vec(document).unwrap_or_default()
}

/// An end of a log that is not negative, as unknown ones are.
pub(super) fn known(offset: i64) -> Option<i64> {
    (offset >= 0).then_some(offset)
}

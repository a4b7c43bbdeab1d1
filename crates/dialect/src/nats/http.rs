//! Plain HTTP to NATS: streams, their messages and sequences.

mod messages;

use std::borrow::Cow;

use http::HeaderName;
use serde::Serialize;
use serde_json::value::RawValue;
use sluicegate_backend::command::{Record, RecordFilter};
use sluicegate_backend::{CommandError, DeliveryReport, Written};
use sluicegate_delivery::Place;
use sluicegate_protocol::{KafkaMessage, MESSAGE_ID_HEADER};

use super::message::Message;
use super::publish::Published;
use super::subscribe::SubjectFilter;
use super::{Nats, SYSTEM};
use crate::http::body::BodyError;
use crate::http::failure::Failure;
use crate::http::media_type::{EXACT, Format, JSON, MediaTypes};
use crate::http::resource::{Get, Post, Resource, Resources};
use crate::http::{
    Batch, CloudEvents, FILTER, HttpDialect, HttpWords, LAST_EVENT_ID, Position, RecordId, json, known,
};
use crate::json::format::{self, Payload};
use crate::session::filter::Filter;
use crate::session::members::object;

static WORDS: HttpWords = HttpWords {
    roots: &["streams"],
    paths: "/streams, /streams/STREAM, or /streams/STREAM with /messages, /sequences, /events or \
            /table/SUBJECT, after the route's path",
    resources: Resources::new(&RESOURCES),
    consumers: &[],
    clusters: None,
    unserved: &[],
    media_types: MediaTypes {
        documents: &[(&[(JSON, EXACT)], JSON)],
        records: &[
            (&[(BINARY, EXACT)], Format::Binary),
            (&[(JSON, EXACT)], Format::Json),
            (&[(TEXT, EXACT)], Format::Text),
        ],
        json: JSON,
        binary: BINARY,
        text: TEXT,
        schemas: &[],
        bodies: &[(JSON, Format::Json), (BINARY, Format::Binary), (TEXT, Format::Text)],
        other_bodies: &[],
        errors: &[],
    },
    offset: "sequence",
    ends: ["first_sequence", "end"],
    max_records: "max_messages",
    key: "subject",
    key_prefix: "subject_prefix",
    needs_key: true,
    record_id: Some(RecordId {
        header: "idempotency-key",
        record: "message",
        member: "message_id",
        record_header: MESSAGE_ID_HEADER,
    }),
    records: "messages",
    // The binding to NATS, 1.0.2, sections 3 and 3.1.
    cloudevents: CloudEvents {
        prefix: "ce-",
        data_type: "ce-datacontenttype",
        content_type: "Content-Type",
        is_encoded: true,
    },
    code: "nats_code",
    positions: &POSITIONS,
    unknown_outcome: "without a message id, a retry can write it twice",
    not_authorized: "authorize the cluster's user in NATS",
};

static POSITIONS: [Position; 3] = [
    Position {
        header: HeaderName::from_static("sluicegate-next-sequence"),
        of: |fetched| Some(fetched.next_offset),
    },
    Position {
        header: HeaderName::from_static("sluicegate-first-sequence"),
        of: |fetched| known(fetched.ends.start),
    },
    Position { header: HeaderName::from_static("sluicegate-end"), of: |fetched| known(fetched.ends.end) },
];

static RESOURCES: [Resource; 6] = [
    Resource {
        path: "/streams",
        name: "the list of streams",
        get: Some(Get::List),
        parameters: &[],
        posts: None,
    },
    Resource {
        path: "/streams/{stream}",
        name: "a stream",
        get: Some(Get::DescribeLog),
        parameters: &[],
        posts: Some(Post::Batch),
    },
    Resource {
        path: "/streams/{stream}/messages",
        name: "messages",
        get: Some(Get::Records),
        parameters: &["sequence", "max_bytes", "max_messages", "min_bytes", "timeout", FILTER],
        posts: None,
    },
    Resource {
        path: "/streams/{stream}/sequences",
        name: "sequences",
        get: Some(Get::Offsets),
        parameters: &["timestamp"],
        posts: None,
    },
    Resource {
        path: "/streams/{stream}/table/{subject}",
        name: "a subject",
        get: Some(Get::Key),
        parameters: &[],
        posts: None,
    },
    Resource {
        path: "/streams/{stream}/events",
        name: "events",
        get: Some(Get::Events),
        parameters: &[
            "from",
            "timestamp",
            "format",
            "subject",
            "subject_prefix",
            "header",
            FILTER,
            "on_lag",
            "snapshot",
            "max_event_bytes",
            "last_event_id",
            LAST_EVENT_ID,
        ],
        posts: None,
    },
];

/// Messages whose data is in base64.
const BINARY: &str = "application/vnd.sluicegate.binary+json";
const TEXT: &str = "application/vnd.sluicegate.text+json";

impl HttpDialect for Nats {
    fn words(&self) -> &'static HttpWords {
        &WORDS
    }

    fn batch<'a>(&self, body: &'a str, _: Format) -> Result<Batch<'a>, BodyError> {
        messages::batch(body)
    }

    fn record(
        &self,
        item: &RawValue,
        place: &str,
        format: Format,
        stream: &str,
        _: Option<i32>,
    ) -> Result<Record, BodyError> {
        messages::message(item, place, format, stream)
    }

    fn put_record(&self, text: &mut Vec<u8>, stream: &str, _: i32, message: &KafkaMessage, format: Format) {
        let data = format.of_values().value(message.value.as_deref().unwrap_or_default());
        let message = Message::new(Some(stream), message, data, Payload::Base64);
        // Cannot fail: a `Vec` accepts all writes, and every part of a message is valid JSON.
        let _ = serde_json::to_writer(text, &message);
    }

    fn results(&self, reports: Vec<DeliveryReport>, _: [Option<u32>; 2]) -> Vec<u8> {
        let outcome = |report| match report {
            &Ok(written) => Outcome::Written(Published::from(written)),
            Err(error) => Outcome::Failed { error: Failure::new(error, SYSTEM, None) },
        };
        json(&Results { results: reports.iter().map(outcome).collect() })
    }

    fn acknowledged(&self, stream: &str, written: Written) -> Vec<u8> {
        json(&Acknowledged { stream, published: written.into() })
    }

    fn caught_up(&self, place: &Place, _: Option<i64>) -> Vec<u8> {
        json(&CaughtUp { next_sequence: place.offset })
    }

    fn too_large(&self, _: i32, message: &KafkaMessage, _: format::Format, error: &CommandError) -> Vec<u8> {
        json(&TooLarge {
            sequence: message.offset,
            subject: message.key.as_deref().map(String::from_utf8_lossy),
            failure: Failure::new(error, SYSTEM, None),
        })
    }

    /// Stored subjects have no wildcards: such a filter would leave out every message.
    fn check_key(&self, subject: &str) -> Result<(), &'static str> {
        match subject.split('.').any(|token| matches!(token, "*" | ">")) {
            true => Err("expected no wildcard: for orders.> use subject_prefix=orders."),
            false => Ok(()),
        }
    }

    fn filter(&self, json: &str) -> Result<RecordFilter, String> {
        let filter: SubjectFilter<'_> = object(json).map_err(|error| error.to_string())?;
        Filter::from(filter).decode("subject", format::Format::Json)
    }
}

/// The document of a write.
#[derive(Serialize)]
struct Results<'a> {
    results: Vec<Outcome<'a>>,
}

/// The result of one message: its place or its error.
#[derive(Serialize)]
#[serde(untagged)]
enum Outcome<'a> {
    Written(Published),
    Failed { error: Failure<'a> },
}

#[derive(Serialize)]
struct Acknowledged<'a> {
    stream: &'a str,
    #[serde(flatten)]
    published: Published,
}

#[derive(Serialize)]
struct TooLarge<'a> {
    sequence: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Cow<'a, str>>,
    #[serde(flatten)]
    failure: Failure<'a>,
}

#[derive(Serialize)]
struct CaughtUp {
    next_sequence: i64,
}

//! CloudEvents between HTTP and records, as version 1.0.2 of the bindings to HTTP, Kafka and NATS has them.
//!
//! 1. [`of_request`]: events of a request become records, in the mode that the client chose
//! 2. [`put`]: a record in either mode becomes an event of a batch

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use serde::Serialize;
use serde_json::value::RawValue;
use sluicegate_backend::System;
use sluicegate_backend::command::{Header, Record};
use sluicegate_delivery::cluster::MAX_RECORDS;
use sluicegate_dialect::http::CloudEvents;
use sluicegate_dialect::http::body::{escaped_name, list};
use sluicegate_dialect::http::media_type::{CLOUDEVENT, CLOUDEVENTS, EXACT, Name};
use sluicegate_dialect::json::format::Payload;
use sluicegate_dialect::{self as dialect, json};
use sluicegate_protocol::KafkaMessage;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::headers::Headers;
use super::problem::{Problem, ProblemKind};

/// The events of a request, as records without a topic. A key is the extension `partitionkey`.
#[derive(Debug, PartialEq)]
pub(super) enum Events {
    /// In binary or structured mode.
    One(Record),
    /// In batch mode.
    Batch(Vec<Record>),
}

/// The events of a request. None: it has none.
///
/// # Errors
/// An event is invalid.
pub(super) fn of_request(
    headers: Headers<'_>,
    body: &Bytes,
    system: System,
) -> Result<Option<Events>, Problem> {
    let content_type = headers.content_type()?;
    let words = &dialect::of(system).words().cloudevents;
    match content_type.as_str() {
        CLOUDEVENT => Ok(Some(Events::One(structured(json::parse(body)?, "the body", words)?))),
        CLOUDEVENTS => Ok(Some(Events::Batch(batch(body, words)?))),
        // Section 3 of the binding to HTTP: the prefix tells of an event format.
        other if other.starts_with(MEDIA_TYPE) => {
            let detail = format!("expected Content-Type to be {CLOUDEVENT} or {CLOUDEVENTS}");
            Err(Problem::new(ProblemKind::UnsupportedMediaType, detail))
        }
        _ => Ok(binary(headers, body, words)?.map(Events::One)),
    }
}

fn batch(body: &[u8], words: &CloudEvents) -> Result<Vec<Record>, Problem> {
    let events = list(json::value(body)?, "the body", MAX_RECORDS)?.into_iter().enumerate();
    events.map(|(index, event)| structured(event.get(), &format!("event {index}"), words)).collect()
}

/// Valid JSON as a record in structured mode.
fn structured(event: &str, place: &str, words: &CloudEvents) -> Result<Record, Problem> {
    let attributes = members(event).and_then(|attributes| check(&attributes).map(|()| attributes));
    let attributes = attributes.map_err(|expected| invalid(&format!("{place}: {expected}")))?;
    let header = Header { key: words.content_type.to_owned(), value: Some(STRUCTURED.into()) };
    Ok(Record {
        key: attributes.get(PARTITION_KEY).map(|key| Bytes::copy_from_slice(key.as_bytes())),
        value: Some(Bytes::copy_from_slice(event.as_bytes())),
        headers: vec![header],
        ..Record::default()
    })
}

/// A request in binary mode as a record in binary mode. None: no header is an event's.
fn binary(headers: Headers<'_>, body: &Bytes, words: &CloudEvents) -> Result<Option<Record>, Problem> {
    let mut attributes = Attributes::new();
    for name in headers.0.keys() {
        let Some(attribute) = name.as_str().strip_prefix(HTTP_PREFIX) else { continue };
        let malformed = |expected: &str| invalid(&format!("header {name}: {expected}"));
        // Section 3.1.1: "a ce-datacontenttype HTTP header MUST NOT also be present".
        if !is_name(attribute) || attribute == DATA_TYPE {
            return Err(malformed(
                "expected the name of an attribute, and Content-Type for that of the data",
            ));
        }
        let value = headers.text(name.as_str())?.unwrap_or_default();
        let value = decoded(value).ok_or_else(|| malformed("expected UTF-8 without control characters"))?;
        attributes.insert(attribute.into(), value.into());
    }
    if attributes.is_empty() {
        return Ok(None);
    }
    if let Some(data_type) = headers.text("content-type")?.filter(|data_type| !data_type.is_empty()) {
        attributes.insert(DATA_TYPE.into(), data_type.into());
    }
    check(&attributes).map_err(|expected| invalid(&format!("headers {HTTP_PREFIX}…: {expected}")))?;
    let key = attributes.get(PARTITION_KEY).map(|key| Bytes::copy_from_slice(key.as_bytes()));
    let header = |(attribute, value): (Cow<'_, str>, Cow<'_, str>)| {
        let key = if attribute == DATA_TYPE {
            words.data_type.to_owned()
        } else {
            words.prefix.to_owned() + &attribute
        };
        let value = if words.is_encoded { encoded(&value) } else { value.into_owned() };
        Header { key, value: Some(value.into()) }
    };
    let headers = attributes.into_iter().map(header).collect();
    // The binding to Kafka, section 3.2.2: "a CloudEvent with no data is a Kafka message with no value".
    let value = Some(body.clone()).filter(|body| !body.is_empty());
    Ok(Some(Record { key, value, headers, ..Record::default() }))
}

/// Appends the event of a record as JSON. False: it has none, or one that clients can refuse, and nothing is appended.
pub(super) fn put(text: &mut Vec<u8>, message: &KafkaMessage, system: System) -> bool {
    let words = &dialect::of(system).words().cloudevents;
    let (before, value) = (text.len(), message.value.as_deref());
    let is_put = match content_type(message) {
        // Section 3.3: other event formats cannot become JSON.
        Some(other) if starts_with(other, MEDIA_TYPE) => {
            let essence = essence(other);
            let is_json =
                essence.eq_ignore_ascii_case(CLOUDEVENT) || essence.eq_ignore_ascii_case(MEDIA_TYPE);
            is_json
                && value.and_then(embedded).map(|event| text.extend_from_slice(event.as_bytes())).is_some()
        }
        data_type => attributes(message, data_type, words).is_some_and(|attributes| {
            // SDKs write no data as an empty value, and NATS has no null.
            let data = value.filter(|value| !value.is_empty());
            let data = data.map(|value| Data::new(value, attributes.get(DATA_TYPE)));
            serde_json::to_writer(&mut *text, &Structured { attributes: &attributes, data }).is_ok()
        }),
    };
    if !is_put {
        text.truncate(before);
    }
    is_put
}

/// A valid event in structured mode.
fn embedded(value: &[u8]) -> Option<&str> {
    let Some(Payload::Json(event)) = Payload::json(json::without_bom(value)) else { return None };
    check(&members(event.get()).ok()?).ok()?;
    Some(event.get())
}

/// The attributes of a record in binary mode. Headers whose names no attribute can have are left out.
fn attributes<'a>(
    message: &'a KafkaMessage,
    data_type: Option<&'a str>,
    words: &CloudEvents,
) -> Option<Attributes<'a>> {
    let mut attributes = Attributes::new();
    for header in &message.headers {
        let Some(attribute) = header.key.get(words.prefix.len()..) else { continue };
        // Null is unset.
        let Some(value) = &header.value else { continue };
        if !starts_with(&header.key, words.prefix) || !is_name(&attribute.to_ascii_lowercase()) {
            continue;
        }
        let value = std::str::from_utf8(value).ok()?;
        let value = if words.is_encoded { decoded(value)?.into() } else { Cow::Borrowed(value) };
        if attributes.insert(attribute.to_ascii_lowercase().into(), value).is_some() {
            return None;
        }
    }
    if let Some(data_type) = data_type {
        attributes.insert(DATA_TYPE.into(), data_type.into());
    }
    check(&attributes).ok()?;
    Some(attributes)
}

fn content_type(message: &KafkaMessage) -> Option<&str> {
    let header = message.headers.iter().find(|header| header.key.eq_ignore_ascii_case("content-type"))?;
    std::str::from_utf8(header.value.as_deref()?).ok()
}

/// An event in structured mode.
#[derive(Serialize)]
struct Structured<'a> {
    #[serde(flatten)]
    attributes: &'a Attributes<'a>,
    #[serde(flatten)]
    data: Option<Data<'a>>,
}

/// The data of an event, by the name of its member.
#[derive(Serialize)]
enum Data<'a> {
    #[serde(rename = "data")]
    Plain(Payload<'a>),
    #[serde(rename = "data_base64")]
    Base64(Payload<'a>),
}

impl<'a> Data<'a> {
    /// Embeds JSON and text if that is what the media type declares (the JSON format, section 3.1.1).
    fn new(value: &'a [u8], data_type: Option<&Cow<'_, str>>) -> Self {
        let data_type = data_type.map(|data_type| data_type.to_ascii_lowercase()).unwrap_or_default();
        let plain = match essence(&data_type) {
            json if json.ends_with("/json") || json.ends_with("+json") => Payload::json(value),
            text if is_text(text) && is_utf8(&data_type) => Payload::text(value),
            _ => None,
        };
        plain.map_or(Self::Base64(Payload::Base64(value)), Self::Plain)
    }
}

fn is_text(essence: &str) -> bool {
    essence.starts_with("text/") || essence.ends_with("/xml") || essence.ends_with("+xml")
}

fn is_utf8(data_type: &str) -> bool {
    let mut parameters = data_type.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    let charset = parameters.find(|(name, _)| name.trim_ascii() == "charset");
    charset
        .is_none_or(|(_, charset)| ["utf-8", "utf8", "us-ascii"].contains(&charset.trim_matches([' ', '"'])))
}

/// The attributes of an event, with their values as strings.
type Attributes<'a> = BTreeMap<Cow<'a, str>, Cow<'a, str>>;

/// The attributes of valid JSON in structured mode that are strings; says what was expected.
fn members(event: &str) -> Result<Attributes<'_>, String> {
    let members: BTreeMap<String, &RawValue> =
        serde_json::from_str(event).map_err(|_| "expected an object with names in Unicode")?;
    if members.contains_key("data") && members.contains_key("data_base64") {
        return Err("expected data or data_base64, not both".to_owned());
    }
    let mut attributes = Attributes::new();
    for (name, value) in members {
        if name == "data_base64" {
            let text: Option<String> = serde_json::from_str(value.get()).ok();
            if text.and_then(|text| json::base64(&text)).is_none() {
                return Err("data_base64: expected a string in base64".to_owned());
            }
        }
        if matches!(name.as_str(), "data" | "data_base64") {
            continue;
        }
        if !is_name(&name) {
            let name = escaped_name(&name);
            return Err(format!("{name}: expected a name of lower-case letters and digits"));
        }
        let json = value.get();
        let expected = match json.as_bytes().first() {
            Some(b'"') => match serde_json::from_str(json) {
                Ok(text) => {
                    attributes.insert(name.into(), Cow::Owned(text));
                    continue;
                }
                Err(_) => "a string in Unicode",
            },
            // Section 2.2: null is as if it were absent.
            Some(b'n') => continue,
            _ if STRINGS.contains(&name.as_str()) => "a string",
            Some(b'{' | b'[') => "a string, an integer or a boolean",
            Some(b'-' | b'0'..=b'9') if json.contains(['.', 'e', 'E']) => "an integer",
            _ => continue,
        };
        return Err(format!("{}: expected {expected}", escaped_name(&name)));
    }
    Ok(attributes)
}

/// Checks the attributes that every event has, and those whose form clients check; says what was expected.
fn check(attributes: &Attributes<'_>) -> Result<(), String> {
    for required in REQUIRED {
        if attributes.get(required).is_none_or(|value| value.is_empty()) {
            return Err(format!("no {required}, which every CloudEvent has"));
        }
    }
    if attributes.get("specversion").is_some_and(|version| version != VERSION) {
        return Err(format!("specversion: expected {VERSION}"));
    }
    for (name, value) in attributes {
        let expected = match &**name {
            optional if STRINGS.contains(&optional) && value.is_empty() => "a value",
            "source" | "dataschema" if !is_uri_reference(value) => "a URI reference",
            "time" if OffsetDateTime::parse(value, &Rfc3339).is_err() => "a time as in RFC 3339",
            _ => continue,
        };
        return Err(format!("{name}: expected {expected}"));
    }
    Ok(())
}

/// The characters of RFC 3986, section 2, with a fragment at most.
fn is_uri_reference(text: &str) -> bool {
    let escapes = text.split('%').skip(1);
    let is_hex = |digits: &[u8]| digits.iter().all(u8::is_ascii_hexdigit);
    text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte))
        && escapes.map(str::as_bytes).all(|behind| behind.get(..2).is_some_and(is_hex))
        && text.bytes().filter(|byte| *byte == b'#').count() <= 1
}

/// The CloudEvents specification, "Naming Conventions". A JSON event has its data under this name.
fn is_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    !name.is_empty() && name != "data" && name.bytes().all(is_allowed)
}

/// The value of an attribute in a header (the binding to HTTP, section 3.1.3.2). None if it is not one.
fn decoded(value: &str) -> Option<String> {
    let unquoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    let unquoted = unquoted.map_or(Cow::Borrowed(value), |quoted| unescaped(quoted).into());
    let decoded = percent_decode_str(&unquoted).decode_utf8().ok()?;
    (!decoded.contains(char::is_control)).then(|| decoded.into_owned())
}

/// The text of a quoted string (RFC 9110, section 5.6.4).
fn unescaped(quoted: &str) -> String {
    let mut is_escaped = false;
    let mut text = quoted.to_owned();
    text.retain(|character| {
        is_escaped = character == '\\' && !is_escaped;
        !is_escaped
    });
    text
}

fn encoded(value: &str) -> String {
    utf8_percent_encode(value, ENCODED).to_string()
}

fn invalid(detail: &str) -> Problem {
    Problem::new(ProblemKind::Malformed, format!("invalid CloudEvent: {detail}"))
}

/// A media type without its parameters.
fn essence(media_type: &str) -> &str {
    media_type.split_once(';').map_or(media_type, |(essence, _)| essence).trim_ascii()
}

fn starts_with(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// The names of batches in `Accept`.
pub(super) const NAMES: &[Name] = &[(CLOUDEVENTS, EXACT)];
const HTTP_PREFIX: &str = "ce-";
/// The beginning of the media types of event formats.
const MEDIA_TYPE: &str = "application/cloudevents";
/// The type of records in structured mode.
const STRUCTURED: &str = "application/cloudevents+json; charset=UTF-8";
const VERSION: &str = "1.0";
const REQUIRED: [&str; 4] = ["specversion", "id", "source", "type"];
/// The attributes that are strings which cannot be empty.
const STRINGS: [&str; 9] =
    ["specversion", "id", "source", "type", "subject", "time", DATA_TYPE, "dataschema", PARTITION_KEY];
const DATA_TYPE: &str = "datacontenttype";
/// The extension for the key of a record (the binding to Kafka, section 3.1).
const PARTITION_KEY: &str = "partitionkey";
/// The binding to HTTP, section 3.1.3.2.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

#[cfg(test)]
mod tests;

//! Writes what clients append, and answers those that would create, close or delete a stream: streams are topics, which exist
//! already.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, StatusCode};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use sluicegate_backend::command::{Header, Producer, Record, STREAM_SEQ, SchemaChoice, Write};
use sluicegate_backend::{CommandError, Fault, System};
use sluicegate_delivery::cluster::{MAX_RECORDS, WriteTicket};
use sluicegate_delivery::grant::Grant;
use sluicegate_dialect::http::body::list;
use sluicegate_dialect::json::format::Payload;
use sluicegate_dialect::json::{self, or_null, present};
use sluicegate_protocol::http_streams::Elements;

use super::super::Request;
use super::super::headers::Headers;
use super::super::problem::{PRODUCER_EXPECTED, Problem, ProblemKind};
use super::super::produce::written;
use super::super::producer;
use super::super::request_permits::RequestPermits;
use super::super::response::Response;
use super::content::{Content, Kind, PACKED, TXID};
use super::position::Position;
use super::target::Target;
use super::{NEXT_OFFSET, READ_ONLY, RECEIVED, read};

/// The response to PUT: a stream that is there has been created, with its route's type.
///
/// # Cancel safety
/// A drop abandons the read.
pub(super) async fn put(
    request: &Request<'_>,
    target: &Target,
    content: &Content,
    allow: &'static str,
) -> Result<Response, Problem> {
    refuse(request.headers, &[CLOSED, TTL, EXPIRES, FORKED_FROM, FORK_OFFSET, FORK_SUB_OFFSET])?;
    let created = match read::head(request, target, content, false).await {
        Err(problem) if problem.is_missing() => {
            let detail = "the stream does not exist: streams are topics, which are created in the cluster";
            return Err(Problem::new(ProblemKind::MethodNotAllowed(allow), detail));
        }
        created => created?,
    };
    let given = request.headers.content_type()?;
    check_type(content, if given.is_empty() { BYTES } else { &given })?;
    if target.subject.is_some() && request.grant.can_write(&target.topic).is_ok() {
        check_subject(request.grant, target).await?;
    }
    Ok(created)
}

/// Checks that a stream of NATS would take a message to the subject.
///
/// # Errors
/// It would not.
async fn check_subject(grant: &Grant, target: &Target) -> Result<(), Problem> {
    let write = Write { records: vec![empty(target)], dry_run: true, ..Write::default() };
    match grant.produce(write, WriteTicket::default(), || {}).await.map(|mut reports| reports.pop()) {
        Ok(Some(Err(error))) if error.fault == Fault::InvalidRecord => Err(failed(error, grant, None)),
        Err(error) => Err(failed(error, grant, None)),
        // An empty message says nothing of others.
        Ok(_) => Ok(()),
    }
}

/// A record of a stream without content.
fn empty(target: &Target) -> Record {
    Record {
        topic: target.topic.clone(),
        partition: Some(target.partition),
        key: target.subject.as_ref().map(|subject| Bytes::copy_from_slice(subject.as_bytes())),
        ..Record::default()
    }
}

/// The response to POST.
///
/// # Cancel safety
/// The records are written all or none.
pub(super) async fn post(
    request: &Request<'_>,
    target: &Target,
    content: &Content,
    running: &Arc<RequestPermits>,
) -> Result<Response, Problem> {
    let producer = producer::of_appends(request.headers)?;
    let answered = append(request, target, content, producer.clone(), running).await;
    match (answered, producer) {
        // A client that learns of no sequence would repeat without a pause.
        (Err(problem), Some(producer)) if problem.is_conflict() => {
            let has_state = problem.has_producer();
            let response = problem.plain().header(RECEIVED, producer.sequence.to_string());
            Ok(match has_state {
                true => response,
                false => response.header(PRODUCER_EXPECTED, producer.sequence.to_string()),
            })
        }
        (answered, _) => answered,
    }
}

async fn append(
    request: &Request<'_>,
    target: &Target,
    content: &Content,
    producer: Option<Producer>,
    running: &Arc<RequestPermits>,
) -> Result<Response, Problem> {
    let (grant, headers) = (request.grant, request.headers);
    refuse(headers, &[CLOSED])?;
    let sequence = sequence(headers, grant.system())?;
    headers.check_content_encoding()?;
    let malformed = |detail: &str| Err(Problem::new(ProblemKind::Malformed, detail));
    if request.body.is_empty() {
        return malformed("the body is empty: expected content to append");
    }
    let given = headers.content_type()?;
    if given.is_empty() {
        return malformed("no Content-Type: expected that of the stream");
    }
    if given != content.media_type {
        match read::head(request, target, content, false).await {
            // A stream that is not there has no type.
            Err(problem) if problem.is_missing() => return Err(problem),
            _ => check_type(content, &given)?,
        }
    }
    let mut records = records(request.body, target, content)?;
    if records.len() > 1 && (producer.is_some() || sequence.is_some()) {
        // Producers count requests, and Kafka counts records. Those with a sequence are written or not.
        if !content.packs {
            return malformed(
                "several messages in a request with a producer or a Stream-Seq: expected one, or a route with `pack`, \
                 which makes one record of them",
            );
        }
        records = vec![packed(records)];
    }
    let ascends = sequence.is_some();
    if let Some(sequence) = sequence {
        for record in &mut records {
            record.headers.retain(|header| !header.key.eq_ignore_ascii_case(STREAM_SEQ));
            record.headers.push(Header { key: STREAM_SEQ.to_owned(), value: Some(sequence.clone()) });
        }
    }
    let topic_id = topic_id(grant, target).await;
    let write = Write { records, producer: producer.clone(), ascends, dry_run: false };
    let reports = match written(grant, write, false, running).await {
        Some(reports) => reports.map_err(|error| failed(error, grant, producer.as_ref()))?,
        None => Vec::new(),
    };
    let all = reports.len();
    let (mut stored, mut errors) = (Vec::with_capacity(all), Vec::new());
    for report in reports {
        match report {
            Ok(written) => stored.push(written),
            Err(error) => errors.push(error),
        }
    }
    // A message that is at fault itself says more than those beside it.
    let cause = errors.iter().find(|error| !error.fault.is_retriable()).or(errors.first()).cloned();
    if let Some(error) = cause {
        let message = error.message.clone();
        let problem = failed(error, grant, producer.as_ref());
        return Err(match stored.len() {
            0 => problem.with_missing_log(grant, &target.topic, Some(target.partition)).await,
            count => problem.with_detail(format!("{count} of {all} messages were written: {message}")),
        });
    }
    let reports: Vec<_> = stored.iter().copied().map(Ok).collect();
    let is_repeat = stored.iter().all(|written| written.dedup.is_some_and(|dedup| dedup.is_duplicate));
    // The client takes 200 for new content, and 204 for what was there; without a producer, 204 is all.
    let status = if producer.is_some() && !is_repeat { StatusCode::OK } else { StatusCode::NO_CONTENT };
    let response = producer::add(Response::empty(status), producer.as_ref(), &reports);
    let last = stored.iter().map(|written| written.offset).max().filter(|offset| *offset >= 0);
    Ok(match (topic_id, last) {
        (Some(id), Some(last)) => {
            response.header(NEXT_OFFSET, Position::new(id, last.saturating_add(1)).text())
        }
        _ => response,
    })
}

/// The sequence that the writers of a stream agree on, and that must be greater than the last one (section 5.2).
fn sequence(headers: Headers<'_>, system: System) -> Result<Option<Bytes>, Problem> {
    let Some(sequence) = headers.text(STREAM_SEQ)? else { return Ok(None) };
    let malformed =
        |why: String| Err(Problem::new(ProblemKind::Malformed, format!("header {STREAM_SEQ}: {why}")));
    if system.has_partitions {
        return malformed("Kafka compares no such sequence: use the headers of a producer".to_owned());
    }
    // NATS' clients do not see white space around values.
    if sequence.is_empty() || sequence.len() > MAX_SEQUENCE || sequence.trim() != sequence {
        return malformed(format!("expected 1 to {MAX_SEQUENCE} bytes without white space around them"));
    }
    Ok(Some(Bytes::copy_from_slice(sequence.as_bytes())))
}

/// The id of the stream's topic, if it is known or can be. Clients that only write cannot ask for it.
async fn topic_id(grant: &Grant, target: &Target) -> Option<Option<u128>> {
    let log = target.log();
    if grant.topic_id(log).is_none() && grant.check_read(&target.topic).is_ok() {
        grant.ends(log, false).await.ok()?;
    }
    Some(grant.topic_id(log))
}

/// The problem of a failed append. Writes that are not allowed are no 403, which producers take for a later epoch.
fn failed(error: CommandError, grant: &Grant, producer: Option<&Producer>) -> Problem {
    let (fault, lacks_right) = (error.fault, error.lacks.is_some());
    let state = error.producer.as_ref().map(|state| state.sequence);
    let problem = producer::failed(error, grant.system(), producer);
    match fault {
        Fault::NotAuthorized => problem.of_kind(ProblemKind::MethodNotAllowed(READ_ONLY)),
        Fault::Forbidden if lacks_right => problem.of_kind(ProblemKind::MethodNotAllowed(READ_ONLY)),
        // Such as a header of the client's rows, which is set here.
        Fault::Forbidden => problem.of_kind(ProblemKind::Malformed),
        // A later epoch that does not begin at 0.
        Fault::OutOfOrder if state == Some(0) => problem.of_kind(ProblemKind::Malformed),
        _ => problem,
    }
}

/// Refuses headers of what streams cannot do.
fn refuse(headers: Headers<'_>, refused: &[(HeaderName, &str)]) -> Result<(), Problem> {
    for (name, why) in refused {
        let mut given = headers.all(name.as_str());
        // Section 5.3: values of Stream-Closed other than true are as if it were absent.
        let counts = |value: &[u8]| *name != CLOSED.0 || value.eq_ignore_ascii_case(b"true");
        if given.any(counts) {
            return Err(Problem::new(ProblemKind::Malformed, format!("header {name}: {why}, leave it out")));
        }
    }
    Ok(())
}

fn check_type(content: &Content, given: &str) -> Result<(), Problem> {
    if given == content.media_type {
        return Ok(());
    }
    let detail = format!("the stream has the Content-Type {}", content.media_type);
    Err(Problem::new(ProblemKind::OtherType, detail))
}

/// The records of a body: elements of an array, or all of it.
pub(super) fn records(body: &Bytes, target: &Target, content: &Content) -> Result<Vec<Record>, Problem> {
    let at = empty(target);
    let Kind::Json(elements) = content.kind else {
        return Ok(vec![Record { value: Some(body.clone()), ..at }]);
    };
    let at = Record { value_schema: Some(SchemaChoice::Topic), ..at };
    let whole = json::value(body)?;
    // Section 7.1: one level of an array is flattened.
    let items =
        if whole.get().starts_with('[') { list(whole, "the body", MAX_RECORDS)? } else { vec![whole] };
    if items.is_empty() {
        return Err(Problem::new(ProblemKind::Malformed, "the body is empty: expected at least one message"));
    }
    let record = |(index, item): (usize, &RawValue)| {
        let fits = |expected: &str| {
            Problem::new(ProblemKind::Malformed, format!("message {index}: expected {expected}"))
        };
        let json = |value: &RawValue| {
            let json = json::compacted(value.get());
            match Payload::json(json.as_bytes()) {
                Some(_) => Ok(Bytes::from(json)),
                None => Err(fits(PORTABLE)),
            }
        };
        let own_key = |key: Option<String>| match (&at.key, key) {
            (Some(subject), Some(key)) if *subject != key.as_bytes() => Err(fits(SUBJECT)),
            (subject, key) => Ok(key.map(Bytes::from).or(subject.clone())),
        };
        Ok(match elements {
            Elements::Values => Record { value: Some(json(item)?), ..at.clone() },
            Elements::Envelope => {
                let Envelope { key, value, headers, .. } =
                    serde_json::from_str(item.get()).map_err(|_| fits(ENVELOPE))?;
                let value = or_null(value).map_err(|_| fits(ENVELOPE))?.map(json).transpose()?;
                let header = |Text { key, value }| Header { key, value: value.map(Bytes::from) };
                let headers = headers.into_iter().flatten().map(header).collect();
                Record { key: own_key(key)?, value, headers, ..at.clone() }
            }
            Elements::State => {
                let Change { key, value, headers } =
                    serde_json::from_str(item.get()).map_err(|_| fits(CHANGE))?;
                let value = value.filter(|value| value.get() != "null");
                let value = match headers.operation {
                    Operation::Delete => None,
                    _ => Some(json(value.ok_or_else(|| fits(CHANGE))?)?),
                };
                let txid = headers.txid.map(|txid| Header { key: TXID.to_owned(), value: Some(txid.into()) });
                let headers = txid.into_iter().collect();
                Record { key: own_key(Some(key))?, value, headers, ..at.clone() }
            }
        })
    };
    items.into_iter().enumerate().map(record).collect()
}

/// One record with the array of all values.
fn packed(records: Vec<Record>) -> Record {
    let count = Some(Bytes::from(records.len().to_string()));
    let values: Vec<Bytes> = records.iter().filter_map(|record| record.value.clone()).collect();
    let value = [b"[", &values.join(&b","[..])[..], b"]"].concat();
    let first = records.into_iter().next().unwrap_or_default();
    let headers = vec![Header { key: PACKED.to_owned(), value: count }];
    Record { value: Some(value.into()), headers, ..first }
}

/// A record with its parts.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    /// On NATS, both have its words.
    #[serde(alias = "subject")]
    key: Option<String>,
    #[serde(alias = "data", borrow, default, deserialize_with = "present")]
    value: Option<&'a RawValue>,
    headers: Option<Vec<Text>>,
    // Of records that were read.
    #[serde(rename = "partition")]
    _partition: Option<IgnoredAny>,
    #[serde(rename = "offset", alias = "sequence")]
    _offset: Option<IgnoredAny>,
    #[serde(rename = "timestamp")]
    _timestamp: Option<IgnoredAny>,
    #[serde(rename = "timestamp_type")]
    _timestamp_type: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    key: String,
    value: Option<String>,
}

/// A change of the State Protocol.
#[derive(Deserialize)]
struct Change<'a> {
    key: String,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    headers: ChangeHeaders,
}

#[derive(Deserialize)]
struct ChangeHeaders {
    operation: Operation,
    txid: Option<String>,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Operation {
    Insert,
    Update,
    Upsert,
    Delete,
}

const ENVELOPE: &str =
    "an object with `value`, and perhaps a text as `key`, and `headers` whose keys and values are texts";
const PORTABLE: &str = "JSON that strict parsers read: numbers that fit 64 bits or a double, whole Unicode, and 59 levels at most";
const SUBJECT: &str = "no other subject than that of the path";
const CHANGE: &str = "a change, with a text as `key`, and an `operation` in `headers`: insert, update or upsert with an own `value`, or delete";
/// The type of streams that are created without one (section 5.1).
const BYTES: &str = "application/octet-stream";
const CLOSED: (HeaderName, &str) = (HeaderName::from_static("stream-closed"), "topics have no end");
const TTL: (HeaderName, &str) =
    (HeaderName::from_static("stream-ttl"), "topics have a retention of their own");
const EXPIRES: (HeaderName, &str) =
    (HeaderName::from_static("stream-expires-at"), "topics have a retention of their own");
const NO_FORKS: &str = "topics have no forks";
const FORKED_FROM: (HeaderName, &str) = (HeaderName::from_static("stream-forked-from"), NO_FORKS);
const FORK_OFFSET: (HeaderName, &str) = (HeaderName::from_static("stream-fork-offset"), NO_FORKS);
const FORK_SUB_OFFSET: (HeaderName, &str) = (HeaderName::from_static("stream-fork-sub-offset"), NO_FORKS);
/// In bytes: the last one is a part of each message, and of errors.
const MAX_SEQUENCE: usize = 255;

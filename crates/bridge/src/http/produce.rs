//! Writes a body as one record, by the route's rules: the task of APISIX's `apisixkafkaupstream`, with Kafka's
//! acknowledgement. On NATS, the topic is a stream and the key a subject.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, Method, StatusCode};
use sluicegate_backend::command::{Header, Record, SchemaChoice, Write};
use sluicegate_backend::number::whole_number;
use sluicegate_backend::{CommandError, DeliveryReport, Fault, System};
use sluicegate_delivery::cluster::{MAX_COMMAND_HEADERS, MAX_HEADERS, WriteTicket};
use sluicegate_delivery::grant::Grant;
use sluicegate_dialect::http::media_type::JSON;
use sluicegate_dialect::{self as dialect, json};
use sluicegate_protocol::jsonkey::Path;
use sluicegate_protocol::{HttpProduce, metadata};
use tokio::sync::oneshot;

use super::Request;
use super::cloudevents::{self, Events};
use super::headers::Headers;
use super::jsonkey;
use super::problem::{Problem, ProblemKind};
use super::producer;
use super::record_id;
use super::request_permits::RequestPermits;
use super::response::Response;
use super::rest;

/// The response to a request on the route.
///
/// # Errors
/// Nothing was written, or the outcome is unknown.
pub(super) async fn answer(
    request: &Request<'_>,
    route: &HttpProduce,
    running: &Arc<RequestPermits>,
) -> Result<Response, Problem> {
    match *request.method {
        Method::OPTIONS => Ok(Response::options(ALLOW)),
        Method::POST => post(request, route, running).await,
        _ => Err(Problem::new(
            ProblemKind::MethodNotAllowed(ALLOW),
            format!("method not allowed: expected {ALLOW}"),
        )),
    }
}

async fn post(
    request: &Request<'_>,
    route: &HttpProduce,
    running: &Arc<RequestPermits>,
) -> Result<Response, Problem> {
    let system = request.grant.system();
    let grant = request.grant;
    let (records, is_batch) = match events(request, route)? {
        Some(Events::One(record)) => (vec![record], false),
        Some(Events::Batch(records)) => (records, true),
        None => (vec![record(request.headers, request.body, route, system)?], false),
    };
    let Some(Record { topic, partition, .. }) = records.first() else {
        return Ok(rest::no_results(JSON, system));
    };
    let (topic, partition) = (&topic.clone(), *partition);
    grant.check_write(topic).map_err(|error| Problem::failed(error, system))?;
    let producer = producer::of_request(request.headers)?;
    let write = Write { records, producer: producer.clone(), ..Write::default() };
    let Some(reports) = written(grant, write, request.headers.prefer_async(), running).await else {
        let document = BTreeMap::from([(system.topic, topic)]);
        let response = Response::json(StatusCode::ACCEPTED, JSON, &document);
        return Ok(response.header(HeaderName::from_static("preference-applied"), "respond-async"));
    };
    if is_batch {
        let reports = reports.map_err(|error| producer::failed(error, system, producer.as_ref()))?;
        return rest::answer_each(grant, (topic, partition), reports, (producer.as_ref(), [None; 2]), JSON)
            .await;
    }
    match reports.and_then(|mut reports| reports.pop().unwrap_or_else(|| Err(no_report()))) {
        Ok(written) => {
            let document = dialect::of(system).acknowledged(topic, written);
            let response = Response::with_body(StatusCode::OK, JSON, document.into());
            Ok(producer::add(response, producer.as_ref(), &[Ok(written)]))
        }
        Err(error) => {
            let problem = producer::failed(error, system, producer.as_ref());
            Err(problem.with_missing_log(grant, topic, partition).await)
        }
    }
}

/// The reports of records. None if `is_async` and all are queued: they are then written in the background.
///
/// # Cancel safety
/// If `is_async`, the records are still written after a drop, otherwise all or none.
pub(super) async fn written(
    grant: &Grant,
    write: Write,
    is_async: bool,
    running: &Arc<RequestPermits>,
) -> Option<Result<Vec<DeliveryReport>, CommandError>> {
    if !is_async {
        return Some(grant.produce(write, WriteTicket::default(), || {}).await);
    }
    let (grant, running) = (grant.clone(), Arc::clone(running));
    let (queued, in_queue) = oneshot::channel();
    let writing = tokio::spawn(async move {
        let queued = || {
            running.free_call();
            // The client can be gone.
            queued.send(()).unwrap_or_default();
        };
        let reports = grant.produce(write, WriteTicket::default(), queued).await;
        let errors = reports.iter().flatten().flat_map(|report| report.as_ref().err());
        if let Some(error) = errors.chain(reports.as_ref().err()).next() {
            // Debug only, as clients could fill the log. Metrics count it.
            tracing::debug!(
                ?error,
                event = "record_not_written",
                "record accepted with respond-async was not written"
            );
        }
        reports
    });
    match in_queue.await {
        Ok(()) => None,
        Err(_) => Some(writing.await.unwrap_or_else(|_| Err(no_report()))),
    }
}

pub(super) fn no_report() -> CommandError {
    let message = "no delivery report for the record, it may have been written";
    CommandError::new(Fault::UnknownOutcome { retriable: false }, 0, message)
}

/// The records of a request's CloudEvents. None: it has none, or the route does not take them.
fn events(request: &Request<'_>, route: &HttpProduce) -> Result<Option<Events>, Problem> {
    if !route.cloudevents {
        return Ok(None);
    }
    let Request { headers, body, .. } = *request;
    events_of(headers, body, route, request.grant.system())
}

/// The same of a route that takes them.
pub(super) fn events_of(
    headers: Headers<'_>,
    body: &Bytes,
    route: &HttpProduce,
    system: System,
) -> Result<Option<Events>, Problem> {
    headers.check_content_encoding()?;
    Ok(match cloudevents::of_request(headers, body, system)? {
        None => None,
        Some(Events::One(event)) => {
            let has_key = route.jsonkey.is_some() && event.value.is_some() && headers.content_type()? == JSON;
            let document = has_key.then(|| json::parse(body).map(json::compacted)).transpose()?;
            let placement = Placement::of(headers, document.as_deref().map(str::as_bytes), route, system)?;
            Some(Events::One(placement.place(event, route, system)?))
        }
        Some(Events::Batch(events)) => {
            record_id::check_count(headers, events.len(), system)?;
            let placement = Placement::of(headers, None, route, system)?;
            if placement.cost().saturating_mul(events.len()) > MAX_ADDED_BYTES {
                let detail =
                    format!("too many headers for a batch of {}: send smaller batches", events.len());
                return Err(Problem::new(ProblemKind::TooLarge, detail));
            }
            let records = events.into_iter().map(|event| placement.place(event, route, system));
            Some(Events::Batch(records.collect::<Result<_, _>>()?))
        }
    })
}

/// Builds the record of a request.
pub(super) fn record(
    headers: Headers<'_>,
    body: &Bytes,
    route: &HttpProduce,
    system: System,
) -> Result<Record, Problem> {
    headers.check_content_encoding()?;
    let (value, document) = match &headers.content_type()?[..] {
        JSON => {
            let compacted = Bytes::from(json::compacted(json::parse(body)?));
            (compacted.clone(), Some(compacted))
        }
        _ => (body.clone(), None),
    };
    let placement = Placement::of(headers, document.as_deref(), route, system)?;
    let value_schema = document.is_some().then_some(SchemaChoice::Topic);
    let content = Record { value: Some(value), value_schema, ..Record::default() };
    placement.place(content, route, system)
}

/// The parts of a record that a request's headers and its route give.
struct Placement<'a> {
    topic: &'a str,
    /// The request's own partition.
    partition: Option<i32>,
    key: Option<Bytes>,
    /// The headers before the record's own ones.
    headers: Vec<Header>,
    id: Option<Header>,
}

impl<'a> Placement<'a> {
    /// The `document` is that in which `jsonkey` looks for the key.
    fn of(
        headers: Headers<'a>,
        document: Option<&[u8]>,
        route: &'a HttpProduce,
        system: System,
    ) -> Result<Self, Problem> {
        let overrides = Overrides::of(headers, route)?;
        let topic = match overrides.topic {
            Some(topic) => topic,
            None if !route.topic.is_empty() => &route.topic,
            None => {
                let expected =
                    format!("no {}: expected the header {}topic", system.topic, route.header_prefix);
                return Err(Problem::new(ProblemKind::Malformed, expected));
            }
        };
        let record_headers = record_headers(headers, route)?;
        let key = match (overrides.key, &route.jsonkey, document) {
            (Some(key), ..) => Some(Bytes::copy_from_slice(key)),
            (None, Some(path), Some(document)) => key_in(document, path, system)?,
            (None, ..) => route.key.clone().map(Bytes::from),
        };
        let id = record_id::of_request(headers, system)?;
        Ok(Self { topic, partition: overrides.partition, key, headers: record_headers, id })
    }

    /// The record at its place. Its own key is for requests without another one.
    fn place(&self, content: Record, route: &HttpProduce, system: System) -> Result<Record, Problem> {
        let key = self.key.clone().or(content.key);
        check_place(self.partition, key.as_deref(), route, system)?;
        let mut headers = self.headers.clone();
        headers.extend(content.headers);
        headers.extend(self.id.clone());
        Ok(Record {
            topic: self.topic.to_owned(),
            partition: self.partition.or(route.partition),
            key,
            headers,
            ..content
        })
    }

    /// The bytes that it adds to a record, at most.
    fn cost(&self) -> usize {
        let header = |header: &Header| {
            let bytes = header.key.len().saturating_add(header.value.as_ref().map_or(0, Bytes::len));
            bytes.saturating_add(HEADER_COST)
        };
        let own = self.topic.len().saturating_add(self.key.as_ref().map_or(0, Bytes::len));
        self.headers.iter().chain(&self.id).map(header).fold(own, usize::saturating_add)
    }
}

/// Checks that a record has what the system needs: a key, or no partition, neither its `own` nor the route's.
fn check_place(
    own: Option<i32>,
    key: Option<&[u8]>,
    route: &HttpProduce,
    system: System,
) -> Result<(), Problem> {
    let (prefix, words) = (&route.header_prefix, dialect::of(system).words());
    let (kind, detail) = match (own, route.partition, key) {
        (Some(0..), ..) if !system.has_partitions => (
            ProblemKind::Malformed,
            format!("{}s have no partitions: leave out the header {prefix}partition", system.topic),
        ),
        (None, Some(0..), _) if !system.has_partitions => (
            ProblemKind::Misconfigured,
            format!("{}s have no partitions: remove `partition` from the route", system.topic),
        ),
        (.., None | Some([])) if words.needs_key => {
            let key = words.key;
            let detail = format!(
                "no {key}: expected the header {prefix}key, or `jsonkey` or `key` in the route to provide one"
            );
            (ProblemKind::Malformed, detail)
        }
        _ => return Ok(()),
    };
    Err(Problem::new(kind, detail))
}

/// The headers with which a request overrides its route.
struct Overrides<'a> {
    topic: Option<&'a str>,
    partition: Option<i32>,
    key: Option<&'a [u8]>,
}

impl<'a> Overrides<'a> {
    fn of(headers: Headers<'a>, route: &HttpProduce) -> Result<Self, Problem> {
        let [topic, partition, key] = override_names(route);
        for (name, allowed) in [
            (&topic, route.topic_override),
            (&partition, route.partition_override),
            (&key, route.key_override),
        ] {
            if !allowed && headers.all(name).next().is_some() {
                let detail = format!("header {name} is not allowed on this route: leave it out");
                return Err(Problem::new(ProblemKind::Forbidden, detail));
            }
        }
        let number = headers.text(&partition)?.map(|text| {
            let number = whole_number(text).and_then(|number| i32::try_from(number).ok());
            number.filter(|number| *number >= -1).ok_or_else(|| {
                let detail = format!("header {partition}: expected a whole number from -1 to {}", i32::MAX);
                Problem::new(ProblemKind::Malformed, detail)
            })
        });
        Ok(Self { topic: headers.text(&topic)?, partition: number.transpose()?, key: headers.one(&key)? })
    }
}

fn override_names(route: &HttpProduce) -> [String; 3] {
    ["topic", "partition", "key"].map(|name| format!("{}{name}", route.header_prefix))
}

/// The headers of the record. Headers with the same name are adjacent.
fn record_headers(headers: Headers<'_>, route: &HttpProduce) -> Result<Vec<Header>, Problem> {
    let prefix = &route.record_header_prefix;
    if prefix.is_empty() {
        return Ok(Vec::new());
    }
    let own = override_names(route);
    let mut record = Vec::new();
    for (name, value) in headers.0 {
        let name = name.as_str();
        // Headers that gateways add are not the client's, and can be secrets.
        let is_gateways = metadata::is_for_gateways(name.as_bytes()) || name.starts_with(ENVOY_PREFIX);
        if let Some(key) = name.strip_prefix(prefix)
            && !is_gateways
            && !own.iter().any(|own| own == name)
        {
            record
                .push(Header { key: key.to_owned(), value: Some(Bytes::copy_from_slice(value.as_bytes())) });
        }
    }
    if record.len() > MAX_HEADERS {
        let detail =
            format!("{} headers with the prefix {prefix}: expected at most {MAX_HEADERS}", record.len());
        return Err(Problem::new(ProblemKind::TooManyHeaders, detail));
    }
    Ok(record)
}

/// The key at `path` of a compacted document.
fn key_in(document: &[u8], path: &str, system: System) -> Result<Option<Bytes>, Problem> {
    let parsed = Path::parse(path).map_err(|reason| {
        let path = path.escape_debug();
        Problem::new(ProblemKind::Misconfigured, format!("invalid jsonkey \"{path}\" in the route: {reason}"))
    })?;
    let document = std::str::from_utf8(document).unwrap_or_default();
    let malformed = |detail: String| Problem::new(ProblemKind::Malformed, detail);
    let found = jsonkey::find(&parsed, document);
    let key = dialect::of(system).words().key;
    let found = found.ok_or_else(|| malformed(format!("no {key} in the body: expected one at {path}")))?;
    match found.as_bytes().first() {
        Some(b'"') => {
            let text: Result<String, _> = serde_json::from_str(found);
            let text = text
                .map_err(|_| malformed(format!("invalid {key} at {path}: it has half a surrogate pair")))?;
            Ok(Some(text.into()))
        }
        _ if found == "null" => Ok(None),
        _ => Ok(Some(found.to_owned().into())),
    }
}

const ALLOW: &str = "POST, OPTIONS";
/// The bytes that the headers of a request add to the events of its batch, over all of them, at most.
const MAX_ADDED_BYTES: usize = 1 << 20;
/// The memory of a header besides its bytes. With it, a batch has no more headers than a command can have.
const HEADER_COST: usize = 112;
const _: () = assert!(MAX_ADDED_BYTES / HEADER_COST < MAX_COMMAND_HEADERS);
/// The prefix of headers that Envoy adds for its upstreams.
const ENVOY_PREFIX: &str = "x-envoy-";

#[cfg(test)]
mod tests;

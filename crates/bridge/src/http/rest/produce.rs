//! Writes the records of a body, and answers with the result of each.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use sluicegate_backend::command::{Producer, Record, SchemaChoice, Write};
use sluicegate_backend::{CommandError, DeliveryReport, Fault, System, Written};
use sluicegate_delivery::grant::Grant;
use sluicegate_dialect as dialect;
use sluicegate_dialect::http::media_type::Format;
use sluicegate_dialect::http::{HttpWords, RecordId};
use sluicegate_protocol::error_code::INVALID_RECORD;

use super::super::Request;
use super::super::cloudevents::{self, Events};
use super::super::headers::Headers;
use super::super::problem::{Problem, ProblemKind, SchemaFault};
use super::super::produce::written;
use super::super::producer;
use super::super::record_id;
use super::super::request_permits::RequestPermits;
use super::super::response::Response;
use super::batch;

/// Writes the records of the body to a topic or one of its partitions, or to a stream. If it `is_async`, as Strimzi's
/// bridge has it, answers without results once all records are queued.
///
/// # Errors
/// The request failed as a whole, or all records failed with the same kind of error.
///
/// # Cancel safety
/// The records are written all or none.
pub(super) async fn post(
    request: &Request<'_>,
    topic: &str,
    partition: Option<i32>,
    content_type: &'static str,
    is_async: bool,
    running: &Arc<RequestPermits>,
) -> Result<Response, Problem> {
    let grant = request.grant;
    let system = grant.system();
    grant.check_write(topic).map_err(|error| Problem::failed(error, system))?;
    let producer = producer::of_request(request.headers)?;
    let failed = |error| producer::failed(error, system, producer.as_ref());
    request.headers.check_content_encoding()?;
    let events = match request.cloudevents {
        true => cloudevents::of_request(request.headers, request.body, system)?,
        false => None,
    };
    let (mut records, has_schemas) = match events {
        Some(Events::One(event)) => (placed(vec![event], topic, partition, system)?, false),
        Some(Events::Batch(events)) => (placed(events, topic, partition, system)?, false),
        None => {
            let format = format(request.headers, system)?;
            let records = batch::parse(request.body, system, format, topic, partition)?;
            (records, matches!(format, Format::Schema(_)))
        }
    };
    if records.is_empty() {
        return Ok(no_results(content_type, system));
    }
    identify(&mut records, request.headers, system)?;
    if has_schemas {
        check_schemas(&records, grant)?;
    }
    // The body names one for all records.
    let named = records.first().map(Record::schema_ids).unwrap_or_default();
    // If all records fail for a missing partition, the error names the first record's.
    let partition = partition.or_else(|| records.first()?.partition);
    let write = Write { records, producer: producer.clone(), ..Write::default() };
    let Some(reports) = written(grant, write, is_async, running).await else {
        return Ok(Response::empty(StatusCode::NO_CONTENT));
    };
    let reports = reports.map_err(failed)?;
    if let (true, Some(error)) = (has_schemas, common_error(&reports))
        && let Some(kind) = of_schemas(error)
    {
        return Err(failed(error.clone()).of_kind(kind));
    }
    answer_each(grant, (topic, partition), reports, (producer.as_ref(), named), content_type).await
}

/// The response with the result of each record. `named` are the schemas of keys and values that the request named.
///
/// # Errors
/// All records failed with the same kind of error.
pub(in super::super) async fn answer_each(
    grant: &Grant,
    (topic, partition): (&str, Option<i32>),
    reports: Vec<DeliveryReport>,
    (producer, named): (Option<&Producer>, [Option<u32>; 2]),
    content_type: &'static str,
) -> Result<Response, Problem> {
    let system = grant.system();
    if let Some(error) = common_error(&reports) {
        let problem = producer::failed(error.clone(), system, producer);
        return Err(problem.with_missing_log(grant, topic, partition).await);
    }
    grant.log_reports(&reports);
    let found = |id: fn(&Written) -> Option<u32>| reports.iter().flatten().find_map(id);
    let [key, value] = named;
    let schema_ids =
        [key.or_else(|| found(|one| one.key_schema_id)), value.or_else(|| found(|one| one.value_schema_id))];
    let answer = producer::add(Response::empty(StatusCode::OK), producer, &reports);
    Ok(answer.with_content(content_type, dialect::of(system).results(reports, schema_ids).into()))
}

/// The response to a batch without events.
pub(in super::super) fn no_results(content_type: &'static str, system: System) -> Response {
    let document = dialect::of(system).results(Vec::new(), [None; 2]);
    Response::with_body(StatusCode::OK, content_type, document.into())
}

/// The format of a body.
fn format(headers: Headers<'_>, system: System) -> Result<Format, Problem> {
    let types = &dialect::of(system).words().media_types;
    types.format_of(&headers.content_type()?).ok_or_else(|| {
        let types: Vec<&str> = types.bodies.iter().map(|(name, _)| *name).collect();
        let detail = format!("expected Content-Type to be one of {}", types.join(", "));
        Problem::new(ProblemKind::UnsupportedMediaType, detail)
    })
}

/// Adds the topic and the partition to the records of events.
fn placed(
    mut events: Vec<Record>,
    topic: &str,
    partition: Option<i32>,
    system: System,
) -> Result<Vec<Record>, Problem> {
    let words = dialect::of(system).words();
    if words.needs_key && events.iter().any(|event| event.key.is_none()) {
        let detail = format!("no {}: expected the extension partitionkey to provide one", words.key);
        return Err(Problem::new(ProblemKind::Malformed, detail));
    }
    for event in &mut events {
        (event.topic, event.partition) = (topic.to_owned(), partition);
    }
    Ok(events)
}

/// Checks that values and keys that need a schema have one: their topic's, where the route chooses that.
fn check_schemas(records: &[Record], grant: &Grant) -> Result<(), Problem> {
    let lacks_one = |json: &Option<Bytes>, schema: &Option<SchemaChoice>| {
        json.is_some() && matches!(schema, Some(SchemaChoice::Topic)) && !grant.encodes()
    };
    let missing = |fault, name: &str| {
        let detail = format!("expected {name}_id or {name}, as the route chooses none (`encode`)");
        Err(Problem::new(ProblemKind::Schema(fault), detail))
    };
    for Record { key, key_schema, value, value_schema, .. } in records {
        if lacks_one(value, value_schema) {
            return missing(SchemaFault::NoValueSchema, "value_schema");
        }
        if lacks_one(key, key_schema) {
            return missing(SchemaFault::NoKeySchema, "key_schema");
        }
    }
    Ok(())
}

/// The problem of a write of records with schemas.
pub(super) fn of_schemas(error: &CommandError) -> Option<ProblemKind> {
    Some(match (error.fault, error.code) {
        (Fault::InvalidRecord, INVALID_RECORD) => ProblemKind::Schema(SchemaFault::Unfit),
        (Fault::Invalid, _) => ProblemKind::Schema(SchemaFault::Unknown),
        // Of brokers, it has their code.
        (Fault::Transient, 0) => ProblemKind::NoRegistry,
        _ => return None,
    })
}

/// Gives the only record of a request the id in its header.
fn identify(records: &mut [Record], headers: Headers<'_>, system: System) -> Result<(), Problem> {
    let HttpWords { record_id: Some(id), records: list, .. } = dialect::of(system).words() else {
        return Ok(());
    };
    let RecordId { header, record: one, member, record_header } = id;
    let Some(given) = record_id::of_request(headers, system)? else { return Ok(()) };
    let malformed = |detail| Err(Problem::new(ProblemKind::Malformed, detail));
    match records {
        [record] if record.headers.iter().any(|header| header.key == *record_header) => {
            malformed(format!("header {header}: expected it or {list}[0].{member}, not both"))
        }
        [record] => {
            record.headers.push(given);
            Ok(())
        }
        _ => {
            let count = records.len();
            malformed(format!(
                "header {header}: expected it with one {one}, got {count}: give each its {member}"
            ))
        }
    }
}

/// The first record's error, if all records failed with the same kind of error: the request then fails as a whole.
fn common_error(reports: &[DeliveryReport]) -> Option<&CommandError> {
    let mut errors = reports.iter().map(|report| report.as_ref().err());
    let first = errors.next()??;
    let kind = ProblemKind::of(first);
    errors.all(|error| error.is_some_and(|error| ProblemKind::of(error) == kind)).then_some(first)
}

#[cfg(test)]
mod tests;

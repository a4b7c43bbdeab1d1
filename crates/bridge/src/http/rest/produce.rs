//! Writes records in the REST proxies' format, or messages of a stream, and answers with the result of each.

use http::StatusCode;
use serde::Serialize;
use sluicegate_backend::command::Record;
use sluicegate_backend::{CommandError, DeliveryReport, System, Written};
use sluicegate_delivery::cluster::WriteTicket;
use sluicegate_protocol::MESSAGE_ID_HEADER;

use super::super::failure::{Failure, is_default};
use super::super::headers::Headers;
use super::super::media_type::{Format, of_records};
use super::super::problem::{Problem, ProblemKind};
use super::super::published::{IDEMPOTENCY_KEY, Published, idempotency_key};
use super::super::request::Request;
use super::super::response::Response;
use super::batch;

/// Writes the records of the body to a topic or one of its partitions, or to a stream.
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
) -> Result<Response, Problem> {
    let grant = request.grant;
    let system = grant.system();
    let failed = |error| Problem::failed(error, system);
    grant.check_write(topic).map_err(failed)?;
    request.headers.check_content_encoding()?;
    let given = request.headers.content_type()?;
    let format = Format::of_content_type(&given, system).ok_or_else(|| {
        Problem::new(
            ProblemKind::UnsupportedMediaType,
            "expected Content-Type to be one of ".to_owned() + &of_records(system).join(", "),
        )
    })?;
    let mut records = batch::parse(request.body, system, format, topic, partition)?;
    if system == System::Nats {
        identify(&mut records, request.headers)?;
    }
    // If all records fail for a missing partition, the error names the first record's.
    let partition = partition.or_else(|| records.first()?.partition);
    let reports = grant.produce(records, WriteTicket::default(), || {}).await.map_err(failed)?;
    if let Some(error) = common_error(&reports) {
        return Err(failed(error.clone()).with_missing_log(grant, topic, partition).await);
    }
    grant.log_reports(&reports);
    match system {
        System::Kafka => {
            let offsets = reports.into_iter().map(Offset::of).collect();
            let document = Document { offsets, key_schema_id: None, value_schema_id: None };
            Ok(Response::json(StatusCode::OK, content_type, &document))
        }
        System::Nats => {
            let document = Results { results: reports.iter().map(Outcome::of).collect() };
            Ok(Response::json(StatusCode::OK, content_type, &document))
        }
    }
}

/// Gives the only message of a request the id in its `Idempotency-Key`.
fn identify(messages: &mut [Record], headers: Headers<'_>) -> Result<(), Problem> {
    let Some(id) = idempotency_key(headers)? else { return Ok(()) };
    let malformed = |detail| Err(Problem::new(ProblemKind::Malformed, detail));
    match messages {
        [message] if message.headers.iter().any(|header| header.key == MESSAGE_ID_HEADER) => {
            malformed(format!("header {IDEMPOTENCY_KEY}: expected it or messages[0].message_id, not both"))
        }
        [message] => {
            message.headers.push(id);
            Ok(())
        }
        _ => {
            let count = messages.len();
            malformed(format!(
                "header {IDEMPOTENCY_KEY}: expected it with one message, got {count}: give each its message_id"
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

/// The response document of a stream.
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

impl<'a> Outcome<'a> {
    fn of(report: &'a DeliveryReport) -> Self {
        match report {
            Ok(written) => Self::Written((*written).into()),
            Err(error) => Self::Failed { error: Failure::new(error, System::Nats, None) },
        }
    }
}

/// The REST proxies' response document.
#[derive(Serialize)]
struct Document {
    offsets: Vec<Offset>,
    key_schema_id: Option<i32>,
    value_schema_id: Option<i32>,
}

/// The result of one record: its offset or its error.
#[derive(Serialize, Default)]
struct Offset {
    partition: Option<i32>,
    offset: Option<i64>,
    error_code: Option<u32>,
    error: Option<String>,
    /// The record may have been written. Present only if true, because the REST proxies have no such member.
    #[serde(skip_serializing_if = "is_default")]
    unknown_outcome: bool,
}

impl Offset {
    fn of(report: DeliveryReport) -> Self {
        match report {
            Ok(Written { partition, offset, .. }) => {
                Self { partition: Some(partition), offset: Some(offset), ..Self::default() }
            }
            Err(error) => {
                let error_code = Some(if error.fault.is_retriable() { RETRIABLE } else { NOT_RETRIABLE });
                let unknown_outcome = matches!(error.fault, sluicegate_backend::Fault::UnknownOutcome { .. });
                Self { error_code, error: Some(error.message), unknown_outcome, ..Self::default() }
            }
        }
    }
}

/// Error codes of a record, as documented for the Confluent REST Proxy's API.
const NOT_RETRIABLE: u32 = 1;
const RETRIABLE: u32 = 2;

#[cfg(test)]
mod tests;

//! Records to be written, in the REST proxies' format, and what became of each.

use http::StatusCode;
use serde::Serialize;
use sluicegate_protocol::{ErrorResp, Produced};
use sluicegate_reader::check_topic;

use super::super::accept::Format;
use super::super::problem::{Fault, Problem};
use super::super::response::Response;
use super::super::{Request, check_writable};
use super::batch;

/// Writes the records of the body to a topic, or to one partition of it.
///
/// # Errors
/// None was written: for a reason that concerns the request, or for the same reason each.
///
/// # Cancel safety
/// All records are written, or none.
pub(super) async fn post(
    request: &Request<'_>,
    write: bool,
    topic: &str,
    partition: Option<i32>,
    content_type: &'static str,
) -> Result<Response, Problem> {
    if !write {
        return Err(Problem::new(Fault::Forbidden, "this route does not let clients write"));
    }
    check_writable(request.cluster)?;
    check_topic(topic).map_err(|error| Problem::no_name(&error))?;
    request.headers.check_content_encoding()?;
    let given = request.headers.content_type()?;
    let format = format(&given).ok_or_else(|| {
        Problem::new(Fault::MediaType, "expected Content-Type to be one of ".to_owned() + &TYPES.join(", "))
    })?;
    let records = batch::parse(request.body, format, topic, partition)?;
    let partition = partition.or_else(|| records.first()?.partition);
    let results = request.cluster.write(records, || {}).await.map_err(Problem::not_written)?;
    if let Some(error) = common(&results) {
        return Err(Problem::not_written(error.clone()).at(request.cluster, topic, partition).await);
    }
    let offsets = results.iter().map(Offset::of).collect();
    let document = Document { offsets, key_schema_id: None, value_schema_id: None };
    Ok(Response::json(StatusCode::OK, content_type, &document))
}

fn format(content_type: &str) -> Option<Format> {
    match content_type {
        "application/vnd.kafka.json.v2+json" | "application/vnd.kafka.json+json" | "application/json" => {
            Some(Format::Json)
        }
        "application/vnd.kafka.binary.v2+json" | "application/vnd.kafka.binary+json" => Some(Format::Binary),
        _ => None,
    }
}

/// The error of the first record, where all have one, and of the same kind: the request has failed as a whole.
fn common(results: &[Produced]) -> Option<&ErrorResp> {
    let mut errors = results.iter().map(|result| result.error.as_ref());
    let first = errors.next()??;
    let fault = Fault::of_write(first);
    errors.all(|error| error.is_some_and(|error| Fault::of_write(error) == fault)).then_some(first)
}

/// As the REST proxies answer.
#[derive(Serialize)]
struct Document<'a> {
    offsets: Vec<Offset<'a>>,
    key_schema_id: Option<i32>,
    value_schema_id: Option<i32>,
}

/// Of one record: where it is, or why not.
#[derive(Serialize)]
struct Offset<'a> {
    partition: Option<i32>,
    offset: Option<i64>,
    error_code: Option<u32>,
    error: Option<&'a str>,
}

impl<'a> Offset<'a> {
    fn of(result: &'a Produced) -> Self {
        match &result.error {
            None => Self {
                partition: Some(result.partition),
                offset: Some(result.offset),
                error_code: None,
                error: None,
            },
            Some(error) => Self {
                partition: None,
                offset: None,
                error_code: Some(if error.retriable { RETRIABLE } else { NOT_RETRIABLE }),
                error: Some(&error.message),
            },
        }
    }
}

/// The types of a body, as they are named to a client.
const TYPES: [&str; 3] =
    ["application/vnd.kafka.json.v2+json", "application/vnd.kafka.binary.v2+json", "application/json"];
/// Codes of a record, as the Confluent REST Proxy's API documents them.
const NOT_RETRIABLE: u32 = 1;
const RETRIABLE: u32 = 2;

#[cfg(test)]
mod tests;

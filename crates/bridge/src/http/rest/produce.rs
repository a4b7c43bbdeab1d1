//! Records to be written, in the REST proxies' format, and what became of each.

use http::StatusCode;
use serde::Serialize;
use sluicegate_protocol::ErrorResp;
use sluicegate_reader::check_topic;

use super::super::media_type::{Format, OF_RECORDS};
use super::super::problem::{Fault, Problem, is_default};
use super::super::response::Response;
use super::super::{Request, check_writable};
use super::batch;
use crate::writing::{Fate, WriteError, Written};

/// Writes the records of the body to a topic, or to one partition of it.
///
/// # Errors
/// None was written: for a reason that concerns the request, or for the same reason each.
///
/// # Cancel safety
/// All records are written, or none.
pub(super) async fn post(
    request: &Request<'_>,
    topic: &str,
    partition: Option<i32>,
    content_type: &'static str,
) -> Result<Response, Problem> {
    check_writable(request.grant, topic)?;
    check_topic(topic).map_err(|error| Problem::bad_topic_name(&error))?;
    request.headers.check_content_encoding()?;
    let given = request.headers.content_type()?;
    let format = Format::of_content_type(&given).ok_or_else(|| {
        Problem::new(
            Fault::UnsupportedMediaType,
            "expected Content-Type to be one of ".to_owned() + &OF_RECORDS.join(", "),
        )
    })?;
    let records = batch::parse(request.body, format, topic, partition)?;
    // Where all records fail because it is missing, it is that of the first that is named.
    let partition = partition.or_else(|| records.first()?.partition);
    let fates =
        request.grant.cluster.write(request.grant.client, records, || {}).await.map_err(Problem::failed)?;
    if let Some(error) = common(&fates) {
        return Err(Problem::not_written(error.clone())
            .naming_what_is_missing(&request.grant.cluster, topic, partition)
            .await);
    }
    let offsets = fates.into_iter().map(Offset::of).collect();
    let document = Document { offsets, key_schema_id: None, value_schema_id: None };
    Ok(Response::json(StatusCode::OK, content_type, &document))
}

/// The error of the first record, where all have one, and of the same kind: the request has failed as a whole.
fn common(fates: &[Fate]) -> Option<&WriteError> {
    let mut errors = fates.iter().map(|fate| fate.as_ref().err());
    let first = errors.next()??;
    let fault = Fault::of_write(first);
    errors.all(|error| error.is_some_and(|error| Fault::of_write(error) == fault)).then_some(first)
}

/// As the REST proxies answer.
#[derive(Serialize)]
struct Document {
    offsets: Vec<Offset>,
    key_schema_id: Option<i32>,
    value_schema_id: Option<i32>,
}

/// Of one record: where it is, or why not.
#[derive(Serialize, Default)]
struct Offset {
    partition: Option<i32>,
    offset: Option<i64>,
    error_code: Option<u32>,
    error: Option<String>,
    /// The record may be written; there where that is so only, as the proxies have no such member.
    #[serde(skip_serializing_if = "is_default")]
    unknown_outcome: bool,
}

impl Offset {
    fn of(fate: Fate) -> Self {
        match fate {
            Ok(Written { partition, offset, .. }) => {
                Self { partition: Some(partition), offset: Some(offset), ..Self::default() }
            }
            Err(error) => {
                let ErrorResp { message, retriable, unknown_outcome, .. } = error.into();
                let error_code = Some(if retriable { RETRIABLE } else { NOT_RETRIABLE });
                Self { error_code, error: Some(message), unknown_outcome, ..Self::default() }
            }
        }
    }
}

/// Codes of a record, as the Confluent REST Proxy's API documents them.
const NOT_RETRIABLE: u32 = 1;
const RETRIABLE: u32 = 2;

#[cfg(test)]
mod tests;

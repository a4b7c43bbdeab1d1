//! Parses the body of a write: JSON whose keys and values, or data, are embedded JSON or base64 strings.

use sluicegate_backend::System;
use sluicegate_backend::command::Record;
use sluicegate_delivery::cluster::{MAX_COMMAND_HEADERS, MAX_RECORDS};
use sluicegate_dialect::http::Batch;
use sluicegate_dialect::http::body::{list, wrong};
use sluicegate_dialect::http::media_type::Format;
use sluicegate_dialect::{self as dialect, json};

use super::super::problem::{Problem, ProblemKind};

/// The records of a body, for a topic or one of its partitions, or for a stream. A misspelt member would write null, so
/// unknown ones are errors.
///
/// # Errors
/// The body is invalid; says where, and what was expected.
pub(super) fn parse(
    body: &[u8],
    system: System,
    format: Format,
    topic: &str,
    partition: Option<i32>,
) -> Result<Vec<Record>, Problem> {
    let body = json::parse(body)?;
    let dialect = dialect::of(system);
    let name = dialect.words().records;
    let Batch { records, key_schema, value_schema } = dialect.batch(body, format)?;
    let records = records.ok_or_else(|| wrong(name, "expected an array"))?;
    let items = list(records, name, MAX_RECORDS)?;
    if items.is_empty() {
        return Err(wrong(name, "expected at least one").into());
    }
    let mut headers = 0_usize;
    let mut records = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let place = format!("{name}[{index}]");
        let mut record = dialect.record(item, &place, format, topic, partition)?;
        record.key_schema = key_schema.clone().or(record.key_schema);
        record.value_schema = value_schema.clone().or(record.value_schema);
        headers = headers.saturating_add(record.headers.len());
        if headers > MAX_COMMAND_HEADERS {
            return Err(Problem::new(
                ProblemKind::TooLarge,
                format!("too many headers in one request: expected at most {MAX_COMMAND_HEADERS}"),
            ));
        }
        records.push(record);
    }
    Ok(records)
}

#[cfg(test)]
mod tests;

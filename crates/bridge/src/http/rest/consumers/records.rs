//! Records since the last read.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use sluicegate_backend::command::ReadBounds;
use sluicegate_backend::groups::GroupLog;
use sluicegate_backend::number::whole_number;
use sluicegate_delivery::consumers::{Consumer, Polled};
use sluicegate_dialect as dialect;
use sluicegate_dialect::http::consumers::Settings;
use sluicegate_dialect::http::media_type::{ANY_FORMAT, EXACT, JSON, Name, PLAIN};

use super::super::super::Request;
use super::super::super::accept::{Accept, Elements};
use super::super::super::problem::{ConsumerFault, Problem, ProblemKind};
use super::super::super::request_permits::RequestPermits;
use super::super::super::response::Response;
use super::super::path::Query;
use super::super::positions::Part;
use super::super::records::{content_type, document};
use super::Failure;

/// The response to GET of a consumer's records. The next one begins with those that the client has not got fully.
///
/// # Cancel safety
/// A drop leaves the records to the next request.
pub(super) async fn get(
    request: &Request<'_>,
    consumer: &Arc<Consumer>,
    query: &Query,
    running: &Arc<RequestPermits>,
) -> Result<Response, Failure> {
    let (grant, system) = (request.grant, request.grant.system());
    let settings = Settings::of(&consumer.settings().extra);
    let format = settings.format;
    let named = content_type(format, system);
    check_accepted(&Accept::of(request.headers), named, dialect::of(system).words().media_types.errors)?;
    let bounds = bounds(query, &settings)?;
    let mut reservation: &RequestPermits = running;
    let Polled { mut records, mut receipt } = consumer.poll(grant, bounds, &mut reservation).await?;
    // Records as JSON can be too long for the answer. The partition that is first is not always the same.
    let first = fastrand::usize(..records.len().max(1));
    records.rotate_left(first);
    let (logs, mut parts): (Vec<GroupLog>, Vec<Part>) = records
        .into_iter()
        .map(|(log, fetched)| {
            let partition = log.1;
            (log, Part { partition, fetched })
        })
        .unzip();
    let limits = (grant.max_bytes(bounds), bounds.max_records);
    let topic_of = |index: usize| logs.get(index).map(|(topic, _)| &**topic).unwrap_or_default();
    let body = document(system, topic_of, &mut parts, Elements::Records(format), limits, grant.route());
    for (log, part) in logs.iter().zip(&parts) {
        receipt.end_at(log, part.fetched.next_offset);
    }
    let response = Response::with_body(StatusCode::OK, named, body.into());
    Ok(if request.method == Method::HEAD { response } else { response.with_receipt(receipt) })
}

/// Checks that the client accepts the consumer's format, by its own type or by one that names no format.
fn check_accepted(accept: &Accept, named: &'static str, types: &[&'static str]) -> Result<(), Problem> {
    let any = types.first().copied().unwrap_or(JSON);
    let names: [Name; 3] = [(named, EXACT), (JSON, PLAIN), (any, ANY_FORMAT)];
    if accept.takes(&names) {
        return Ok(());
    }
    let detail = format!("the consumer's format is not accepted: expected Accept to include {named}");
    Err(Problem::new(ProblemKind::Consumer(ConsumerFault::Format), detail))
}

/// The bounds of a read. The proxies take any number: those that are out of bounds are the next within.
fn bounds(query: &Query, settings: &Settings) -> Result<ReadBounds, Problem> {
    let number = |name: &str| {
        let Some(text) = query.text(name) else { return Ok(None) };
        let digits = text.strip_prefix('-').unwrap_or(text);
        let number = match whole_number(digits) {
            Some(_) if digits.len() < text.len() => Some(None),
            number => number.map(Some),
        };
        let detail = || format!("query parameter {name}: expected a whole number");
        number.ok_or_else(|| Problem::new(ProblemKind::Malformed, detail()))
    };
    let size =
        |number: Option<i64>| number.and_then(|number| usize::try_from(number).ok()).filter(|size| *size > 0);
    let wait = number("timeout")?.and_then(|millis| u64::try_from(millis).ok()).map(Duration::from_millis);
    Ok(ReadBounds {
        max_bytes: size(number("max_bytes")?),
        wait: Some(wait.unwrap_or(settings.wait)),
        min_bytes: settings.min_bytes,
        max_records: size(number("max_records")?).unwrap_or_default(),
        fill: true,
        decode: settings.format.of_values().decodes(),
        ..ReadBounds::default()
    })
}

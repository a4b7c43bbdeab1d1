//! The producer of a request's records, by which a repeat is recognized: in headers, named as in the Durable Streams protocol.

use std::time::Duration;

use http::HeaderName;
use sluicegate_backend::command::{InvalidProducer, Producer};
use sluicegate_backend::number::whole_number;
use sluicegate_backend::{CommandError, DeliveryReport, System};

use super::headers::Headers;
use super::problem::{PRODUCER_EPOCH as EPOCH, PRODUCER_EXPECTED as EXPECTED, Problem, ProblemKind};
use super::response::Response;

/// The producer in a request's headers.
///
/// # Errors
/// Some of the headers are missing or invalid.
pub(super) fn of_request(headers: Headers<'_>) -> Result<Option<Producer>, Problem> {
    of_headers(headers, None)
}

fn of_headers(headers: Headers<'_>, age_by_default: Option<&str>) -> Result<Option<Producer>, Problem> {
    let [id, epoch, sequence, age] = [ID, EPOCH, SEQUENCE, AGE].map(|name| headers.text(name.as_str()));
    let (id, epoch, sequence, age) = (id?, epoch?, sequence?, age?);
    let (Some(id), Some(epoch), Some(sequence)) = (id, epoch, sequence) else {
        let given = [id, epoch, sequence, age].iter().any(Option::is_some);
        let last =
            if age_by_default.is_none() { format!("{SEQUENCE} and {AGE}") } else { SEQUENCE.to_string() };
        let detail = format!("expected all of the headers {ID}, {EPOCH}, {last}, or none of them");
        return if given { Err(Problem::new(ProblemKind::Malformed, detail)) } else { Ok(None) };
    };
    // Others than numbers are too large.
    let number = |text: &str| whole_number(text).and_then(|number| u64::try_from(number).ok());
    let seconds =
        age.or(age_by_default).map(|text| number(text).map(Duration::from_secs).ok_or("whole seconds"));
    let age = seconds.transpose().map_err(|expected| invalid(&AGE, expected))?;
    let [epoch, sequence] = [epoch, sequence].map(|text| number(text).unwrap_or(u64::MAX));
    let producer = Producer::new(id.to_owned(), epoch, sequence, age);
    producer.map(Some).map_err(|InvalidProducer { member, expected }| {
        let name = match member {
            "id" => ID,
            "epoch" => EPOCH,
            "sequence" => SEQUENCE,
            _ => AGE,
        };
        invalid(&name, &expected)
    })
}

/// The producer in the headers of a request of the Durable Streams protocol, which have no age. Its sequence counts the
/// requests of an epoch.
///
/// # Errors
/// Some of the headers are missing or invalid.
pub(super) fn of_appends(headers: Headers<'_>) -> Result<Option<Producer>, Problem> {
    of_headers(headers, Some("0"))
}

/// The problem of a failed write. One that may have been written can be repeated if it has a producer.
pub(super) fn failed(error: CommandError, system: System, producer: Option<&Producer>) -> Problem {
    let message = error.message.clone();
    let problem = Problem::failed(error, system);
    if producer.is_some() && problem.is_unknown_outcome() { problem.with_detail(message) } else { problem }
}

/// Refuses a producer where each record of a request is written by itself.
///
/// # Errors
/// The headers name a producer.
pub(super) fn refuse(headers: Headers<'_>) -> Result<(), Problem> {
    if headers.all(ID.as_str()).next().is_none() {
        return Ok(());
    }
    let detail = format!("header {ID}: version 3 of the API has no producers, use POST /topics/TOPIC");
    Err(Problem::new(ProblemKind::Malformed, detail))
}

/// A response with what became of the producer's records, if there was one.
pub(super) fn add(response: Response, producer: Option<&Producer>, reports: &[DeliveryReport]) -> Response {
    let Some(producer) = producer else { return response };
    let recognized = reports.iter().flatten().filter_map(|written| written.dedup);
    let last = recognized.clone().filter_map(|dedup| dedup.last).max();
    let (Some(first), Some(last)) = (recognized.clone().next(), last) else { return response };
    let response = response
        .header(EPOCH, producer.epoch.to_string())
        .header(SEQUENCE, last.to_string())
        .header(WINDOW, first.window.as_secs().to_string());
    let response = if first.in_order { response } else { response.header(IN_ORDER, "false") };
    match recognized.filter(|dedup| dedup.is_duplicate).count() == reports.len() {
        true => response.header(DUPLICATE, "true"),
        false => response,
    }
}

fn invalid(name: &HeaderName, expected: &str) -> Problem {
    Problem::new(ProblemKind::Malformed, format!("header {name}: expected {expected}"))
}

/// The headers of responses.
pub(super) const TOLD: [HeaderName; 6] = [EPOCH, SEQUENCE, EXPECTED, DUPLICATE, WINDOW, IN_ORDER];

const ID: HeaderName = HeaderName::from_static("producer-id");
/// Of a request, the sequence of its first record; of a response, the highest one that is known to be written.
const SEQUENCE: HeaderName = HeaderName::from_static("producer-seq");
/// The time since the first record was first sent, in seconds.
const AGE: HeaderName = HeaderName::from_static("producer-age");
/// Whether an earlier request had written all of the records.
const DUPLICATE: HeaderName = HeaderName::from_static("producer-duplicate");
/// The time for which a repeat is recognized, in seconds.
const WINDOW: HeaderName = HeaderName::from_static("producer-window");
/// `false` where gaps and older epochs are not recognized.
const IN_ORDER: HeaderName = HeaderName::from_static("producer-in-order");

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use sluicegate_backend::{Dedup, Fault, Written};

    use super::*;

    #[test]
    fn response_tells_the_highest_sequence_that_is_written() {
        let producer = Producer::new("p".to_owned(), 0, 3, Some(Duration::ZERO)).unwrap();
        let written = |is_duplicate, last| {
            let window = Duration::from_secs(9);
            let dedup = Dedup { is_duplicate, window, in_order: true, last: Some(last) };
            Ok(Written { dedup: Some(dedup), ..Written::default() })
        };
        let refused = || Err(CommandError::new(Fault::InvalidRecord, 0, "m"));
        for (reports, last, is_duplicate) in [
            (vec![written(false, 3), written(false, 4)], Some("4"), false),
            (vec![written(false, 3), refused()], Some("3"), false),
            (vec![written(true, 3), refused()], Some("3"), false),
            (vec![written(true, 7), written(true, 7)], Some("7"), true),
            (vec![written(true, 4), written(false, 4)], Some("4"), false),
            (vec![refused()], None, false),
        ] {
            let Response { headers, .. } = add(Response::empty(StatusCode::OK), Some(&producer), &reports);
            let found =
                |name| headers.iter().find(|header| header.0 == name).map(|(_, value)| value.as_str());
            assert_eq!((found(SEQUENCE), found(DUPLICATE).is_some()), (last, is_duplicate), "{reports:?}");
        }
    }
}

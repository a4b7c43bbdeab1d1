//! The id of a request's only record.

use sluicegate_backend::System;
use sluicegate_backend::command::Header;
use sluicegate_dialect as dialect;

use super::headers::Headers;
use super::problem::{Problem, ProblemKind};

/// The record's header with the id in the request's, such as `Idempotency-Key`; none if the system has no ids. The
/// value is opaque, quotes included.
///
/// # Errors
/// The header is repeated, empty or not UTF-8.
pub(super) fn of_request(headers: Headers<'_>, system: System) -> Result<Option<Header>, Problem> {
    let Some(id) = &dialect::of(system).words().record_id else { return Ok(None) };
    match headers.text(id.header)? {
        None => Ok(None),
        Some("") => {
            let detail = format!("header {}: expected a value", id.header);
            Err(Problem::new(ProblemKind::Malformed, detail))
        }
        Some(value) => {
            Ok(Some(Header { key: id.record_header.to_owned(), value: Some(value.to_owned().into()) }))
        }
    }
}

/// Refuses an id for several records.
///
/// # Errors
/// See [`of_request`]; also if there are several records.
pub(super) fn check_count(headers: Headers<'_>, count: usize, system: System) -> Result<(), Problem> {
    match (of_request(headers, system)?, &dialect::of(system).words().record_id) {
        (Some(_), Some(id)) if count != 1 => {
            let detail = format!("header {}: expected it with one {}, got {count}", id.header, id.record);
            Err(Problem::new(ProblemKind::Malformed, detail))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check_problem, headers};
    use super::*;

    fn of(values: &[&[u8]]) -> Result<Option<Header>, Problem> {
        let lines: Vec<_> = values.iter().map(|value| ("idempotency-key", *value)).collect();
        of_request(Headers(&headers(&lines)), System::Nats)
    }

    #[test]
    fn idempotency_key_is_the_message_id_unchanged() {
        for (given, want) in [("a-1", "a-1"), ("\"a 1\"", "\"a 1\""), (" a ", "a")] {
            let header = of(&[given.as_bytes()]).unwrap().unwrap();
            assert_eq!((&*header.key, &header.value.unwrap()[..]), ("Nats-Msg-Id", want.as_bytes()));
        }
        assert_eq!(of(&[]).unwrap(), None);
    }

    #[test]
    fn invalid_idempotency_keys_are_refused() {
        check_problem(of(&[b"a", b"a"]).unwrap_err(), 400, "header idempotency-key is repeated");
        check_problem(of(&[b""]).unwrap_err(), 400, "header idempotency-key: expected a value");
        check_problem(of(&[b"\xFF"]).unwrap_err(), 400, "header idempotency-key: expected UTF-8");
    }
}

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

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::*;

    fn keys(values: &[&[u8]]) -> HeaderMap {
        let name = HeaderName::from_static("idempotency-key");
        values.iter().map(|value| (name.clone(), HeaderValue::from_bytes(value).unwrap())).collect()
    }

    #[test]
    fn idempotency_key_is_the_message_id_unchanged() {
        for (given, want) in [("a-1", "a-1"), ("\"a 1\"", "\"a 1\""), (" a ", "a")] {
            let header = of_request(Headers(&keys(&[given.as_bytes()])), System::Nats).unwrap().unwrap();
            assert_eq!(
                (header.key.as_str(), header.value.unwrap().as_ref()),
                ("Nats-Msg-Id", want.as_bytes())
            );
        }
        assert_eq!(of_request(Headers(&HeaderMap::new()), System::Nats).unwrap(), None);
    }

    #[test]
    fn invalid_idempotency_keys_are_refused() {
        for (values, want) in [
            (&[&b"a"[..], b"a"][..], "header idempotency-key is repeated"),
            (&[b""], "header idempotency-key: expected a value"),
            (&[b"\xFF"], "header idempotency-key: expected UTF-8"),
        ] {
            let problem = of_request(Headers(&keys(values)), System::Nats).unwrap_err().plain();
            assert_eq!(problem.status.as_u16(), 400, "{values:?}");
            let text = std::str::from_utf8(&problem.body).unwrap();
            assert!(text.contains(want), "{text}");
        }
    }
}

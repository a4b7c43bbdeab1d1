//! What a plain HTTP client is told when its request fails: a problem document (RFC 9457).

use std::borrow::Cow;

use serde_json::Value;

/// A failure, in HTTP's terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// 400 to 599.
    pub status: u16,
    /// What was expected, or what to do.
    pub detail: Cow<'static, str>,
    /// The same request may succeed in a second.
    pub again: bool,
    /// What was to be written may have been.
    pub unknown_outcome: bool,
}

/// How a client wants to read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The document alone.
    Problem,
    /// With the members of the REST proxies, too.
    Rest,
    /// The same under the REST proxies' own content type.
    RestV2,
}

impl Form {
    /// That of a REST resource's answers, by the request's `accept`.
    pub fn accepted(accept: &[u8]) -> Self {
        let named = accept.split(|byte| *byte == b',').any(|range| {
            let range = range.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
            let range = range.to_ascii_lowercase();
            range.starts_with(b"application/vnd.kafka.") && range.ends_with(b"v2+json")
        });
        if named { Self::RestV2 } else { Self::Rest }
    }
}

impl Problem {
    /// One that only another request helps against.
    pub fn new(status: u16, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, detail: detail.into(), again: false, unknown_outcome: false }
    }

    /// One that time helps against.
    pub fn passing(status: u16, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { again: true, ..Self::new(status, detail) }
    }

    /// The content type, and `retry-after` where that helps.
    pub fn headers(&self, form: Form) -> Vec<(&'static str, &'static str)> {
        let content_type = match form {
            Form::Problem | Form::Rest => "application/problem+json",
            Form::RestV2 => "application/vnd.kafka.v2+json",
        };
        let mut headers = vec![("content-type", content_type)];
        headers.extend(self.again.then_some(("retry-after", "1")));
        headers
    }

    /// The document, with the same members as the bridge's own.
    pub fn document(&self, form: Form) -> String {
        let (status, detail) = (self.status, Value::from(&*self.detail));
        let outcome = if self.unknown_outcome { r#","unknown_outcome":true"# } else { "" };
        let members = match (form, status) {
            (Form::Problem, _) => String::new(),
            // Their "retriable Kafka error"; without a code of their own, the status.
            (_, 503 | 504) => format!(r#","error_code":50003,"message":{detail}"#),
            _ => format!(r#","error_code":{status},"message":{detail}"#),
        };
        let title = title(status);
        format!(
            r#"{{"type":"about:blank","title":"{title}","status":{status},"detail":{detail}{outcome}{members}}}"#
        )
    }
}

/// RFC 9110, section 15, of what the filter says itself.
fn title(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        403 => "Forbidden",
        408 => "Request Timeout",
        413 => "Content Too Large",
        429 => "Too Many Requests",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Bad Gateway",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_says_all_that_its_reader_knows() {
        let problem = Problem::new(413, "at most \"1\" byte\n");
        let common = r#"{"type":"about:blank","title":"Content Too Large","status":413,"detail":"at most \"1\" byte\n""#;
        assert_eq!(problem.document(Form::Problem), format!("{common}}}"));
        let rest = format!(r#"{common},"error_code":413,"message":"at most \"1\" byte\n"}}"#);
        assert_eq!(problem.document(Form::Rest), rest);
        assert_eq!(problem.document(Form::RestV2), rest);
        let unknown = Problem { unknown_outcome: true, ..Problem::new(504, "x") };
        assert_eq!(
            unknown.document(Form::Rest),
            r#"{"type":"about:blank","title":"Gateway Timeout","status":504,"detail":"x","unknown_outcome":true,"error_code":50003,"message":"x"}"#
        );
    }

    #[test]
    fn headers_say_the_type_and_when_to_come_back() {
        let kind = ("content-type", "application/problem+json");
        assert_eq!(Problem::new(400, "x").headers(Form::Problem), [kind]);
        assert_eq!(Problem::passing(503, "x").headers(Form::Rest), [kind, ("retry-after", "1")]);
        let kind = ("content-type", "application/vnd.kafka.v2+json");
        assert_eq!(Problem::new(400, "x").headers(Form::RestV2), [kind]);
    }

    #[test]
    fn the_rest_proxies_type_is_used_where_it_is_asked_for() {
        let form = |accept: &str| Form::accepted(accept.as_bytes());
        for accept in [
            "application/vnd.kafka.v2+json",
            "application/vnd.kafka.json.v2+json",
            "text/html, Application/vnd.Kafka.binary.v2+json;q=0.5",
        ] {
            assert_eq!(form(accept), Form::RestV2, "{accept}");
        }
        for accept in
            ["", "*/*", "application/json", "application/vnd.kafka.json.v1+json", "x/vnd.kafka.v2+json"]
        {
            assert_eq!(form(accept), Form::Rest, "{accept}");
        }
        assert_eq!(Form::accepted(b"\xff,application/vnd.kafka.v2+json"), Form::RestV2);
    }

    #[test]
    fn every_status_of_the_filters_own_has_its_title() {
        let others = [400, 403, 408, 413, 429, 503, 504].map(title);
        assert!(others.iter().all(|title| *title != "Bad Gateway"));
        assert_eq!(title(502), "Bad Gateway");
    }
}

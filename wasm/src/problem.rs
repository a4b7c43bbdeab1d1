//! What a plain HTTP client is told when its request fails: a problem document (RFC 9457).

use std::borrow::Cow;

use serde_json::Value;

/// A failure, in HTTP's terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// As the response has it.
    pub status: StatusCode,
    /// What was expected, or what to do.
    pub detail: Cow<'static, str>,
    /// The same request may succeed in a second.
    pub retriable: bool,
    /// What was to be written may have been.
    pub unknown_outcome: bool,
}

/// A status that the filter answers with by itself (RFC 9110, section 15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum StatusCode {
    /// The request breaks a rule.
    BadRequest = 400,
    /// The route does not let this client in.
    Forbidden = 403,
    /// The body is too large.
    ContentTooLarge = 413,
    /// The bridge says what no client can mend.
    BadGateway = 502,
    /// Nobody has room or is there, for a while.
    ServiceUnavailable = 503,
    /// The bridge takes too long.
    GatewayTimeout = 504,
}

impl StatusCode {
    /// 400 to 599.
    pub fn number(self) -> u16 {
        self as u16
    }

    fn title(self) -> &'static str {
        match self {
            Self::BadRequest => "Bad Request",
            Self::Forbidden => "Forbidden",
            Self::ContentTooLarge => "Content Too Large",
            Self::BadGateway => "Bad Gateway",
            Self::ServiceUnavailable => "Service Unavailable",
            Self::GatewayTimeout => "Gateway Timeout",
        }
    }

    /// That of the REST proxies: their "retriable Kafka error", otherwise, as with them, the status.
    fn error_code(self) -> u16 {
        match self {
            Self::ServiceUnavailable | Self::GatewayTimeout => 50003,
            Self::BadRequest | Self::Forbidden | Self::ContentTooLarge | Self::BadGateway => self.number(),
        }
    }
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
            V2.iter().any(|v2| range.eq_ignore_ascii_case(v2.as_bytes()))
        });
        if named { Self::RestV2 } else { Self::Rest }
    }
}

impl Problem {
    /// One that only another request helps against.
    pub fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, detail: detail.into(), retriable: false, unknown_outcome: false }
    }

    /// One that time helps against.
    pub fn retriable(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { retriable: true, ..Self::new(status, detail) }
    }

    /// The content type, and `retry-after` where that helps.
    pub fn headers(&self, form: Form) -> Vec<(&'static str, &'static str)> {
        let content_type = match form {
            Form::Problem | Form::Rest => "application/problem+json",
            Form::RestV2 => "application/vnd.kafka.v2+json",
        };
        let mut headers = vec![("content-type", content_type)];
        headers.extend(self.retriable.then_some(("retry-after", "1")));
        headers
    }

    /// The document, with the same members as the bridge's own.
    pub fn document(&self, form: Form) -> String {
        let (status, title) = (self.status.number(), self.status.title());
        let detail = Value::from(&*self.detail);
        let outcome = if self.unknown_outcome { r#","unknown_outcome":true"# } else { "" };
        let members = match form {
            Form::Problem => String::new(),
            Form::Rest | Form::RestV2 => {
                format!(r#","error_code":{},"message":{detail}"#, self.status.error_code())
            }
        };
        format!(
            r#"{{"type":"about:blank","title":"{title}","status":{status},"detail":{detail}{outcome}{members}}}"#
        )
    }
}

/// The REST proxies' own types.
const V2: [&str; 3] = [
    "application/vnd.kafka.v2+json",
    "application/vnd.kafka.json.v2+json",
    "application/vnd.kafka.binary.v2+json",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_says_all_that_its_reader_knows() {
        let problem = Problem::new(StatusCode::ContentTooLarge, "at most \"1\" byte\n");
        let common = r#"{"type":"about:blank","title":"Content Too Large","status":413,"detail":"at most \"1\" byte\n""#;
        assert_eq!(problem.document(Form::Problem), format!("{common}}}"));
        let rest = format!(r#"{common},"error_code":413,"message":"at most \"1\" byte\n"}}"#);
        assert_eq!(problem.document(Form::Rest), rest);
        assert_eq!(problem.document(Form::RestV2), rest);
        let unknown = Problem { unknown_outcome: true, ..Problem::new(StatusCode::GatewayTimeout, "x") };
        assert_eq!(
            unknown.document(Form::Rest),
            r#"{"type":"about:blank","title":"Gateway Timeout","status":504,"detail":"x","unknown_outcome":true,"error_code":50003,"message":"x"}"#
        );
    }

    #[test]
    fn headers_say_the_type_and_when_to_come_back() {
        let kind = ("content-type", "application/problem+json");
        assert_eq!(Problem::new(StatusCode::BadRequest, "x").headers(Form::Problem), [kind]);
        assert_eq!(
            Problem::retriable(StatusCode::ServiceUnavailable, "x").headers(Form::Rest),
            [kind, ("retry-after", "1")]
        );
        let kind = ("content-type", "application/vnd.kafka.v2+json");
        assert_eq!(Problem::new(StatusCode::BadRequest, "x").headers(Form::RestV2), [kind]);
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
        for accept in [
            "",
            "*/*",
            "application/json",
            "application/vnd.kafka.json.v1+json",
            "application/vnd.kafka.avro.v2+json",
            "x/vnd.kafka.v2+json",
        ] {
            assert_eq!(form(accept), Form::Rest, "{accept}");
        }
        assert_eq!(Form::accepted(b"\xff,application/vnd.kafka.v2+json"), Form::RestV2);
    }
}

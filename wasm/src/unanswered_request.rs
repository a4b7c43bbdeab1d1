//! The problem document (RFC 9457) for a plain HTTP request that the bridge did not answer. It replaces the gateway's
//! page.

/// A request that the bridge did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnansweredRequest {
    /// The method is not safe (RFC 9110, section 9.2.1).
    pub is_write: bool,
    /// The gateway proves that none of it reached the bridge.
    pub is_unsent: bool,
    /// The gateway timed out: its own status is 504.
    pub is_late: bool,
    /// The path is a resource of the REST API, whose errors have members of their own.
    pub is_rest: bool,
}

impl UnansweredRequest {
    /// The status: 503 invites a retry, 504 does not.
    pub fn status(self) -> u16 {
        if self.is_retriable() { 503 } else { 504 }
    }

    /// Seconds until a retry.
    pub fn retry_after(self) -> Option<&'static str> {
        self.is_retriable().then_some("1")
    }

    /// Whether the request may have been carried out, so that a retry could write twice.
    pub fn is_unknown(self) -> bool {
        self.is_write && !self.is_unsent
    }

    /// The document.
    pub fn document(self) -> String {
        let (title, detail) = match self {
            _ if self.is_unsent => ("Service Unavailable", "the bridge cannot be reached, try again"),
            Self { is_write: true, .. } => {
                ("Gateway Timeout", "the bridge did not answer; it is not known whether anything was written")
            }
            Self { is_late: true, .. } => ("Gateway Timeout", "the bridge did not answer in time"),
            _ => ("Service Unavailable", "the connection to the bridge was lost, try again"),
        };
        let status = self.status();
        let unknown = if self.is_unknown() { r#","unknown_outcome":true"# } else { "" };
        // "Retriable Kafka error" of the Confluent REST Proxy.
        let rest = match self.is_rest {
            true => format!(r#","error_code":50003,"message":"{detail}""#),
            false => String::new(),
        };
        format!(
            r#"{{"type":"about:blank","title":"{title}","status":{status},"detail":"{detail}"{unknown}{rest}}}"#
        )
    }

    fn is_retriable(self) -> bool {
        self.is_unsent || !self.is_write && !self.is_late
    }
}

/// Whether a method is safe: a lost answer leaves nothing unknown.
pub fn is_safe(method: &[u8]) -> bool {
    [&b"GET"[..], b"HEAD", b"OPTIONS", b"TRACE"].contains(&method)
}

/// Whether a request of this type is gRPC for Envoy: `application/grpc`, alone or with a suffix or parameters.
pub fn is_grpc(content_type: &[u8]) -> bool {
    let rest = content_type.strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| rest.first().is_none_or(|next| *next != b'-' && !next.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: UnansweredRequest =
        UnansweredRequest { is_write: false, is_unsent: false, is_late: false, is_rest: false };

    #[track_caller]
    fn check(request: UnansweredRequest, status: u16, is_unknown: bool, detail: &str) {
        let document = request.document();
        assert_eq!((request.status(), request.is_unknown()), (status, is_unknown), "{request:?}");
        assert_eq!(request.retry_after().is_some(), status == 503, "{request:?}");
        assert!(document.contains(&format!(r#","status":{status},"detail":"{detail}""#)), "{document}");
        assert_eq!(document.contains(r#","unknown_outcome":true"#), is_unknown, "{document}");
        serde_json::from_str::<serde_json::Value>(&document).expect("JSON");
    }

    #[test]
    fn only_a_write_that_may_have_been_sent_is_unknown() {
        let unknown = "the bridge did not answer; it is not known whether anything was written";
        for is_late in [false, true] {
            check(UnansweredRequest { is_write: true, is_late, ..READ }, 504, true, unknown);
            for is_write in [false, true] {
                let unsent = UnansweredRequest { is_write, is_unsent: true, is_late, ..READ };
                check(unsent, 503, false, "the bridge cannot be reached, try again");
            }
        }
        check(READ, 503, false, "the connection to the bridge was lost, try again");
        check(UnansweredRequest { is_late: true, ..READ }, 504, false, "the bridge did not answer in time");
    }

    #[test]
    fn rest_documents_have_the_rest_proxies_members() {
        let members = r#","error_code":50003,"message":"the connection to the bridge was lost, try again"}"#;
        assert!(UnansweredRequest { is_rest: true, ..READ }.document().ends_with(members));
        assert!(!READ.document().contains("error_code"));
    }

    #[test]
    fn grpc_is_known_by_its_content_type() {
        for grpc in ["", "+proto", "+json", ";x", ", a/b", " "] {
            assert!(is_grpc(format!("application/grpc{grpc}").as_bytes()), "{grpc:?}");
        }
        for other in
            ["", "application/json", "application/grpc-web", "application/grpcs", "x/application/grpc"]
        {
            assert!(!is_grpc(other.as_bytes()), "{other:?}");
        }
    }

    #[test]
    fn methods_that_write_are_not_safe() {
        for method in [&b"POST"[..], b"PUT", b"DELETE", b"PATCH", b"get", b"", b"\xff"] {
            assert!(!is_safe(method), "{method:?}");
        }
        assert!(is_safe(b"GET") && is_safe(b"HEAD") && is_safe(b"OPTIONS"));
    }
}

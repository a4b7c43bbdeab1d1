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

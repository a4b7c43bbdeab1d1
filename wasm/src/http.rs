//! A plain HTTP request as the bridge gets it, and the answer that it gives.

use prost::Message;
use prost::bytes::Bytes;
use sluicegate_protocol::cmd_http;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdHttp, HttpHeader, HttpProduce, HttpRest, PubSubResp};

use crate::config::{Resource, is_token};
use crate::problem::{Problem, StatusCode};

/// A header of a request: its name in lower case, and its value.
pub type Header = (Vec<u8>, Vec<u8>);

impl Resource {
    /// What `access-control-allow-methods` says.
    pub fn methods(&self) -> &'static str {
        match self {
            Self::Produce(_) => "POST",
            Self::Rest { write: false } => "GET, HEAD",
            Self::Rest { write: true } => "GET, HEAD, POST",
        }
    }

    /// The request without its body. `rest` is what lies behind the route's path.
    pub fn command(&self, method: &[u8], rest: &[u8], headers: &[Header]) -> CmdHttp {
        let resource = match self {
            Self::Produce(produce) => cmd_http::Resource::Produce(produce.clone()),
            Self::Rest { write } => {
                // A fragment is for the client alone (RFC 9110, section 4.2.5).
                let path = rest.split(|byte| *byte == b'#').next().unwrap_or_default();
                let path = String::from_utf8_lossy(path).into_owned();
                cmd_http::Resource::Rest(HttpRest { path, write: *write })
            }
        };
        let headers =
            headers.iter().filter(|(name, _)| self.has_use_for(name)).map(|(name, value)| HttpHeader {
                name: String::from_utf8_lossy(name).into_owned(),
                value: Bytes::copy_from_slice(value),
            });
        CmdHttp {
            method: String::from_utf8_lossy(method).into_owned(),
            resource: Some(resource),
            headers: headers.collect(),
            body: Bytes::new(),
        }
    }

    /// Whether the bridge is told of a header.
    fn has_use_for(&self, name: &[u8]) -> bool {
        match self {
            Self::Rest { .. } => is_common(name),
            Self::Produce(HttpProduce { header_prefix, record_header_prefix, .. }) => {
                let of_record = !record_header_prefix.is_empty();
                let overrides = name.strip_prefix(header_prefix.as_bytes());
                is_common(name)
                    || of_record && name.starts_with(record_header_prefix.as_bytes())
                    || overrides.is_some_and(|name| [&b"topic"[..], b"partition", b"key"].contains(&name))
            }
        }
    }
}

fn is_common(name: &[u8]) -> bool {
    [&b"content-type"[..], b"content-encoding", b"accept", b"prefer"].contains(&name)
}

/// Whether a method is safe (RFC 9110, section 9.2.1): a lost answer leaves nothing unknown.
pub fn is_safe(method: &[u8]) -> bool {
    [&b"GET"[..], b"HEAD", b"OPTIONS"].contains(&method)
}

/// What the client is told.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// 200 to 599.
    pub status: u16,
    /// Names and values, none of which the proxy sets itself.
    pub headers: Vec<(String, Bytes)>,
    /// Empty where the status allows none.
    pub body: Bytes,
}

impl Answer {
    /// Reads what the bridge answered; None where that is no HTTP answer.
    pub fn decode(message: Vec<u8>) -> Option<Self> {
        let Ok(PubSubResp { resp: Some(Resp::HttpResp(answer)), .. }) =
            PubSubResp::decode(Bytes::from(message))
        else {
            return None;
        };
        let status = u16::try_from(answer.status).ok().filter(|status| (200..=599).contains(status))?;
        let headers = answer.headers.into_iter().map(|header| (header.name, header.value));
        // RFC 9110, sections 15.3.5 and 15.4.5.
        let body = if [204, 304].contains(&status) { Bytes::new() } else { answer.body };
        Some(Self {
            status,
            headers: headers.filter(|(name, value)| is_passed_on(name, value)).collect(),
            body,
        })
    }
}

/// The proxy frames the answer itself, and takes any bytes for a header.
fn is_passed_on(name: &str, value: &[u8]) -> bool {
    is_token(name)
        && !HOP_HEADERS.iter().any(|other| name.eq_ignore_ascii_case(other))
        && !value.iter().any(|byte| b"\0\r\n".contains(byte))
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No connection to the bridge was made.
    Unconnected,
    /// The call ended with this status of gRPC's other than OK.
    Status(u32),
    /// There is no answer, and the host does not say why: there was no connection, it was lost, or time was over.
    Unanswered,
    /// The bridge answered something else than an HTTP answer, or more than there is memory for.
    Unreadable,
}

impl Failure {
    /// Of a call that ended with this status of gRPC's other than OK, and this message.
    pub fn of(code: u32, message: &[u8]) -> Self {
        let message = String::from_utf8_lossy(message);
        let unconnected = UNCONNECTED.iter().any(|reason| message.contains(reason));
        if code == UNAVAILABLE && unconnected { Self::Unconnected } else { Self::Status(code) }
    }

    /// The same where the call's time is over: Envoy says of such a call that its peer is not available.
    pub fn or_timed_out(self, elapsed: bool) -> Self {
        match self {
            Self::Status(UNAVAILABLE) if elapsed => Self::Status(DEADLINE_EXCEEDED),
            other => other,
        }
    }

    /// What the client is told. A request that is not `safe` may have been carried out, unless the bridge refused it.
    pub fn problem(self, safe: bool) -> Problem {
        use StatusCode::{BadGateway, ContentTooLarge, GatewayTimeout, ServiceUnavailable};
        let (status, retriable, what) = match self {
            Self::Status(ABORTED) => {
                (ServiceUnavailable, true, "the bridge is shutting down, try again".into())
            }
            Self::Status(RESOURCE_EXHAUSTED) => {
                (ServiceUnavailable, true, "the bridge has as much to do as it may, try again".into())
            }
            Self::Unconnected => (ServiceUnavailable, true, "the bridge cannot be reached, try again".into()),
            Self::Status(UNAVAILABLE) if safe => {
                (ServiceUnavailable, true, "the connection to the bridge was lost, try again".into())
            }
            Self::Unanswered if safe => {
                (ServiceUnavailable, true, "the bridge did not answer, try again".into())
            }
            Self::Unanswered => (GatewayTimeout, false, "the bridge did not answer".into()),
            // Nothing that clients take for an invitation to write it twice.
            Self::Status(UNAVAILABLE) => {
                (GatewayTimeout, false, "the connection to the bridge was lost".into())
            }
            Self::Status(OUT_OF_RANGE) => (
                ContentTooLarge,
                false,
                "a smaller body is expected: the bridge takes none as large as this".into(),
            ),
            Self::Status(DEADLINE_EXCEEDED) => {
                (GatewayTimeout, false, "the bridge did not answer in time".into())
            }
            Self::Status(
                INVALID_ARGUMENT | NOT_FOUND | PERMISSION_DENIED | FAILED_PRECONDITION | UNIMPLEMENTED
                | UNAUTHENTICATED,
            ) => (BadGateway, false, "the gateway and the bridge are not set up for each other".into()),
            Self::Status(code) => {
                (BadGateway, false, format!("the bridge ended with the gRPC status {code}"))
            }
            Self::Unreadable => (BadGateway, false, "the bridge's answer cannot be read".to_owned()),
        };
        let unknown_outcome = !safe && !self.is_refusal();
        let outcome = if unknown_outcome { "; it is not known whether anything was written" } else { "" };
        Problem { status, detail: format!("{what}{outcome}").into(), retriable, unknown_outcome }
    }

    /// Whether nobody even began. Neither Envoy nor the bridge's gRPC says any of these of a call that was
    /// under way: Envoy makes UNAVAILABLE or INTERNAL of a connection that is lost.
    fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::Unconnected
                | Self::Status(
                    INVALID_ARGUMENT
                        | NOT_FOUND
                        | PERMISSION_DENIED
                        | FAILED_PRECONDITION
                        | RESOURCE_EXHAUSTED
                        | ABORTED
                        | OUT_OF_RANGE
                        | UNIMPLEMENTED
                        | UNAUTHENTICATED
                )
        )
    }
}

/// RFC 9110, section 7.6.1, and what was one of them before.
const HOP_HEADERS: [&str; 8] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What Envoy's message has of a connection that was never there (its `resetReasonToString`). Of any other end it is not
/// known how far the request came.
const UNCONNECTED: [&str; 3] = [
    "reset reason: local connection failure",
    "reset reason: remote connection failure",
    "reset reason: connection timeout",
];

/// gRPC's numbers.
const INVALID_ARGUMENT: u32 = 3;
const DEADLINE_EXCEEDED: u32 = 4;
const NOT_FOUND: u32 = 5;
const PERMISSION_DENIED: u32 = 7;
const RESOURCE_EXHAUSTED: u32 = 8;
const FAILED_PRECONDITION: u32 = 9;
const ABORTED: u32 = 10;
const OUT_OF_RANGE: u32 = 11;
const UNIMPLEMENTED: u32 = 12;
const UNAVAILABLE: u32 = 14;
const UNAUTHENTICATED: u32 = 16;

#[cfg(test)]
mod tests;

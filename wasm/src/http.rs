//! A plain HTTP request as the bridge gets it, and the answer that it gives.

use prost::Message;
use prost::bytes::Bytes;
use sluicegate_protocol::cmd_http;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdHttp, HttpHeader, HttpProduce, HttpRest, PubSubResp};

use crate::config::{Resource, is_token};
use crate::problem::Problem;

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

/// Whether requests of a method only look (RFC 9110, section 9.2.1).
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
    /// The call ended with this status of gRPC's other than OK.
    Status(u32),
    /// The bridge answered something else than an HTTP answer, or more than there is memory for.
    Unreadable,
}

impl Failure {
    /// The same where the call ended when its time was over: Envoy says of such a call that its peer is not available.
    pub fn after(self, in_vain: bool) -> Self {
        match self {
            Self::Status(UNAVAILABLE) if in_vain => Self::Status(DEADLINE_EXCEEDED),
            other => other,
        }
    }

    /// What the client is told; a request that is not `safe` may have been carried out.
    pub fn problem(self, safe: bool) -> Problem {
        let (mut problem, what) = match self {
            // What the bridge did not even read.
            Self::Status(OUT_OF_RANGE) => {
                return Problem::new(
                    413,
                    "a smaller body is expected: the bridge takes none as large as this",
                );
            }
            Self::Status(UNAVAILABLE) => {
                (Problem::passing(503, ""), "the bridge cannot be reached".to_owned())
            }
            Self::Status(RESOURCE_EXHAUSTED) => {
                (Problem::passing(429, ""), "the bridge has as much to do as it may".to_owned())
            }
            Self::Status(DEADLINE_EXCEEDED) => {
                (Problem::new(504, ""), "the bridge did not answer in time".to_owned())
            }
            Self::Status(code) => {
                (Problem::new(502, ""), format!("the bridge ended with the gRPC status {code}"))
            }
            Self::Unreadable => (Problem::new(502, ""), "the bridge's answer cannot be read".to_owned()),
        };
        problem.unknown_outcome = !safe;
        let outcome = if safe { "" } else { "; it is not known whether anything was written" };
        problem.detail = format!("{what}{outcome}").into();
        problem
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

/// gRPC's numbers.
const DEADLINE_EXCEEDED: u32 = 4;
const RESOURCE_EXHAUSTED: u32 = 8;
const OUT_OF_RANGE: u32 = 11;
const UNAVAILABLE: u32 = 14;

#[cfg(test)]
mod tests;

//! An answer in the making.

use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;
use sluicegate_protocol::{HttpHeader, HttpResp};

/// An answer in the making.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Response {
    pub(super) status: StatusCode,
    headers: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
}

impl Response {
    /// One without content.
    pub(super) fn empty(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new() }
    }

    /// A body that is there already.
    pub(super) fn with_body(status: StatusCode, content_type: &str, body: Bytes) -> Self {
        let headers = vec![("content-type", content_type.to_owned())];
        Self { status, headers, body }
    }

    /// A document of ours.
    pub(super) fn json(status: StatusCode, content_type: &str, document: &impl Serialize) -> Self {
        // Only maps with odd keys and writers that fail have no JSON.
        let body = serde_json::to_vec(document).unwrap_or_default();
        Self::with_body(status, content_type, body.into())
    }

    /// The answer to OPTIONS.
    pub(super) fn options(allow: &str) -> Self {
        Self::empty(StatusCode::NO_CONTENT).header("allow", allow)
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl From<Response> for HttpResp {
    fn from(Response { status, headers, body }: Response) -> Self {
        let header =
            |(name, value): (&str, String)| HttpHeader { name: name.to_owned(), value: value.into() };
        Self { status: status.as_u16().into(), headers: headers.into_iter().map(header).collect(), body }
    }
}

//! Builds a response, and sends its body to the client.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use http_body::{Frame, SizeHint};
use serde::Serialize;
use sluicegate_delivery::consumers::Receipt;
use tokio::sync::mpsc::Receiver;

use super::request_permits::RequestPermits;
use crate::server::OpenConnection;

/// A response before it is sent.
#[derive(Debug)]
pub(crate) struct Response {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(HeaderName, String)>,
    pub(super) body: Bytes,
    /// The parts of a body without a length, instead of `body`. Never with the status 204.
    stream: Option<Receiver<Bytes>>,
    /// Used once the whole body is sent.
    receipt: Option<Receipt>,
}

impl Response {
    /// A response without content.
    pub(super) fn empty(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new(), stream: None, receipt: None }
    }

    /// A response with this body.
    pub(super) fn with_body(status: StatusCode, content_type: &str, body: Bytes) -> Self {
        let headers = vec![(header::CONTENT_TYPE, content_type.to_owned())];
        Self { status, headers, body, stream: None, receipt: None }
    }

    /// The same with this body.
    pub(super) fn with_content(self, content_type: &str, body: Bytes) -> Self {
        Self { body, ..self }.header(header::CONTENT_TYPE, content_type)
    }

    /// A response that ends when its sender does.
    pub(super) fn stream(content_type: &str, stream: Receiver<Bytes>) -> Self {
        Self { stream: Some(stream), ..Self::with_body(StatusCode::OK, content_type, Bytes::new()) }
    }

    /// A response with a JSON document.
    pub(super) fn json(status: StatusCode, content_type: &str, document: &impl Serialize) -> Self {
        // Cannot fail: the documents have no maps with keys that are not strings.
        let body = serde_json::to_vec(document).unwrap_or_default();
        Self::with_body(status, content_type, body.into())
    }

    /// The response to a client that has the body already.
    pub(super) fn unchanged(self) -> Self {
        Self { status: StatusCode::NOT_MODIFIED, body: Bytes::new(), ..self }
    }

    /// The response to OPTIONS.
    pub(super) fn options(allow: &str) -> Self {
        Self::empty(StatusCode::NO_CONTENT).header(header::ALLOW, allow)
    }

    /// A response whose client has its records once they are sent.
    pub(super) fn with_receipt(self, receipt: Receipt) -> Self {
        Self { receipt: Some(receipt), ..self }
    }

    pub(super) fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The response to a request with this method. RFC 9110, section 9.3.2: to HEAD, "the server MUST NOT send
    /// content", but may send the Content-Length that it would have. The body keeps `running` until it is sent.
    pub(crate) fn into_http(
        self,
        method: &Method,
        running: Option<Arc<RequestPermits>>,
    ) -> http::Response<Body> {
        let Self { status, headers, body, stream, receipt } = self;
        let length = stream.is_none().then_some(body.len());
        let rest = if method == Method::HEAD { Bytes::new() } else { body };
        let stream = stream.filter(|_| method != Method::HEAD);
        let mut response = http::Response::new(Body { rest, stream, receipt, _running: running });
        *response.status_mut() = status;
        for (name, value) in headers {
            // Client input only appears in them in a form that is valid in a header.
            response.headers_mut().extend(HeaderValue::try_from(value).ok().map(|value| (name, value)));
        }
        // RFC 9111, section 4.2.2: a cache may keep answers that do not say how long. They depend on rights and change.
        response.headers_mut().entry(header::CACHE_CONTROL).or_insert(NO_STORE);
        // RFC 9110, section 8.6: "A server MUST NOT send a Content-Length header field in any response with a status
        // code of [...] 204".
        // Nor in a response to HEAD, another one than to GET.
        let is_unknown = method == Method::HEAD && length == Some(0);
        let has_length = !is_unknown && ![StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status);
        if let Some(length) = length.filter(|_| has_length) {
            response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
        }
        response
    }
}

/// A response's body, in frames of at most [`FRAME_BYTES`]: the HTTP/2 library buffers one frame at a time.
#[derive(Default)]
pub(crate) struct Body {
    rest: Bytes,
    stream: Option<Receiver<Bytes>>,
    receipt: Option<Receipt>,
    _running: Option<Arc<RequestPermits>>,
}

impl Body {
    /// It is sent over this connection.
    pub(super) fn sent_over(&mut self, connection: &OpenConnection) {
        if let Some(receipt) = &mut self.receipt {
            receipt.sent_over(connection.0.clone());
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty()
            && let Some(stream) = &mut self.stream
        {
            match ready!(stream.poll_recv(cx)) {
                Some(part) => self.rest = part,
                None => self.stream = None,
            }
        }
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let size = self.rest.len().min(FRAME_BYTES);
        let frame = self.rest.split_to(size);
        if self.is_end_stream()
            && let Some(receipt) = self.receipt.take()
        {
            receipt.taken();
        }
        Poll::Ready(Some(Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.stream.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        if self.stream.is_some() {
            return SizeHint::default();
        }
        SizeHint::with_exact(u64::try_from(self.rest.len()).unwrap_or(u64::MAX))
    }
}

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
pub(super) const FRAME_BYTES: usize = 16 * 1024;

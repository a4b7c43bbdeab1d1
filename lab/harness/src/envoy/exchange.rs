//! The state of one HTTP request and its response: the filter's view, and what each peer has received; and Envoy's local
//! replies: `Http::Utility::prepareLocalReply` and `encodeLocalReply`.

use std::collections::BTreeMap;

use crate::abi::headers::Headers;

/// Both directions of one stream, and the state of Envoy's `Context` for it.
#[derive(Default)]
pub(crate) struct Exchange {
    pub(crate) request: Half,
    pub(crate) response: Half,
    pub(crate) reply_format: ReplyFormat,
    /// A local response was sent; the upstream gets nothing more.
    pub(crate) answered_locally: bool,
    /// The client's stream was reset.
    pub(crate) reset: bool,
    /// The stream is over. Set before `on_done` and `on_delete` run.
    pub(crate) finished: bool,
    /// `on_delete` has run.
    pub(crate) deleted: bool,
    pub(crate) properties: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Envoy's `response.code_details`, once the response has begun or failed.
    pub(crate) code_details: Option<String>,
    /// The callbacks that held the stream back, in order.
    pub(crate) pauses: Vec<&'static str>,
}

/// One direction: `headers`, `held` and `chunk` are before the filter, `sent` is after it.
#[derive(Default)]
pub(crate) struct Half {
    pub(crate) headers: Option<Headers>,
    pub(crate) trailers: Option<Headers>,
    /// Whether the filter can access `headers`.
    pub(crate) headers_open: bool,
    /// The bytes of the current body callback.
    pub(crate) chunk: Vec<u8>,
    /// Bytes held back.
    pub(crate) held: Vec<u8>,
    /// The buffer that the filter's calls act on.
    pub(crate) body: Body,
    pub(crate) flow: Flow,
    /// The sender has sent its last byte.
    pub(crate) ended: bool,
    pub(crate) sent: Sent,
}

/// Parts of a message that the receiving peer has received.
#[derive(Clone, Default)]
pub(crate) struct Sent {
    pub(crate) headers: Option<Headers>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<Headers>,
    pub(crate) ended: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Request,
    Response,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Body {
    #[default]
    Closed,
    Chunk,
    Held,
}

/// Envoy's iteration state of the filter in one direction.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Flow {
    #[default]
    Open,
    /// Held back, and the next body callback sees all that is held (`StopIterationAndBuffer`).
    Buffering,
    /// Held back, and a local response is on its way (`StopIterationNoBuffer`).
    Answered,
    /// Held back without further callbacks (`StopAllWatermark`).
    Stopped,
}

impl Exchange {
    pub(crate) fn half(&mut self, side: Side) -> &mut Half {
        match side {
            Side::Request => &mut self.request,
            Side::Response => &mut self.response,
        }
    }

    /// Whether `side` is still forwarded. Filter manager, `decodeData`: once the upstream has ended the response, the
    /// rest of the request is dropped, even if the filter holds the response back.
    pub(crate) fn is_live(&self, side: Side) -> bool {
        let answered = self.answered_locally || self.response.ended;
        !(self.finished || side == Side::Request && answered)
    }
}

impl Half {
    /// Envoy, `getMap`: a map is available while its callback runs or holds it back.
    pub(crate) fn open_headers(&mut self) -> Option<&mut Headers> {
        self.headers.as_mut().filter(|_| self.headers_open)
    }

    /// Envoy, `getBuffer`: `None` is its null buffer, which reads as empty and cannot be written.
    pub(crate) fn open_body(&mut self) -> Option<&mut Vec<u8>> {
        match self.body {
            Body::Closed => None,
            Body::Chunk => Some(&mut self.chunk),
            Body::Held => Some(&mut self.held),
        }
    }
}

/// The format of a local reply, which depends on the client's original request.
#[derive(Clone, Copy, Default)]
pub(crate) struct ReplyFormat {
    head: bool,
    grpc: bool,
}

impl ReplyFormat {
    /// Filter manager, `requestHeadersInitialized`: decided before any filter runs.
    pub(crate) fn of(request: &Headers) -> Self {
        let content_type = request.get("content-type").and_then(|value| value.strip_prefix(GRPC));
        Self {
            head: request.get(":method") == Some(b"HEAD"),
            grpc: content_type.is_some_and(|rest| rest.first().is_none_or(|next| *next == b'+')),
        }
    }

    /// The headers and the body of a reply: `:status`, then `added`, then length and type if there is a body. With an
    /// empty body, the headers end it. A gRPC client gets headers only, and no
    /// `grpc-message`, which no test reads.
    pub(crate) fn reply(self, status: u32, added: &Headers, body: Vec<u8>) -> (Headers, Vec<u8>) {
        let mut headers = Headers::from([(":status", status.to_string())]);
        for (name, value) in added.iter() {
            headers.add(name, value);
        }
        if self.grpc {
            headers.set(b":status", b"200");
            headers.set(b"content-type", GRPC);
            headers.set(b"grpc-status", grpc_status(status).to_string().as_bytes());
            return (headers.without("content-length"), Vec::new());
        }
        if body.is_empty() {
            return (headers.without("content-length").without("content-type"), body);
        }
        headers.set(b"content-length", body.len().to_string().as_bytes());
        if headers.get("content-type").is_none() {
            headers.add(b"content-type", b"text/plain");
        }
        (headers, if self.head { Vec::new() } else { body })
    }
}

/// Envoy, `Grpc::Utility::httpToGrpcStatus`.
fn grpc_status(http: u32) -> u32 {
    match http {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

const GRPC: &[u8] = b"application/grpc";

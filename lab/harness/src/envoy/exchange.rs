//! The state of one HTTP request and its response: the filter's view, and what each peer has received.

use std::collections::BTreeMap;

use super::local_reply::ReplyFormat;
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

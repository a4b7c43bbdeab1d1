//! One HTTP request with its response, as the filter sees it through host calls and as both peers have seen it so far.

use std::collections::BTreeMap;

use super::local_reply::ReplyFormat;
use crate::abi::headers::Headers;

/// Both directions of one stream, and what Envoy's `Context` for it remembers.
#[derive(Default)]
pub(crate) struct Exchange {
    pub(crate) request: Half,
    pub(crate) response: Half,
    pub(crate) reply_format: ReplyFormat,
    /// Envoy keeps one flag for both directions: whether the latest headers or body callback was the last.
    pub(crate) end_of_stream: bool,
    /// A local response was sent: nothing more goes to the upstream.
    pub(crate) answered_locally: bool,
    /// The client's stream was reset.
    pub(crate) reset: bool,
    /// Nothing more will happen on this stream. Set before `on_log`, `on_done` and `on_delete` run.
    pub(crate) finished: bool,
    /// `on_log` is running: header maps are readable again.
    pub(crate) in_log: bool,
    /// The filter has been told to forget this stream.
    pub(crate) deleted: bool,
    pub(crate) properties: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Envoy's `response.code_details`, once there is a response or none can come.
    pub(crate) code_details: Option<String>,
    /// The callbacks that held the stream back, in order.
    pub(crate) pauses: Vec<&'static str>,
}

/// One direction: `headers`, `held` and `chunk` are on Envoy's side of the filter, `sent` is beyond it.
#[derive(Default)]
pub(crate) struct Half {
    pub(crate) headers: Option<Headers>,
    pub(crate) trailers: Option<Headers>,
    /// Whether the filter may use `headers` at this moment.
    pub(crate) headers_open: bool,
    /// Whether the filter may use `trailers` at this moment.
    pub(crate) trailers_open: bool,
    /// The bytes of the body callback that is running.
    pub(crate) chunk: Vec<u8>,
    /// The bytes that were held back.
    pub(crate) held: Vec<u8>,
    /// The buffer that the filter's calls currently reach.
    pub(crate) body: Body,
    /// The last body callback asked Envoy to buffer: the next one sees all of `held`.
    pub(crate) buffering: bool,
    pub(crate) flow: Flow,
    /// The sender has sent its last byte.
    pub(crate) ended: bool,
    pub(crate) sent: Sent,
}

/// The bytes that the peer beyond the filter has received.
#[derive(Clone, Default)]
pub(crate) struct Sent {
    pub(crate) headers: Option<Headers>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<Headers>,
    pub(crate) ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Held back, and callbacks go on (`StopSingleIteration`).
    Stopped,
    /// Held back without further callbacks (`StopAllWatermark`).
    StoppedAll,
}

impl Exchange {
    pub(crate) fn half(&mut self, side: Side) -> &mut Half {
        match side {
            Side::Request => &mut self.request,
            Side::Response => &mut self.response,
        }
    }

    /// Whether `side` still moves. Filter manager, `decodeData`: once the response's end has come in, even when the filter
    /// holds it back, the rest of the request is dropped.
    pub(crate) fn is_live(&self, side: Side) -> bool {
        let answered = self.answered_locally || self.response.ended;
        !(self.finished || side == Side::Request && answered)
    }

    /// Envoy, `getConstMap`: a map is there while its callback runs or holds it back, and again in `on_log`, except for
    /// the request's trailers.
    pub(crate) fn readable(&self, map: Map) -> Option<&Headers> {
        let half = match map {
            Map::RequestHeaders | Map::RequestTrailers => &self.request,
            Map::ResponseHeaders | Map::ResponseTrailers => &self.response,
        };
        match map {
            Map::RequestTrailers if self.in_log => None,
            Map::RequestHeaders | Map::ResponseHeaders => {
                half.headers.as_ref().filter(|_| half.headers_open || self.in_log)
            }
            Map::RequestTrailers | Map::ResponseTrailers => {
                half.trailers.as_ref().filter(|_| half.trailers_open || self.in_log)
            }
        }
    }

    /// Envoy, `getMap`: never opened by `on_log`; asking for trailers in the last body callback adds them.
    pub(crate) fn writable(&mut self, map: Map) -> Option<&mut Headers> {
        let last = self.end_of_stream;
        let half = match map {
            Map::RequestHeaders | Map::RequestTrailers => &mut self.request,
            Map::ResponseHeaders | Map::ResponseTrailers => &mut self.response,
        };
        match map {
            Map::RequestHeaders | Map::ResponseHeaders => half.headers.as_mut().filter(|_| half.headers_open),
            Map::RequestTrailers | Map::ResponseTrailers => {
                if half.trailers.is_none() && half.body != Body::Closed && last {
                    half.trailers = Some(Headers::default());
                    half.trailers_open = true;
                }
                half.trailers.as_mut().filter(|_| half.trailers_open)
            }
        }
    }
}

/// The header maps of a stream, by proxy-wasm's numbers.
#[derive(Clone, Copy)]
pub(crate) enum Map {
    RequestHeaders,
    RequestTrailers,
    ResponseHeaders,
    ResponseTrailers,
}

impl Half {
    /// Envoy, `getBuffer`: `None` is its null instance, which reads as empty and cannot be written.
    pub(crate) fn open_body(&mut self) -> Option<&mut Vec<u8>> {
        match self.body {
            Body::Closed => None,
            Body::Chunk => Some(&mut self.chunk),
            Body::Held => Some(&mut self.held),
        }
    }
}

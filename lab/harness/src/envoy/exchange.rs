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
    /// Whether the latest headers or body callback ended its direction. Envoy keeps one flag for both directions.
    pub(crate) end_of_stream: bool,
    /// A local response was sent; the upstream gets nothing more.
    pub(crate) answered_locally: bool,
    /// The client's stream was reset.
    pub(crate) reset: bool,
    /// The stream is over. Set before `on_log`, `on_done` and `on_delete` run.
    pub(crate) finished: bool,
    /// `on_log` is running: header maps are readable again.
    pub(crate) in_log: bool,
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
    /// Whether the filter can access `trailers`.
    pub(crate) trailers_open: bool,
    /// The bytes of the current body callback.
    pub(crate) chunk: Vec<u8>,
    /// Bytes held back.
    pub(crate) held: Vec<u8>,
    /// The buffer that the filter's calls act on.
    pub(crate) body: Body,
    /// The last body callback asked Envoy to buffer: the next one sees all of `held`.
    pub(crate) buffering: bool,
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
    /// Held back; callbacks continue (`StopSingleIteration`).
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

    /// Whether `side` is still forwarded. Filter manager, `decodeData`: once the upstream has ended the response, the
    /// rest of the request is dropped, even if the filter holds the response back.
    pub(crate) fn is_live(&self, side: Side) -> bool {
        let answered = self.answered_locally || self.response.ended;
        !(self.finished || side == Side::Request && answered)
    }

    /// Envoy, `getConstMap`: a map is readable while its callback runs or holds it back, and again in `on_log`, except
    /// for the request's trailers.
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

    /// Envoy, `getMap`: not writable in `on_log`. Writing trailers in the last body callback creates them.
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
    /// Envoy, `getBuffer`: `None` is its null buffer, which reads as empty and cannot be written.
    pub(crate) fn open_body(&mut self) -> Option<&mut Vec<u8>> {
        match self.body {
            Body::Closed => None,
            Body::Chunk => Some(&mut self.chunk),
            Body::Held => Some(&mut self.held),
        }
    }
}

//! The steps of Envoy's filter manager around the filter's callbacks. The rules are the same in both directions: in
//! Envoy, decoder and encoder filters share `ActiveStreamFilterBase`.

use super::exchange::{Body, Exchange, Flow, Half, Side};
use super::host::{Action, ROOT};
use super::local_reply::{LocalReply, ReplyFormat};
use super::machine::{Answer, Machine};
use crate::abi::headers::Headers;

impl Machine {
    /// Passes a client's request to the filter. `ended`: it has no body.
    pub(crate) fn open(&mut self, headers: Headers, ended: bool) -> u32 {
        let upgrade = headers.is_upgrade();
        let id = self.host().new_exchange(ReplyFormat::of(&headers));
        if self.invoke(id, "proxy_on_context_create", &[id, ROOT], 0).is_none() {
            self.fail(id);
        }
        self.receive_headers(id, Side::Request, headers, ended);
        // Measured on Envoy 1.40: an upgrade on an HTTP/1 listener calls the request body callback once with no bytes.
        if upgrade && self.half(id, Side::Request).is_some_and(|half| half.flow == Flow::Open) {
            self.run_body(id, Side::Request, Vec::new(), false);
        }
        id
    }

    pub(crate) fn receive_headers(&mut self, id: u32, side: Side, headers: Headers, ended: bool) {
        let Some(exchange) = self.live(id, side) else { return };
        let count = len(headers.len());
        exchange.end_of_stream = ended;
        let half = exchange.half(side);
        (half.headers, half.headers_open, half.ended) = (Some(headers), true, ended);
        let callback = side.callbacks().headers;
        let Some(answer) = self.invoke(id, callback, &[id, count, ended.into()], 0) else {
            return self.fail(id);
        };
        self.settle();
        let Some(half) = self.half(id, side) else { return };
        match headers_verdict(answer) {
            Flow::Open => {
                half.headers_open = false;
                self.forward_headers(id, side, ended);
            }
            stopped => {
                half.flow = stopped;
                self.note_pause(id, callback, answer);
            }
        }
    }

    pub(crate) fn receive_body(&mut self, id: u32, side: Side, bytes: Vec<u8>, ended: bool) {
        let Some(half) = self.half(id, side) else { return };
        half.ended |= ended;
        if half.flow == Flow::StoppedAll {
            half.held.extend(bytes);
        } else {
            self.run_body(id, side, bytes, ended);
        }
    }

    pub(crate) fn receive_trailers(&mut self, id: u32, side: Side, trailers: Headers) {
        let Some(half) = self.half(id, side) else { return };
        half.ended = true;
        half.trailers = Some(trailers);
        if half.flow != Flow::StoppedAll {
            self.run_trailers(id, side);
        }
    }

    /// Envoy, `decodeData` and `encodeData`: while buffering, the filter sees all bytes so far, otherwise the new
    /// chunk.
    fn run_body(&mut self, id: u32, side: Side, bytes: Vec<u8>, ended: bool) {
        let limit = self.host().settings.buffer_limit;
        let Some(exchange) = self.live(id, side) else { return };
        exchange.end_of_stream = ended;
        let half = exchange.half(side);
        if half.buffering {
            half.held.extend(bytes);
            if half.held.len() > limit {
                return self.overflow(id, side);
            }
            half.body = Body::Held;
        } else {
            half.chunk = bytes;
            half.body = Body::Chunk;
        }
        let size = len(half.open_body().map_or(0, |body| body.len()));
        let callback = side.callbacks().body;
        let Some(answer) = self.invoke(id, callback, &[id, size, ended.into()], 0) else {
            return self.fail(id);
        };
        self.settle();
        self.note_pause(id, callback, answer);
        let Some(half) = self.half(id, side) else { return };
        half.buffering = false;
        half.body = Body::Closed;
        let chunk = std::mem::take(&mut half.chunk);
        match body_verdict(answer) {
            Verdict::Continue if half.flow == Flow::Open => self.forward_body(id, side, &chunk, ended),
            Verdict::Continue => {
                half.held.extend(chunk);
                self.release(id, side);
            }
            Verdict::Buffer => {
                half.held.extend(chunk);
                (half.flow, half.buffering, half.body) = (Flow::Stopped, true, Body::Held);
                if half.held.len() > limit {
                    self.overflow(id, side);
                }
            }
            Verdict::Watermark => {
                half.held.extend(chunk);
                half.flow = Flow::Stopped;
            }
            Verdict::Drop => half.flow = Flow::Stopped,
        }
    }

    fn run_trailers(&mut self, id: u32, side: Side) {
        let Some(half) = self.half(id, side) else { return };
        half.trailers_open = true;
        let count = len(half.trailers.as_ref().map_or(0, Headers::len));
        let callback = side.callbacks().trailers;
        let Some(answer) = self.invoke(id, callback, &[id, count], 0) else {
            return self.fail(id);
        };
        self.settle();
        self.note_pause(id, callback, answer);
        let Some(half) = self.half(id, side) else { return };
        if answer.value != 0 || answer.stopped {
            half.flow = Flow::Stopped;
            return;
        }
        half.trailers_open = false;
        if half.flow == Flow::Open { self.forward_trailers(id, side) } else { self.release(id, side) }
    }

    /// Filter manager, `commonContinue`: after a call to continue, or after a callback that let held bytes pass.
    fn release(&mut self, id: u32, side: Side) {
        let Some(half) = self.half(id, side) else { return };
        let run_again = std::mem::take(&mut half.flow) == Flow::StoppedAll;
        let (held, ended, trailers) = (std::mem::take(&mut half.held), half.ended, half.trailers.is_some());
        if half.sent.headers.is_none() {
            self.forward_headers(id, side, ended && held.is_empty() && !trailers);
        }
        // After `StopAllWatermark` the filter has not seen body and trailers yet; otherwise they pass on.
        if run_again {
            if !held.is_empty() {
                self.run_body(id, side, held, ended && !trailers);
            }
            if trailers {
                self.run_trailers(id, side);
            }
        } else {
            if !held.is_empty() || ended && !trailers {
                self.forward_body(id, side, &held, ended && !trailers);
            }
            if trailers {
                self.forward_trailers(id, side);
            }
        }
    }

    fn forward_headers(&mut self, id: u32, side: Side, ended: bool) {
        let Some(exchange) = self.live(id, side) else { return };
        let headers = exchange.half(side).headers.clone().unwrap_or_default();
        let headers = match side {
            Side::Request => headers,
            // Filter manager, `encodeHeaders`: a response without a status becomes a 502.
            Side::Response if headers.get(":status").is_none() => {
                return self.answer_locally(id, 502, None, &Headers::default(), NO_STATUS.into());
            }
            Side::Response => hop_by_hop_removed(headers, exchange),
        };
        exchange.half(side).sent.headers = Some(headers);
        if ended {
            self.end(id, side);
        }
    }

    fn forward_body(&mut self, id: u32, side: Side, bytes: &[u8], ended: bool) {
        let Some(half) = self.half(id, side) else { return };
        half.sent.body.extend_from_slice(bytes);
        if ended && half.trailers.is_some() {
            self.forward_trailers(id, side);
        } else if ended {
            self.end(id, side);
        }
    }

    fn forward_trailers(&mut self, id: u32, side: Side) {
        let Some(half) = self.half(id, side) else { return };
        half.sent.trailers = half.trailers.clone();
        self.end(id, side);
    }

    /// Ends one direction. The end of the response ends the stream.
    fn end(&mut self, id: u32, side: Side) {
        let Some(half) = self.half(id, side) else { return };
        half.sent.ended = true;
        if side == Side::Response {
            self.finish(id);
        }
    }

    /// Runs the actions that host calls queued during the callback (cpp-host, `doAfterVmCallActions`).
    pub(crate) fn settle(&mut self) {
        while let Some(action) = self.host().actions.pop_front() {
            match action {
                Action::Respond { context, status, grpc_status, headers, body } => {
                    self.answer_locally(context, status, grpc_status, &headers, body);
                }
                Action::Continue { context, side } => {
                    if self.half(context, side).is_some_and(|half| half.flow != Flow::Open) {
                        self.release(context, side);
                    }
                }
                Action::Reset { context } => self.reset(context),
                // cpp-host, `finishShutdown`: deletes the root context; Envoy's `tickHandler` then does nothing.
                Action::DeleteRoot => {
                    self.host().tick_due = None;
                    self.invoke(ROOT, "proxy_on_delete", &[ROOT], 0);
                }
            }
        }
    }

    /// Filter manager, `DownstreamFilterManager::sendLocalReply`. Before the upstream's response headers, the reply
    /// passes through the filter's response callbacks. While the filter holds them back, the reply goes straight to the
    /// client. Once the client has response headers, the stream is reset.
    pub(crate) fn answer_locally(
        &mut self,
        id: u32,
        status: u32,
        grpc_status: Option<u32>,
        added: &Headers,
        body: Vec<u8>,
    ) {
        let Some(exchange) = self.live(id, Side::Response) else { return };
        if exchange.response.sent.headers.is_some() {
            return self.reset(id);
        }
        let reply = exchange.reply_format.reply(status, grpc_status, added, body);
        if exchange.response.headers.is_some() {
            return self.answer_directly(id, reply);
        }
        exchange.answered_locally = true;
        let ended = reply.body.is_empty();
        self.receive_headers(id, Side::Response, reply.headers, ended);
        if !ended {
            self.receive_body(id, Side::Response, reply.body, true);
        }
    }

    /// Filter manager, `sendDirectLocalReply`.
    fn answer_directly(&mut self, id: u32, reply: LocalReply) {
        let Some(exchange) = self.live(id, Side::Response) else { return };
        exchange.answered_locally = true;
        exchange.response.headers = Some(reply.headers.clone());
        exchange.response.sent.headers = Some(reply.headers);
        exchange.response.sent.body = reply.body;
        self.end(id, Side::Response);
    }

    /// The held bytes exceed the buffer limit (filter manager, `requestDataTooLarge`, `responseDataTooLarge`).
    fn overflow(&mut self, id: u32, side: Side) {
        let (status, body) = match side {
            Side::Request => (413, "Payload Too Large"),
            Side::Response => (500, "Internal Server Error"),
        };
        self.answer_locally(id, status, None, &Headers::default(), body.into());
    }

    /// After a trap: 503, which the filter does not see, or a reset (cpp-host, `CHECK_FAIL`; Envoy, `failStream`).
    fn fail(&mut self, id: u32) {
        let Some(exchange) = self.live(id, Side::Response) else { return };
        if exchange.response.sent.headers.is_some() {
            return self.reset(id);
        }
        let reply = exchange.reply_format.reply(503, Some(14), &Headers::default(), Vec::new());
        self.answer_directly(id, reply);
    }

    /// Resets the client's stream.
    pub(crate) fn reset(&mut self, id: u32) {
        if let Some(exchange) = self.live(id, Side::Response) {
            exchange.reset = true;
            self.finish(id);
        }
    }

    /// Ends the stream: Envoy, `Context::log`, then `onDestroy`.
    fn finish(&mut self, id: u32) {
        let Some(exchange) = self.live(id, Side::Response) else { return };
        exchange.finished = true;
        exchange.in_log = true;
        self.invoke(id, "proxy_on_log", &[id], 0);
        self.settle();
        if let Some(exchange) = self.host().exchanges.get_mut(&id) {
            exchange.in_log = false;
        }
        self.invoke(id, "proxy_on_done", &[id], 1);
        self.settle();
        self.invoke(id, "proxy_on_delete", &[id], 0);
        if let Some(exchange) = self.host().exchanges.get_mut(&id) {
            exchange.deleted = true;
        }
        self.settle();
    }

    fn note_pause(&mut self, id: u32, callback: &'static str, answer: Answer) {
        if answer.value != 0
            && !answer.stopped
            && let Some(exchange) = self.host().exchanges.get_mut(&id)
        {
            exchange.pauses.push(callback);
        }
    }

    fn live(&mut self, id: u32, side: Side) -> Option<&mut Exchange> {
        self.host().exchanges.get_mut(&id).filter(|exchange| exchange.is_live(side))
    }

    pub(crate) fn half(&mut self, id: u32, side: Side) -> Option<&mut Half> {
        self.live(id, side).map(|exchange| exchange.half(side))
    }
}

struct Callbacks {
    headers: &'static str,
    body: &'static str,
    trailers: &'static str,
}

impl Side {
    fn callbacks(self) -> Callbacks {
        match self {
            Self::Request => Callbacks {
                headers: "proxy_on_request_headers",
                body: "proxy_on_request_body",
                trailers: "proxy_on_request_trailers",
            },
            Self::Response => Callbacks {
                headers: "proxy_on_response_headers",
                body: "proxy_on_response_body",
                trailers: "proxy_on_response_trailers",
            },
        }
    }
}

/// cpp-host, `convertVmCallResultToFilterHeadersStatus`: 1 stops all iteration, as no plugin here sets
/// `allow_on_headers_stop_iteration`; 2 means "continue" in Envoy.
fn headers_verdict(answer: Answer) -> Flow {
    match answer.value {
        _ if answer.stopped => Flow::StoppedAll,
        0 | 2 => Flow::Open,
        _ => Flow::StoppedAll,
    }
}

enum Verdict {
    Continue,
    Buffer,
    Watermark,
    Drop,
}

/// cpp-host, `convertVmCallResultToFilterDataStatus`.
fn body_verdict(answer: Answer) -> Verdict {
    match answer.value {
        _ if answer.stopped => Verdict::Drop,
        0 => Verdict::Continue,
        1 => Verdict::Buffer,
        2 => Verdict::Watermark,
        _ => Verdict::Drop,
    }
}

/// Envoy, `ConnectionManagerUtility::mutateResponseHeaders`: a 101 keeps `upgrade` and `connection` only if the request
/// still has them after the filter.
fn hop_by_hop_removed(headers: Headers, exchange: &Exchange) -> Headers {
    let asked = exchange.request.headers.as_ref().is_some_and(Headers::is_upgrade);
    let headers = headers.without("transfer-encoding");
    if asked && headers.is_upgrade() { headers } else { headers.without("connection").without("upgrade") }
}

/// Sizes have 32 bits in the ABI.
fn len(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// The text of Envoy's `HeaderUtility::checkRequiredResponseHeaders`.
const NO_STATUS: &str = "missing required header: :status";

//! The steps of Envoy's filter manager around the filter's callbacks. The rules are the same in both directions: in
//! Envoy, decoder and encoder filters share `ActiveStreamFilterBase`.

use super::exchange::{Body, Exchange, Flow, Half, ReplyFormat, Side};
use super::host::{Action, Host, ROOT};
use super::machine::{Answer, len};
use crate::abi::headers::Headers;
use crate::abi::module::Instance;

impl Instance<Host> {
    /// Passes a client's request to the filter. `ended`: it has no body.
    pub(crate) fn open(&mut self, headers: Headers, ended: bool) -> u32 {
        let upgrade = headers.is_upgrade();
        let reply_format = ReplyFormat::of(&headers);
        let id = self.host().add(Exchange { reply_format, ..Exchange::default() });
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

    /// cpp-host, `convertVmCallResultToFilterHeadersStatus`: 1 stops all iteration, as no plugin here sets
    /// `allow_on_headers_stop_iteration`.
    pub(crate) fn receive_headers(&mut self, id: u32, side: Side, headers: Headers, ended: bool) {
        let Some(half) = self.half(id, side) else { return };
        let count = len(headers.len());
        (half.headers, half.headers_open, half.ended) = (Some(headers), true, ended);
        let Some(answer) = self.notify(id, side, HEADERS, &[count, ended.into()]) else { return };
        let Some(half) = self.half(id, side) else { return };
        if answer.value == 0 && !answer.stopped {
            half.headers_open = false;
            self.forward_headers(id, side, ended);
        } else {
            half.flow = Flow::Stopped;
        }
    }

    pub(crate) fn receive_body(&mut self, id: u32, side: Side, bytes: Vec<u8>, ended: bool) {
        let Some(half) = self.half(id, side) else { return };
        half.ended |= ended;
        if half.flow == Flow::Stopped {
            half.held.extend(bytes);
        } else {
            self.run_body(id, side, bytes, ended);
        }
    }

    /// The filter accesses no map of trailers.
    pub(crate) fn receive_trailers(&mut self, id: u32, side: Side, trailers: Headers) {
        let Some(half) = self.half(id, side) else { return };
        half.ended = true;
        let count = len(trailers.len());
        half.trailers = Some(trailers);
        if half.flow == Flow::Stopped {
            return;
        }
        let Some(answer) = self.notify(id, side, TRAILERS, &[count]) else { return };
        let Some(half) = self.half(id, side) else { return };
        if answer.value != 0 || answer.stopped {
            half.flow = Flow::Stopped;
        } else {
            self.release(id, side);
        }
    }

    /// Envoy, `decodeData` and `encodeData`: while buffering, the filter sees all bytes so far, otherwise the new
    /// chunk. cpp-host, `convertVmCallResultToFilterDataStatus`: 1 buffers, and a local response drops the chunk.
    fn run_body(&mut self, id: u32, side: Side, bytes: Vec<u8>, ended: bool) {
        let Some(half) = self.half(id, side) else { return };
        if half.flow == Flow::Buffering {
            half.held.extend(bytes);
            half.body = Body::Held;
        } else {
            half.chunk = bytes;
            half.body = Body::Chunk;
        }
        let size = len(half.open_body().map_or(0, |body| body.len()));
        let Some(answer) = self.notify(id, side, BODY, &[size, ended.into()]) else { return };
        let Some(half) = self.half(id, side) else { return };
        half.body = Body::Closed;
        let chunk = std::mem::take(&mut half.chunk);
        if answer.stopped {
            half.flow = Flow::Answered;
            return;
        }
        half.held.extend(chunk);
        if answer.value == 0 {
            self.release(id, side);
        } else {
            half.flow = Flow::Buffering;
        }
    }

    /// Calls the filter's callback, then runs the actions that it queued. `None`: it trapped.
    fn notify(
        &mut self,
        id: u32,
        side: Side,
        [request, response]: [&'static str; 2],
        args: &[u32],
    ) -> Option<Answer> {
        let callback = if side == Side::Request { request } else { response };
        let args = [&[id], args].concat();
        let Some(answer) = self.invoke(id, callback, &args, 0) else {
            self.fail(id);
            return None;
        };
        self.settle();
        if let Some(exchange) = self.host().exchanges.get_mut(&id).filter(|_| answer.is_pause()) {
            exchange.pauses.push(callback);
        }
        Some(answer)
    }

    /// Filter manager, `commonContinue`: forwards what is held back.
    fn release(&mut self, id: u32, side: Side) {
        let Some(half) = self.half(id, side) else { return };
        half.flow = Flow::Open;
        let (held, ended, trailers) = (std::mem::take(&mut half.held), half.ended, half.trailers.is_some());
        if half.sent.headers.is_none() {
            self.forward_headers(id, side, ended && held.is_empty() && !trailers);
        }
        let Some(half) = self.half(id, side) else { return };
        half.sent.body.extend(held);
        half.sent.trailers = half.trailers.clone();
        if ended {
            self.end(id, side);
        }
    }

    fn forward_headers(&mut self, id: u32, side: Side, ended: bool) {
        let Some(exchange) = self.live(id, side) else { return };
        let headers = exchange.half(side).headers.clone().unwrap_or_default();
        let headers = match side {
            Side::Request => headers,
            Side::Response => hop_by_hop_removed(headers, exchange),
        };
        exchange.half(side).sent.headers = Some(headers);
        if ended {
            self.end(id, side);
        }
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
                Action::Respond { context, status, headers, body } => {
                    self.answer_locally(context, status, &headers, body);
                }
                Action::Reset { context } => self.reset(context),
            }
        }
    }

    /// Filter manager, `DownstreamFilterManager::sendLocalReply`. Before the upstream's response headers, the reply
    /// passes through the filter's response callbacks. While the filter holds them back, the reply goes straight to the
    /// client. Once the client has response headers, the stream is reset.
    pub(crate) fn answer_locally(&mut self, id: u32, status: u32, added: &Headers, body: Vec<u8>) {
        let Some(exchange) = self.live(id, Side::Response) else { return };
        if exchange.response.sent.headers.is_some() {
            return self.reset(id);
        }
        let (headers, body) = exchange.reply_format.reply(status, added, body);
        if exchange.response.headers.is_some() {
            return self.answer_directly(id, headers, body);
        }
        exchange.answered_locally = true;
        let ended = body.is_empty();
        self.receive_headers(id, Side::Response, headers, ended);
        if !ended {
            self.receive_body(id, Side::Response, body, true);
        }
    }

    /// Filter manager, `sendDirectLocalReply`.
    fn answer_directly(&mut self, id: u32, headers: Headers, body: Vec<u8>) {
        let Some(exchange) = self.live(id, Side::Response) else { return };
        exchange.answered_locally = true;
        exchange.response.headers = Some(headers.clone());
        exchange.response.sent.headers = Some(headers);
        exchange.response.sent.body = body;
        self.end(id, Side::Response);
    }

    /// After a trap: 503, which the filter does not see, or a reset (cpp-host, `CHECK_FAIL`; Envoy, `failStream`).
    fn fail(&mut self, id: u32) {
        let Some(exchange) = self.live(id, Side::Response) else { return };
        if exchange.response.sent.headers.is_some() {
            return self.reset(id);
        }
        let (headers, body) = exchange.reply_format.reply(503, &Headers::default(), Vec::new());
        self.answer_directly(id, headers, body);
    }

    /// Resets the client's stream.
    pub(crate) fn reset(&mut self, id: u32) {
        if let Some(exchange) = self.live(id, Side::Response) {
            exchange.reset = true;
            self.finish(id);
        }
    }

    /// Ends the stream: Envoy, `onDestroy`. The filter has no `on_log`.
    fn finish(&mut self, id: u32) {
        let Some(exchange) = self.live(id, Side::Response) else { return };
        exchange.finished = true;
        self.invoke(id, "proxy_on_done", &[id], 1);
        self.settle();
        self.invoke(id, "proxy_on_delete", &[id], 0);
        if let Some(exchange) = self.host().exchanges.get_mut(&id) {
            exchange.deleted = true;
        }
        self.settle();
    }

    fn live(&mut self, id: u32, side: Side) -> Option<&mut Exchange> {
        self.host().exchanges.get_mut(&id).filter(|exchange| exchange.is_live(side))
    }

    pub(crate) fn half(&mut self, id: u32, side: Side) -> Option<&mut Half> {
        self.live(id, side).map(|exchange| exchange.half(side))
    }
}

/// The callbacks of requests and responses.
const HEADERS: [&str; 2] = ["proxy_on_request_headers", "proxy_on_response_headers"];
const BODY: [&str; 2] = ["proxy_on_request_body", "proxy_on_response_body"];
const TRAILERS: [&str; 2] = ["proxy_on_request_trailers", "proxy_on_response_trailers"];

/// Envoy, `ConnectionManagerUtility::mutateResponseHeaders`: a 101 keeps `upgrade` and `connection` only if the request
/// still has them after the filter.
fn hop_by_hop_removed(headers: Headers, exchange: &Exchange) -> Headers {
    let asked = exchange.request.headers.as_ref().is_some_and(Headers::is_upgrade);
    let headers = headers.without("transfer-encoding");
    if asked && headers.is_upgrade() { headers } else { headers.without("connection").without("upgrade") }
}

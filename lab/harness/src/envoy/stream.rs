//! One HTTP stream, driven and observed from both ends: the client's and the upstream's.

use std::cell::RefCell;
use std::rc::Rc;

use super::exchange::{Exchange, Sent, Side};
use super::machine::Machine;
use crate::abi::headers::{Headers, Response};

/// The fate of a request so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The filter holds the request back.
    Waiting,
    /// The upstream has received it, with these headers. For its response, see [`Stream::response`].
    Forwarded(Headers),
    /// The filter, or Envoy itself, has sent a local response.
    Answered(Response),
    /// The client's stream was reset.
    Reset,
}

/// A request with its response. Dropping it disconnects the client.
pub struct Stream {
    machine: Rc<RefCell<Machine>>,
    id: u32,
}

/// The client's end.
impl Stream {
    /// The client sends bytes, in one callback.
    pub fn client_sends(&mut self, bytes: impl AsRef<[u8]>) {
        self.body(Side::Request, bytes.as_ref(), false);
    }

    /// The client ends its request: a last body callback without bytes.
    pub fn client_ends(&mut self) {
        self.body(Side::Request, &[], true);
    }

    pub fn client_trailers(&mut self, trailers: impl Into<Headers>) {
        self.machine.borrow_mut().receive_trailers(self.id, Side::Request, trailers.into());
    }

    /// The client disconnects. Envoy treats a half-closed upgraded connection the same way.
    pub fn client_resets(&mut self) {
        self.machine.borrow_mut().reset(self.id);
    }

    /// The response so far; `None` before its headers.
    pub fn response(&self) -> Option<Response> {
        self.read(|exchange| {
            let Sent { headers, body, trailers, ended } = exchange.response.sent.clone();
            headers.map(|headers| Response { headers, body, trailers, complete: ended })
        })
    }

    /// The body that the client has received since the last call; in a WebSocket, its frames.
    pub fn take_to_client(&mut self) -> Vec<u8> {
        self.read(|exchange| std::mem::take(&mut exchange.response.sent.body))
    }
}

/// The upstream's end. Everything here panics if the request has not reached the upstream, and is ignored once Envoy has
/// dropped the upstream.
impl Stream {
    /// The upstream sends response headers. After an extended CONNECT, the filter sees a 101 with `upgrade` and
    /// `connection`, as Envoy's HTTP/2 codec writes it for an HTTP/1 client (measured).
    #[track_caller]
    pub fn upstream_headers(&mut self, headers: impl Into<Headers>, ended: bool) {
        self.assert_forwarded();
        self.details("via_upstream");
        self.machine.borrow_mut().receive_headers(self.id, Side::Response, headers.into(), ended);
    }

    /// The upstream sends bytes, in one callback.
    #[track_caller]
    pub fn upstream_sends(&mut self, bytes: impl AsRef<[u8]>, ended: bool) {
        self.assert_forwarded();
        self.body(Side::Response, bytes.as_ref(), ended);
    }

    /// The upstream ends with trailers, as gRPC always does.
    #[track_caller]
    pub fn upstream_trailers(&mut self, trailers: impl Into<Headers>) {
        self.assert_forwarded();
        self.machine.borrow_mut().receive_trailers(self.id, Side::Response, trailers.into());
    }

    /// The upstream's connection is lost.
    #[track_caller]
    pub fn upstream_resets(&mut self) {
        self.upstream_fails(503, "upstream_reset_before_response_started{connection_termination}");
    }

    /// The upstream fails for the reason in `details`, Envoy's `response.code_details`. The router sends a local
    /// response with this status (`Router::Filter::onUpstreamAbort`), which passes through the filter; if the client
    /// already has response headers, the stream is reset.
    #[track_caller]
    pub fn upstream_fails(&mut self, status: u32, details: &str) {
        self.assert_forwarded();
        self.details(details);
        let body = UPSTREAM_GONE.into();
        self.machine.borrow_mut().answer_locally(self.id, status, &Headers::default(), body);
    }

    pub fn upstream_request(&self) -> Option<Headers> {
        self.read(|exchange| exchange.request.sent.headers.clone())
    }

    /// The request body that the upstream has received so far.
    pub fn to_upstream(&self) -> Vec<u8> {
        self.read(|exchange| exchange.request.sent.body.clone())
    }

    /// The same, and the next call begins after it.
    pub fn take_to_upstream(&mut self) -> Vec<u8> {
        self.read(|exchange| std::mem::take(&mut exchange.request.sent.body))
    }

    /// Whether the upstream has received the whole request.
    pub fn upstream_has_all(&self) -> bool {
        self.read(|exchange| exchange.request.sent.ended)
    }

    #[track_caller]
    fn assert_forwarded(&self) {
        assert!(self.upstream_request().is_some(), "the request has not reached the upstream");
    }
}

/// The stream as a whole.
impl Stream {
    pub fn outcome(&self) -> Outcome {
        let (reset, local, request) = self.read(|exchange| {
            (exchange.reset, exchange.answered_locally, exchange.request.sent.headers.clone())
        });
        match (reset, local.then(|| self.response()).flatten(), request) {
            (true, ..) => Outcome::Reset,
            (_, Some(response), _) => Outcome::Answered(response),
            (_, None, Some(headers)) if !local => Outcome::Forwarded(headers),
            _ => Outcome::Waiting,
        }
    }

    /// Whether the client's stream was reset: by a peer, by the filter, or after a trap.
    pub fn is_reset(&self) -> bool {
        self.read(|exchange| exchange.reset)
    }

    /// Whether the stream is over and the module has deleted its context.
    pub fn is_finished(&self) -> bool {
        self.read(|exchange| exchange.finished)
    }

    /// The callbacks that paused the stream without a local response, by exported name and in order.
    pub fn pauses(&self) -> Vec<&'static str> {
        self.read(|exchange| exchange.pauses.clone())
    }

    pub(crate) fn new(machine: Rc<RefCell<Machine>>, id: u32) -> Self {
        Self { machine, id }
    }

    fn details(&self, details: &str) {
        self.read(|exchange| exchange.code_details = Some(details.to_owned()));
    }

    fn body(&mut self, side: Side, bytes: &[u8], ended: bool) {
        self.machine.borrow_mut().receive_body(self.id, side, bytes.to_vec(), ended);
    }

    fn read<T: Default>(&self, read: impl FnOnce(&mut Exchange) -> T) -> T {
        self.machine.borrow_mut().host().exchanges.get_mut(&self.id).map(read).unwrap_or_default()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut machine = self.machine.borrow_mut();
        machine.reset(self.id);
        machine.host().exchanges.remove(&self.id);
    }
}

/// The router's text for a connection that ended before any response.
const UPSTREAM_GONE: &str =
    "upstream connect error or disconnect/reset before headers. reset reason: connection termination";

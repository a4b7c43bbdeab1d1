//! One started filter, as Envoy holds it for one worker.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::calls::callouts::HttpReply;
use crate::host::{Action, ROOT};
use crate::machine::Machine;
use crate::{GrpcCall, Headers, HostCall, HttpCall, LogLine, Status, Stream, Trap, When};

/// A running instance: its streams, log, metrics, clock and call-outs. Nothing is shared with any other.
///
/// A trap that the test has not looked at with [`Vm::trap`] fails the test when the last handle goes.
pub struct Vm {
    machine: Rc<RefCell<Machine>>,
}

impl Vm {
    pub(crate) fn new(machine: Rc<RefCell<Machine>>) -> Self {
        Self { machine }
    }

    /// A client's request. Whether a body may follow is decided as Envoy's HTTP/1 codec does: after an upgrade, `CONNECT`,
    /// `content-length` or `transfer-encoding: chunked`. After an upgrade that the filter lets pass, Envoy calls the
    /// request body once with nothing, and so does this.
    pub fn request(&self, headers: impl Into<Headers>) -> Stream {
        let headers = headers.into();
        let ended = !headers.announces_body();
        self.open(headers, ended)
    }

    /// A client's request over HTTP/2, where the last header frame says whether it ended.
    pub fn http2_request(&self, headers: impl Into<Headers>, ended: bool) -> Stream {
        self.open(headers.into(), ended)
    }

    fn open(&self, headers: Headers, ended: bool) -> Stream {
        let id = self.machine.borrow_mut().open(headers, ended);
        Stream::new(Rc::clone(&self.machine), id)
    }

    /// Everything logged since the instance was created.
    pub fn log(&self) -> Vec<LogLine> {
        self.machine.borrow_mut().host().log.lines().to_vec()
    }

    /// The value of a counter or gauge; `None` for one that was never defined.
    pub fn metric(&self, name: &str) -> Option<u64> {
        self.machine.borrow_mut().host().metrics.value(name)
    }

    /// What was recorded in a histogram, in order.
    pub fn samples(&self, name: &str) -> Vec<u64> {
        self.machine.borrow_mut().host().metrics.samples(name).to_vec()
    }

    /// What stopped the filter. From then on no callback runs: new requests get 503, open streams are reset when they move.
    pub fn trap(&self) -> Option<Trap> {
        let mut machine = self.machine.borrow_mut();
        let host = machine.host();
        host.trap_seen |= host.trap.is_some();
        host.trap.clone()
    }

    /// Bytes of linear memory. It never shrinks.
    pub fn memory_bytes(&self) -> usize {
        self.machine.borrow_mut().memory_bytes()
    }

    /// Refuses growth of linear memory beyond `bytes` from then on.
    pub fn limit_memory(&self, bytes: usize) {
        self.machine.borrow_mut().host().memory.bytes = bytes;
    }

    /// Makes a host call answer `status` without doing anything, from then on.
    pub fn refuse(&self, call: HostCall, when: When, status: Status) {
        self.machine.borrow_mut().host().faults.refuse(call, when, status);
    }

    /// Takes back every [`Vm::refuse`] of `call`.
    pub fn allow(&self, call: HostCall) {
        self.machine.borrow_mut().host().faults.allow(call);
    }

    /// The wall clock, since 1970.
    pub fn now(&self) -> Duration {
        self.machine.borrow_mut().host().now
    }

    /// The tick period that the filter asked for; `None` without one.
    pub fn tick_period(&self) -> Option<Duration> {
        Some(self.machine.borrow_mut().host().tick_period).filter(|period| !period.is_zero())
    }

    /// Lets time pass, with each tick at its moment. Envoy, `Wasm::tickHandler`: the next is due a period after the last.
    pub fn advance(&self, by: Duration) {
        let mut machine = self.machine.borrow_mut();
        let until = machine.host().now.saturating_add(by);
        while let Some(due) = machine.host().tick_due.filter(|due| *due <= until) {
            machine.host().now = due;
            machine.invoke(ROOT, "proxy_on_tick", &[ROOT], 0);
            let host = machine.host();
            host.tick_due = (!host.tick_period.is_zero()).then(|| due.saturating_add(host.tick_period));
            machine.settle();
        }
        machine.host().now = until;
    }

    /// Streams that are neither finished nor reset.
    pub fn open_streams(&self) -> usize {
        self.machine.borrow_mut().host().exchanges.values().filter(|exchange| !exchange.finished).count()
    }

    /// HTTP call-outs without an answer, oldest first.
    pub fn http_calls(&self) -> Vec<HttpCall> {
        self.machine.borrow_mut().host().http_calls.values().cloned().collect()
    }

    /// Answers an HTTP call-out; nothing happens for a token without one. Envoy, `onHttpCallSuccess`: headers and body are
    /// readable while the callback runs; an answer here has no trailers.
    pub fn answer_http_call(&self, token: u32, headers: impl Into<Headers>, body: impl AsRef<[u8]>) {
        let reply = HttpReply { headers: headers.into(), body: body.as_ref().to_vec() };
        self.end_http_call(token, Some(reply));
    }

    /// Cuts an HTTP call-out off. Envoy, `onHttpCallFailure`: a callback with no headers and no body, status 11, `reset`.
    pub fn fail_http_call(&self, token: u32) {
        self.end_http_call(token, None);
    }

    fn end_http_call(&self, token: u32, reply: Option<HttpReply>) {
        let mut machine = self.machine.borrow_mut();
        if machine.host().http_calls.remove(&token).is_none() {
            return;
        }
        let (headers, body) =
            reply.as_ref().map_or((0, 0), |reply| (size(reply.headers.len()), size(reply.body.len())));
        let host = machine.host();
        if reply.is_none() {
            host.call_status = (Status::BROKEN_CONNECTION.0, "reset".to_owned());
        }
        host.http_reply = reply;
        machine.invoke(ROOT, "proxy_on_http_call_response", &[ROOT, token, headers, body, 0], 0);
        machine.host().http_reply = None;
        machine.host().call_status.1.clear();
        machine.settle();
    }

    /// gRPC call-outs without an answer, oldest first.
    pub fn grpc_calls(&self) -> Vec<GrpcCall> {
        self.machine.borrow_mut().host().grpc_calls.values().cloned().collect()
    }

    /// Answers a gRPC call-out with a message; nothing happens for a token without one. Envoy, `onGrpcReceiveWrapper`.
    pub fn answer_grpc_call(&self, token: u32, message: impl AsRef<[u8]>) {
        let mut machine = self.machine.borrow_mut();
        if machine.host().grpc_calls.remove(&token).is_some() {
            let message = message.as_ref();
            machine.host().grpc_reply = Some(message.to_vec());
            machine.invoke(ROOT, "proxy_on_grpc_receive", &[ROOT, token, size(message.len())], 0);
            machine.host().grpc_reply = None;
            machine.settle();
        }
    }

    /// Ends a gRPC call-out with a gRPC status other than 0. Envoy, `onGrpcCloseWrapper`: of a call that fails while the
    /// filter makes it, the filter is told as well, by a token that it never got; so any token goes here.
    pub fn fail_grpc_call(&self, token: u32, code: u32, message: &str) {
        let mut machine = self.machine.borrow_mut();
        machine.host().grpc_calls.remove(&token);
        machine.host().call_status = (code, message.to_owned());
        machine.invoke(ROOT, "proxy_on_grpc_close", &[ROOT, token, code], 0);
        machine.host().call_status.1.clear();
        machine.settle();
    }

    /// Ends the plugin as Envoy does on its way out: `on_done`, then `on_delete` at once or after `proxy_done`.
    pub fn shut_down(&self) {
        let mut machine = self.machine.borrow_mut();
        if let Some(answer) = machine.invoke(ROOT, "proxy_on_done", &[ROOT], 1) {
            match answer.value {
                0 => machine.host().shutdown_pending = true,
                _ => machine.host().actions.push_back(Action::DeleteRoot),
            }
            machine.settle();
        }
    }
}

/// Sizes cross the border as 32 bits.
fn size(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

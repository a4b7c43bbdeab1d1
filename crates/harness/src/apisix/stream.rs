//! One request, watched from the client's side and the upstream's.

use std::cell::RefCell;
use std::rc::Rc;

use super::machine::Machine;
use super::outcome::Outcome;
use crate::abi::headers::Headers;
use crate::abi::response::Response;

/// A request with its response. Dropping it is its end: the filter is told to forget it.
pub struct Stream {
    machine: Rc<RefCell<Machine>>,
    key: u32,
}

impl Stream {
    pub(crate) fn new(machine: Rc<RefCell<Machine>>, key: u32) -> Self {
        Self { machine, key }
    }

    /// What has become of the request.
    pub fn outcome(&self) -> Outcome {
        let mut machine = self.machine.borrow_mut();
        let host = machine.host();
        if host.dead.is_some() {
            return Outcome::Lost;
        }
        host.exchanges.get(&self.key).map_or(Outcome::Lost, |exchange| exchange.outcome.clone())
    }

    /// The request's headers as plugins that log show them: `apisix/utils/log-util.lua`, `get_full_log`.
    pub fn logged(&self) -> Headers {
        let mut machine = self.machine.borrow_mut();
        let exchange = machine.host().exchanges.get(&self.key);
        exchange.map_or_else(Headers::default, |exchange| exchange.request.behind([]))
    }

    /// The upstream answers a forwarded request with these headers; what the client gets of them. Nothing is given where the
    /// request was not forwarded.
    pub fn upstream_answers(&mut self, status: u16, headers: impl Into<Headers>) -> Option<Headers> {
        self.machine.borrow_mut().upstream_answers(self.key, status, &headers.into())
    }

    /// The upstream of a forwarded request cannot be connected to (502), ends without an answer (502) or is silent for too long (504),
    /// after nginx sent it this many bytes, of several attempts such as `0, 217`: the page of nginx's that the client gets. Nothing
    /// is given where the request was not forwarded.
    pub fn upstream_fails(&mut self, status: u16, bytes_sent: impl ToString) -> Option<Response> {
        self.machine.borrow_mut().upstream_fails(self.key, status, bytes_sent.to_string())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut machine = self.machine.borrow_mut();
        machine.forget(self.key);
        machine.collect_garbage();
    }
}

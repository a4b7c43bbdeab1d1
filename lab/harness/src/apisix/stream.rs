//! One request, observed from the client's side and the upstream's.

use std::cell::RefCell;
use std::rc::Rc;

use super::exchange::Outcome;
use super::machine::Machine;
use crate::abi::headers::Headers;
use crate::abi::response::Response;

/// A request with its response. Dropping it ends the request, and the module deletes its context.
pub struct Stream {
    machine: Rc<RefCell<Machine>>,
    key: u32,
}

impl Stream {
    pub(crate) fn new(machine: Rc<RefCell<Machine>>, key: u32) -> Self {
        Self { machine, key }
    }

    /// The fate of the request.
    pub fn outcome(&self) -> Outcome {
        let mut machine = self.machine.borrow_mut();
        let host = machine.host();
        if host.dead.is_some() {
            return Outcome::Lost;
        }
        host.exchanges.get(&self.key).map_or(Outcome::Lost, |exchange| exchange.outcome.clone())
    }

    /// The request's headers as logging plugins show them: `apisix/utils/log-util.lua`, `get_full_log`.
    pub fn logged(&self) -> Headers {
        let mut machine = self.machine.borrow_mut();
        let exchange = machine.host().exchanges.get(&self.key);
        exchange.map(|exchange| exchange.request.clone()).unwrap_or_default()
    }

    /// The upstream answers with these headers. Returns the client's headers; `None` if the request was not forwarded.
    pub fn upstream_answers(&mut self, status: u16, headers: impl Into<Headers>) -> Option<Headers> {
        self.machine.borrow_mut().upstream_answers(self.key, status, &headers.into())
    }

    /// The upstream is unreachable (502), disconnects (502) or times out (504), after nginx sent it this many bytes,
    /// such as `0, 217` in two attempts. Returns nginx's page; `None` if the request was not forwarded.
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

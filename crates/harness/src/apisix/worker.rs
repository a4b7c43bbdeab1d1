//! One nginx worker with the plugin in it, and the routes that use it.

use std::cell::RefCell;
use std::rc::Rc;

use super::host::RouteState;
use super::machine::Machine;
use super::route::Route;
use crate::abi::faults::When;
use crate::abi::host_call::HostCall;
use crate::abi::log::LogLine;
use crate::abi::status::Status;
use crate::abi::trap::Trap;

/// A running worker. Nothing is shared with any other.
///
/// A trap, a crash or a hang that the test has not looked at with [`Worker::trap`] fails the test when the last handle goes.
pub struct Worker {
    machine: Rc<RefCell<Machine>>,
}

impl Worker {
    pub(crate) fn new(machine: Rc<RefCell<Machine>>) -> Self {
        Self { machine }
    }

    /// A route with this `conf`: a string as it is, or what cjson made of an object. W, `fetch_plugin_ctx`: for each consumer
    /// APISIX makes a plugin context of its own; a test makes a route for each.
    pub fn route(&self, conf: impl AsRef<[u8]>) -> Route {
        let mut machine = self.machine.borrow_mut();
        let key = machine.host().new_key();
        let state = RouteState { conf: conf.as_ref().to_vec(), plugin: None, removed: false };
        machine.host().routes.insert(key, state);
        Route::new(Rc::clone(&self.machine), key)
    }

    /// Everything that the filter has logged since the instance was created.
    pub fn log(&self) -> Vec<LogLine> {
        self.machine.borrow_mut().host().log.lines().to_vec()
    }

    /// What went wrong since the last look. A trap of the filter harms its request alone, and the instance goes on; after a
    /// crash or a hang everything is [`Outcome::Lost`](super::Outcome::Lost).
    pub fn trap(&self) -> Option<Trap> {
        self.machine.borrow_mut().host().trap.take()
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

    /// Takes back every [`Worker::refuse`] of `call`.
    pub fn allow(&self, call: HostCall) {
        self.machine.borrow_mut().host().faults.allow(call);
    }

    /// Contexts that nginx reported as not done, an error in its log for each.
    pub fn undone(&self) -> usize {
        self.machine.borrow_mut().host().undone
    }

    /// Requests that have not ended.
    pub fn open_streams(&self) -> usize {
        self.machine.borrow_mut().host().exchanges.len()
    }

    /// Routes of which the filter has a context: used once, and not yet forgotten.
    pub fn routes_in_use(&self) -> usize {
        self.machine.borrow_mut().host().plugins.len()
    }
}

//! One nginx worker with an instance of the plugin.

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

/// A running worker. Workers share nothing.
///
/// A trap, crash or hang that the test has not read with [`Worker::trap`] fails the test when the last handle is
/// dropped.
pub struct Worker {
    machine: Rc<RefCell<Machine>>,
}

impl Worker {
    pub(crate) fn new(machine: Rc<RefCell<Machine>>) -> Self {
        Self { machine }
    }

    /// A route with this `conf`: a string, or an object as cjson encodes it. W, `fetch_plugin_ctx`: APISIX creates a
    /// plugin context for each consumer; a test creates a route for each.
    pub fn route(&self, conf: impl AsRef<[u8]>) -> Route {
        let mut machine = self.machine.borrow_mut();
        let key = machine.host().new_key();
        let state = RouteState { conf: conf.as_ref().to_vec(), plugin: None, removed: false };
        machine.host().routes.insert(key, state);
        Route::new(Rc::clone(&self.machine), key)
    }

    /// The log since the start.
    pub fn log(&self) -> Vec<LogLine> {
        self.machine.borrow_mut().host().system.log.lines().to_vec()
    }

    /// The first failure since the last call. A trap fails only its request, and the instance continues. After a crash
    /// or hang, every request is [`Outcome::Lost`](super::Outcome::Lost).
    pub fn trap(&self) -> Option<Trap> {
        self.machine.borrow_mut().host().system.trap.take()
    }

    /// Bytes of linear memory. It never shrinks.
    pub fn memory_bytes(&self) -> usize {
        self.machine.borrow().memory_bytes()
    }

    /// Takes LLVM's 8-bit counters of coverage, which begin again from 0. Empty: the module was built without.
    pub fn take_coverage(&self) -> Vec<u8> {
        self.machine.borrow_mut().take_coverage()
    }

    /// Limits linear memory to `bytes` from now on.
    pub fn limit_memory(&self, bytes: usize) {
        self.machine.borrow_mut().host().system.limit_memory(bytes);
    }

    /// Makes a host call return `status` without effect from now on.
    pub fn refuse(&self, call: HostCall, when: When, status: Status) {
        self.machine.borrow_mut().host().system.faults.refuse(call, when, status);
    }

    /// Undoes every [`Worker::refuse`] of `call`.
    pub fn allow(&self, call: HostCall) {
        self.machine.borrow_mut().host().system.faults.allow(call);
    }

    /// Contexts that nginx reported as not done, each with an error in its log.
    pub fn undone(&self) -> usize {
        self.machine.borrow_mut().host().undone
    }

    /// Requests that have not ended.
    pub fn open_streams(&self) -> usize {
        self.machine.borrow_mut().host().exchanges.len()
    }

    /// Routes with a plugin context: used at least once, not yet deleted.
    pub fn routes_in_use(&self) -> usize {
        self.machine.borrow_mut().host().plugins.len()
    }
}

//! One nginx worker with the plugin in it, and the routes that use it.

use std::cell::RefCell;
use std::rc::Rc;

use super::exchange::Exchange;
use super::host::RouteState;
use super::machine::Machine;
use super::stream::Stream;
use crate::{Headers, HostCall, LogLine, Status, Trap, When};

/// What nginx's configuration, and the harness, say of a worker.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The plugin's name in APISIX' `config.yaml`.
    pub name: String,
    /// Bytes that a request's body may have, nginx's `client_max_body_size`; 0, APISIX' default, for any number.
    pub client_max_body_size: usize,
    /// WebAssembly instructions that one callback may use; by default a thousand million, seconds. The real host has no
    /// such bound: the worker would hang.
    pub instructions_per_callback: u64,
    /// Bytes of linear memory the filter may have; 1 GiB by default. The real host has no bound.
    pub memory_limit: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: "sluicegate".to_owned(),
            client_max_body_size: 0,
            instructions_per_callback: 1_000_000_000,
            memory_limit: 1024 * 1024 * 1024,
        }
    }
}

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
        Route { machine: Rc::clone(&self.machine), key }
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

/// A route. When it goes, its plugin context goes with it, once its last request has ended: L, `ffi_gc`.
pub struct Route {
    machine: Rc<RefCell<Machine>>,
    key: u32,
}

impl Route {
    /// A client's request, with its whole body; empty is none. `:authority` is its `Host`, without which nginx takes
    /// HTTP/1.0 only; all other names are lines. The client is at 10.0.0.9.
    pub fn request(&self, headers: impl Into<Headers>, body: impl AsRef<[u8]>) -> Stream {
        self.request_from("10.0.0.9", headers, body)
    }

    /// The same from a client at another address.
    pub fn request_from(&self, client: &str, headers: impl Into<Headers>, body: impl AsRef<[u8]>) -> Stream {
        let exchange = Exchange::new(self.key, client, &headers.into(), body.as_ref().len());
        let key = self.machine.borrow_mut().open(exchange);
        Stream::new(Rc::clone(&self.machine), key)
    }
}

impl Drop for Route {
    fn drop(&mut self) {
        let mut machine = self.machine.borrow_mut();
        if let Some(route) = machine.host().routes.get_mut(&self.key) {
            route.removed = true;
        }
        machine.collect_garbage();
    }
}

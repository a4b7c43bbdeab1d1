//! One nginx worker with an instance of the plugin, and its routes.

use std::cell::RefCell;
use std::ops::Deref;
use std::rc::Rc;

use super::exchange::Exchange;
use super::host::RouteState;
use super::machine::Machine;
use super::stream::Stream;
use crate::abi::controls::Controls;
use crate::abi::errors::Trap;
use crate::abi::headers::Headers;

/// A running worker. Workers share nothing.
///
/// A trap, crash or hang that the test has not read with [`Worker::trap`] fails the test when the last handle is
/// dropped.
pub struct Worker {
    machine: Rc<RefCell<Machine>>,
    controls: Controls,
}

impl Worker {
    pub(crate) fn new(machine: Machine) -> Self {
        let machine = Rc::new(RefCell::new(machine));
        Self { controls: Controls::new(&machine), machine }
    }

    /// A route with this `conf`: a string, or an object as cjson encodes it. W, `fetch_plugin_ctx`: APISIX creates a
    /// plugin context for each consumer; a test creates a route for each.
    pub fn route(&self, conf: impl AsRef<[u8]>) -> Route {
        let mut machine = self.machine.borrow_mut();
        let key = machine.host().new_key();
        let state = RouteState { conf: conf.as_ref().to_vec(), plugin: None, removed: false };
        machine.host().routes.insert(key, state);
        Route { machine: Rc::clone(&self.machine), key }
    }

    /// Limits the body of a request to this number of bytes, nginx's `client_max_body_size`; 0, APISIX's default, for
    /// none.
    pub fn limit_bodies(&self, bytes: usize) {
        self.machine.borrow_mut().host().longest_body = if bytes == 0 { usize::MAX } else { bytes };
    }

    /// The first failure since the last call. A trap fails only its request, and the instance continues. After a crash
    /// or hang, every request is [`Outcome::Lost`](super::Outcome::Lost).
    pub fn trap(&self) -> Option<Trap> {
        self.machine.borrow_mut().host().system.trap.take()
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

impl Deref for Worker {
    type Target = Controls;

    fn deref(&self) -> &Controls {
        &self.controls
    }
}

/// A route that uses the plugin. After it is dropped, its plugin context is deleted with its last request: L, `ffi_gc`.
pub struct Route {
    machine: Rc<RefCell<Machine>>,
    key: u32,
}

impl Route {
    /// A client's request with its whole body. `:authority` becomes the `Host` line; nginx accepts requests without it
    /// over HTTP/1.0 only. The client's address is 10.0.0.9.
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

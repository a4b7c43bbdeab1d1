//! The handles of a test: the plugin, a worker that runs it, the worker's routes, and their requests.

use std::cell::RefCell;
use std::ops::Deref;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use super::calls::TABLES;
use super::exchange::{Exchange, Outcome};
use super::host::{Host, RouteState};
use super::machine::Machine;
use crate::abi::controls::Controls;
use crate::abi::errors::{LoadError, StartError, Trap};
use crate::abi::headers::{Headers, Response};
use crate::abi::module::{self, Features, Program};

/// A module that can be started any number of times. Cheap to clone; each [`Worker`] is independent of every other.
#[derive(Clone)]
pub struct Plugin {
    program: Arc<Program<Host>>,
}

impl Plugin {
    /// Reads and compiles the module at `path`; the same bytes are compiled once per process.
    ///
    /// # Errors
    /// If the real host would reject the module.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        Self::compile(&module::read(path.as_ref())?)
    }

    /// The same for a module in memory. V, `ngx_wasm_wasmtime_load`, rejects an unknown import or one of another type,
    /// a missing memory export, and WebAssembly features that wasmtime 0.38 lacks. The route then has no such plugin.
    pub fn compile(wasm: &[u8]) -> Result<Self, LoadError> {
        let program = Program::new(wasm, Features::Wasmtime038, TABLES)?;
        program.must_export(&["memory"])?;
        Ok(Self { program })
    }

    /// Starts a worker. The filter is not configured before the first request of a route.
    ///
    /// # Errors
    /// If instantiation, `_start` or `_initialize` traps.
    pub fn start(&self) -> Result<Worker, StartError> {
        let machine = Rc::new(RefCell::new(Machine::boot(&self.program)?));
        Ok(Worker { controls: Controls::new(&machine), machine })
    }
}

/// A running worker. Workers share nothing.
///
/// A trap, crash or hang that the test has not read with [`Worker::trap`] fails the test when the last handle is
/// dropped.
pub struct Worker {
    machine: Rc<RefCell<Machine>>,
    controls: Controls,
}

impl Worker {
    /// A route with this `conf`: a string, or an object as cjson encodes it. W, `fetch_plugin_ctx`: APISIX creates a
    /// plugin context for each consumer; a test creates a route for each.
    pub fn route(&self, conf: impl AsRef<[u8]>) -> Route {
        let mut machine = self.machine.borrow_mut();
        let key = machine.host().new_key();
        let state = RouteState { conf: conf.as_ref().to_vec(), plugin: None, removed: false };
        machine.host().routes.insert(key, state);
        Route { machine: Rc::clone(&self.machine), key }
    }

    /// The first failure since the last call. A trap fails only its request, and the instance continues. After a crash
    /// or hang, every request is [`Outcome::Lost`].
    pub fn trap(&self) -> Option<Trap> {
        self.machine.borrow_mut().host().system.trap.take()
    }

    /// Contexts that nginx reported as not done, each with an error in its log.
    pub fn undone(&self) -> usize {
        self.machine.borrow_mut().host().undone
    }

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
    /// A client's request with its whole body, which the filter does not see. `:authority` becomes the `Host` line; nginx accepts requests without it
    /// over HTTP/1.0 only. `:version` is the request's, by default `HTTP/1.1`. The client's address is 10.0.0.9.
    pub fn request(&self, headers: impl Into<Headers>, body: impl AsRef<[u8]>) -> Stream {
        self.request_from("10.0.0.9", headers, body)
    }

    /// The same from a client at another address.
    pub fn request_from(&self, client: &str, headers: impl Into<Headers>, _body: impl AsRef<[u8]>) -> Stream {
        let exchange = Exchange::new(self.key, client, &headers.into());
        let key = self.machine.borrow_mut().open(exchange);
        Stream { machine: Rc::clone(&self.machine), key }
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

/// A request with its response. Dropping it ends the request, and the module deletes its context.
pub struct Stream {
    machine: Rc<RefCell<Machine>>,
    key: u32,
}

impl Stream {
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

//! A compiled module whose imports Envoy provides, and a running one, of which Envoy has one per worker.

use std::cell::RefCell;
use std::ops::Deref;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::calls::{ALLOCATORS, TABLES};
use super::host::{Host, ROOT};
use super::machine::Machine;
use super::stream::Stream;
use crate::abi::controls::Controls;
use crate::abi::errors::{LoadError, StartError, Trap};
use crate::abi::headers::Headers;
use crate::abi::module::{self, Features, Program};

/// A module that can be started any number of times. Cheap to clone; each [`Vm`] is independent of every other.
#[derive(Clone)]
pub struct Filter {
    program: Arc<Program<Host>>,
}

impl Filter {
    /// Reads and compiles the module at `path`; the same bytes are compiled once per process.
    ///
    /// # Errors
    /// If Envoy 1.40 would reject the module, or it imports functions that this host lacks.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        Self::compile(&module::read(path.as_ref())?)
    }

    /// The same for a module in memory.
    pub fn compile(wasm: &[u8]) -> Result<Self, LoadError> {
        let program = Program::new(wasm, Features::Current, TABLES)?;
        program.must_export(&[ABI])?;
        program.must_export(&ALLOCATORS)?;
        Ok(Self { program })
    }

    /// Starts an instance with the plugin's configuration.
    ///
    /// # Errors
    /// If a start callback traps or returns false; Envoy's plugin then fails closed.
    pub fn start(&self, configuration: impl AsRef<[u8]>) -> Result<Vm, StartError> {
        let machine = Rc::new(RefCell::new(Machine::boot(&self.program, configuration.as_ref())?));
        Ok(Vm { controls: Controls::new(&machine), machine })
    }
}

/// A running instance: its streams, log, metrics and clock. Instances share nothing.
///
/// A trap that the test has not read with [`Vm::trap`] fails the test when the last handle is dropped.
pub struct Vm {
    machine: Rc<RefCell<Machine>>,
    controls: Controls,
}

impl Vm {
    /// A client's request over HTTP/1. As in Envoy's codec, a body can follow an upgrade, `CONNECT`, `content-length`
    /// or `transfer-encoding: chunked`. After a forwarded upgrade, the body callback runs once without bytes, as in
    /// Envoy.
    pub fn request(&self, headers: impl Into<Headers>) -> Stream {
        let headers = headers.into();
        let ended = !headers.announces_body();
        let id = self.machine.borrow_mut().open(headers, ended);
        Stream::new(Rc::clone(&self.machine), id)
    }

    /// The value of a counter or gauge; `None` for one that was never defined.
    pub fn metric(&self, name: &str) -> Option<u64> {
        self.machine.borrow_mut().host().values.get(name).copied()
    }

    /// The names of all counters and gauges that are not 0.
    pub fn counted(&self) -> Vec<String> {
        let mut machine = self.machine.borrow_mut();
        let counted = machine.host().values.iter().filter(|(_, value)| **value != 0);
        counted.map(|(name, _)| name.clone()).collect()
    }

    /// The trap that stopped the module. After it, no callback runs: new requests get 503, open streams are reset.
    pub fn trap(&self) -> Option<Trap> {
        let mut machine = self.machine.borrow_mut();
        let system = &mut machine.host().system;
        system.trap_seen |= system.trap.is_some();
        system.trap.clone()
    }

    /// Sets a property of the host from now on. NUL separates the parts of its path.
    pub fn set_property(&self, path: &str, value: impl AsRef<[u8]>) {
        let mut machine = self.machine.borrow_mut();
        machine.host().properties.insert(path.as_bytes().to_vec(), value.as_ref().to_vec());
    }

    /// The tick period that the module set, if any.
    pub fn tick_period(&self) -> Option<Duration> {
        Some(self.machine.borrow_mut().host().tick_period).filter(|period| !period.is_zero())
    }

    /// Advances the clock and runs the ticks that are due. Envoy, `Wasm::tickHandler`: each tick schedules the next.
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

    pub fn open_streams(&self) -> usize {
        self.machine.borrow_mut().host().exchanges.values().filter(|exchange| !exchange.finished).count()
    }
}

impl Deref for Vm {
    type Target = Controls;

    fn deref(&self) -> &Controls {
        &self.controls
    }
}

/// The export that names the module's version of the ABI.
const ABI: &str = "proxy_abi_version_0_2_1";

//! A running module, one per worker in Envoy.

use std::cell::RefCell;
use std::ops::Deref;
use std::rc::Rc;
use std::time::Duration;

use super::host::ROOT;
use super::machine::Machine;
use super::stream::Stream;
use crate::abi::controls::Controls;
use crate::abi::errors::Trap;
use crate::abi::headers::Headers;

/// A running instance: its streams, log, metrics and clock. Instances share nothing.
///
/// A trap that the test has not read with [`Vm::trap`] fails the test when the last handle is dropped.
pub struct Vm {
    machine: Rc<RefCell<Machine>>,
    controls: Controls,
}

impl Vm {
    pub(crate) fn new(machine: Machine) -> Self {
        let machine = Rc::new(RefCell::new(machine));
        Self { controls: Controls::new(&machine), machine }
    }

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

    /// Streams that are neither finished nor reset.
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

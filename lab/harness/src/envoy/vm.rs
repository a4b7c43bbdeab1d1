//! A running module, one per worker in Envoy.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::host::{Action, ROOT};
use super::machine::Machine;
use super::stream::Stream;
use crate::abi::faults::When;
use crate::abi::headers::Headers;
use crate::abi::host_call::HostCall;
use crate::abi::log::LogLine;
use crate::abi::status::Status;
use crate::abi::trap::Trap;

/// A running instance: its streams, log, metrics and clock. Instances share nothing.
///
/// A trap that the test has not read with [`Vm::trap`] fails the test when the last handle is dropped.
pub struct Vm {
    machine: Rc<RefCell<Machine>>,
}

impl Vm {
    pub(crate) fn new(machine: Rc<RefCell<Machine>>) -> Self {
        Self { machine }
    }

    /// A client's request over HTTP/1. As in Envoy's codec, a body can follow an upgrade, `CONNECT`, `content-length`
    /// or `transfer-encoding: chunked`. After a forwarded upgrade, the body callback runs once without bytes, as in
    /// Envoy.
    pub fn request(&self, headers: impl Into<Headers>) -> Stream {
        let headers = headers.into();
        let ended = !headers.announces_body();
        self.open(headers, ended)
    }

    fn open(&self, headers: Headers, ended: bool) -> Stream {
        let id = self.machine.borrow_mut().open(headers, ended);
        Stream::new(Rc::clone(&self.machine), id)
    }

    /// The log since the start.
    pub fn log(&self) -> Vec<LogLine> {
        self.machine.borrow_mut().host().system.log.lines().to_vec()
    }

    /// The value of a counter or gauge; `None` for one that was never defined.
    pub fn metric(&self, name: &str) -> Option<u64> {
        self.machine.borrow_mut().host().metrics.value(name)
    }

    /// The samples of a histogram, in order.
    pub fn samples(&self, name: &str) -> Vec<u64> {
        self.machine.borrow_mut().host().metrics.samples(name).to_vec()
    }

    /// The trap that stopped the module. After it, no callback runs: new requests get 503, open streams are reset.
    pub fn trap(&self) -> Option<Trap> {
        let mut machine = self.machine.borrow_mut();
        let host = machine.host();
        host.trap_seen |= host.system.trap.is_some();
        host.system.trap.clone()
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

    /// Sets a property of the host from now on. NUL separates the parts of its path.
    pub fn set_property(&self, path: &str, value: impl AsRef<[u8]>) {
        let mut machine = self.machine.borrow_mut();
        let properties = &mut machine.host().settings.properties;
        properties.retain(|(known, _)| known != path.as_bytes());
        properties.push((path.as_bytes().to_vec(), value.as_ref().to_vec()));
    }

    /// Undoes every [`Vm::refuse`] of `call`.
    pub fn allow(&self, call: HostCall) {
        self.machine.borrow_mut().host().system.faults.allow(call);
    }

    /// The wall clock, since 1970.
    pub fn now(&self) -> Duration {
        self.machine.borrow_mut().host().now
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

    /// Ends the plugin as Envoy does on shutdown: `on_done`, then `on_delete` at once or after `proxy_done`.
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

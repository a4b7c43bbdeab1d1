//! Inspection of a running module, and faults on purpose.

use std::cell::RefCell;
use std::rc::Rc;

use super::host_call::{HostCall, Status};
use super::log::LogLine;
use super::module::Instance;
use super::system::{Host, System, When};

/// The log and the memory of a running module, and the faults of its host.
pub struct Controls(Rc<RefCell<dyn Controlled>>);

impl Controls {
    pub(crate) fn new<H: Host>(machine: &Rc<RefCell<Instance<H>>>) -> Self {
        Self(Rc::<RefCell<Instance<H>>>::clone(machine))
    }

    /// The log since the start.
    pub fn log(&self) -> Vec<LogLine> {
        self.0.borrow_mut().system().log.lines().to_vec()
    }

    /// Bytes of linear memory. It never shrinks.
    pub fn memory_bytes(&self) -> usize {
        self.0.borrow().memory_bytes()
    }

    /// Takes LLVM's 8-bit counters of coverage, which begin again from 0. Empty: the module was built without.
    pub fn take_coverage(&self) -> Vec<u8> {
        self.0.borrow_mut().take_coverage()
    }

    /// Limits linear memory to `bytes` from now on.
    pub fn limit_memory(&self, bytes: usize) {
        self.0.borrow_mut().system().limit_memory(bytes);
    }

    /// Makes a host call return `status` without effect from now on.
    pub fn refuse(&self, call: HostCall, when: When, status: Status) {
        self.0.borrow_mut().system().faults.refuse(call, when, status);
    }

    /// Undoes every [`Controls::refuse`] of `call`. Whether one waited for a call that has not come.
    pub fn allow(&self, call: HostCall) -> bool {
        self.0.borrow_mut().system().faults.allow(call)
    }
}

trait Controlled {
    fn system(&mut self) -> &mut System;
    fn memory_bytes(&self) -> usize;
    fn take_coverage(&mut self) -> Vec<u8>;
}

impl<H: Host> Controlled for Instance<H> {
    fn system(&mut self) -> &mut System {
        self.host().system()
    }

    fn memory_bytes(&self) -> usize {
        self.instance.get_memory(&self.store, "memory").map_or(0, |memory| memory.data_size(&self.store))
    }

    fn take_coverage(&mut self) -> Vec<u8> {
        let Some(range) = self.host().system().counters.clone() else { return Vec::new() };
        let Some(memory) = self.instance.get_memory(&self.store, "memory") else { return Vec::new() };
        let range = range.start as usize..range.end as usize;
        let Some(counters) = memory.data_mut(&mut self.store).get_mut(range) else { return Vec::new() };
        let taken = counters.to_vec();
        counters.fill(0);
        taken
    }
}

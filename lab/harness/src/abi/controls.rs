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

    pub fn log(&self) -> Vec<LogLine> {
        self.0.borrow_mut().system().log.lines().to_vec()
    }

    /// Bytes of linear memory. It never shrinks.
    pub fn memory_bytes(&self) -> usize {
        self.0.borrow_mut().memory().len()
    }

    /// Takes LLVM's 8-bit counters of coverage, which begin again from 0. Empty: the module was built without.
    pub fn take_coverage(&self) -> Vec<u8> {
        let mut machine = self.0.borrow_mut();
        let range = machine.system().counters.clone().unwrap_or_default();
        let range = range.start as usize..range.end as usize;
        let counters = machine.memory().get_mut(range).unwrap_or_default();
        let taken = counters.to_vec();
        counters.fill(0);
        taken
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
    fn memory(&mut self) -> &mut [u8];
}

impl<H: Host> Controlled for Instance<H> {
    fn system(&mut self) -> &mut System {
        self.host().system()
    }

    fn memory(&mut self) -> &mut [u8] {
        let memory = self.instance.get_memory(&self.store, "memory");
        memory.map_or(&mut [], |memory| memory.data_mut(&mut self.store))
    }
}

//! Inspection of a running module, and faults on purpose.

use std::cell::RefCell;
use std::rc::Rc;

use super::host_call::{HostCall, Status};
use super::module::Instance;
use super::system::{Host, LogLine, System};

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

    /// Undoes every [`Controls::refuse`] of `call`.
    pub fn allow(&self, call: HostCall) {
        self.0.borrow_mut().system().faults.allow(call);
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

/// The calls that [`Controls::refuse`] applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Every further call.
    Always,
    /// One further call, counted from 1.
    Nth(u32),
}

/// The refusals in force.
#[derive(Default)]
pub(crate) struct Faults(Vec<Fault>);

struct Fault {
    call: HostCall,
    when: When,
    status: Status,
}

impl Faults {
    pub(crate) fn refuse(&mut self, call: HostCall, when: When, status: Status) {
        self.0.push(Fault { call, when, status });
    }

    pub(crate) fn allow(&mut self, call: HostCall) {
        self.0.retain(|fault| fault.call != call);
    }

    /// Counts `call`; returns the status if it is refused.
    pub(crate) fn next_refusal(&mut self, call: HostCall) -> Option<Status> {
        let mut refused = None;
        self.0.retain_mut(|fault| match (fault.call == call, fault.when) {
            (false, _) => true,
            (true, When::Always) => {
                refused = refused.or(Some(fault.status));
                true
            }
            (true, When::Nth(left @ 2..)) => {
                fault.when = When::Nth(left.saturating_sub(1));
                true
            }
            (true, When::Nth(_)) => {
                refused = refused.or(Some(fault.status));
                false
            }
        });
        refused
    }
}

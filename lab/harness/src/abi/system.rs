//! The state that every host keeps for its module: its limits, its log and its faults.

use std::ops::Range;

use wasmi::{StoreLimits, StoreLimitsBuilder};

use super::errors::Trap;
use super::host_call::{HostCall, Status};
use super::log::Log;

/// The state behind the host calls of one gateway.
pub(crate) trait Host: 'static {
    fn system(&mut self) -> &mut System;
}

pub(crate) struct System {
    pub(crate) log: Log,
    pub(crate) faults: Faults,
    pub(super) limits: StoreLimits,
    /// The place where the module counts how often each of its parts ran, if it was built to.
    pub(super) counters: Option<Range<u32>>,
    /// The first trap.
    pub(crate) trap: Option<Trap>,
    /// The test has read the trap.
    pub(crate) trap_seen: bool,
}

impl Default for System {
    fn default() -> Self {
        let (log, faults, limits) = (Log::default(), Faults::default(), limits(MEMORY));
        Self { log, faults, limits, counters: None, trap: None, trap_seen: false }
    }
}

impl System {
    /// Limits linear memory to `bytes` from now on.
    pub(crate) fn limit_memory(&mut self, bytes: usize) {
        self.limits = limits(bytes);
    }
}

fn limits(memory: usize) -> StoreLimits {
    StoreLimitsBuilder::new().memory_size(memory).table_elements(MAX_TABLE).build()
}

/// Bytes of linear memory, as in cpp-host's `limits.h`. APISIX has no limit.
const MEMORY: usize = 1 << 30;

/// Function table entries; a filter needs a few hundred.
const MAX_TABLE: usize = 100_000;

/// The calls that [`Controls::refuse`](crate::Controls::refuse) applies to.
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

    /// Whether a refusal waited for a call that has not come.
    pub(crate) fn allow(&mut self, call: HostCall) -> bool {
        let waited = self.0.iter().any(|fault| fault.call == call && fault.when != When::Always);
        self.0.retain(|fault| fault.call != call);
        waited
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

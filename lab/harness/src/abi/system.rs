//! The state that every host keeps for its module.

use std::ops::Range;

use wasmi::{StoreLimits, StoreLimitsBuilder};

use super::faults::Faults;
use super::log::Log;
use super::trap::Trap;

/// The state of a host that the shared host calls need.
pub(crate) trait Host: 'static {
    fn system(&mut self) -> &mut System;
}

pub(crate) struct System {
    pub(crate) log: Log,
    pub(crate) faults: Faults,
    pub(super) limits: StoreLimits,
    /// The instructions that each callback can use.
    pub(super) budget: u64,
    /// The place where the module counts how often each of its parts ran, if it was built to.
    pub(super) counters: Option<Range<u32>>,
    /// The first trap, or the first that the test has not read.
    pub(crate) trap: Option<Trap>,
}

impl System {
    pub(crate) fn new(memory_limit: usize, budget: u64) -> Self {
        Self {
            log: Log::default(),
            faults: Faults::default(),
            limits: limits(memory_limit),
            budget,
            counters: None,
            trap: None,
        }
    }

    /// Limits linear memory to `bytes` from now on.
    pub(crate) fn limit_memory(&mut self, bytes: usize) {
        self.limits = limits(bytes);
    }
}

fn limits(memory: usize) -> StoreLimits {
    StoreLimitsBuilder::new().memory_size(memory).table_elements(MAX_TABLE).build()
}

/// Function table entries; a filter needs a few hundred.
const MAX_TABLE: usize = 100_000;

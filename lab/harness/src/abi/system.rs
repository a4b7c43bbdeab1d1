//! The state that every host keeps for its module: its limits, its log and its faults.

use std::ops::Range;

use wasmi::{StoreLimits, StoreLimitsBuilder};

use super::errors::Trap;
use super::faults::Faults;
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
        let limits = limits(MEMORY);
        Self {
            log: Log::default(),
            faults: Faults::default(),
            limits,
            counters: None,
            trap: None,
            trap_seen: false,
        }
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

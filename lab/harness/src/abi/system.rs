//! The state that every host keeps for its module: its limits, and its log of `proxy_log`, standard output and error.

use std::ops::Range;

use wasmi::{StoreLimits, StoreLimitsBuilder};

use super::controls::Faults;
use super::errors::Trap;

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

/// proxy-wasm's log levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// 0
    Trace,
    /// 1
    Debug,
    /// 2; the level of standard output.
    Info,
    /// 3
    Warn,
    /// 4; the level of standard error.
    Error,
    /// 5
    Critical,
}

impl Level {
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error, Self::Critical]
            .get(number as usize)
            .copied()
    }
}

/// One line of the log. Bytes that are not UTF-8 are replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// As given by the module.
    pub level: Level,
    /// Without the prefix that Envoy adds.
    pub text: String,
}

/// The lines so far, the first [`MAX_LINES`] of them.
#[derive(Default)]
pub(crate) struct Log(Vec<LogLine>);

impl Log {
    pub(crate) fn push(&mut self, level: Level, text: &[u8]) {
        if self.0.len() < MAX_LINES {
            let text = text.get(..MAX_LINE_BYTES).unwrap_or(text);
            self.0.push(LogLine { level, text: String::from_utf8_lossy(text).into_owned() });
        }
    }

    pub(crate) fn lines(&self) -> &[LogLine] {
        &self.0
    }
}

/// Bytes of linear memory, as in cpp-host's `limits.h`. APISIX has no limit.
const MEMORY: usize = 1 << 30;

/// Function table entries; a filter needs a few hundred.
const MAX_TABLE: usize = 100_000;

/// Lines kept, in case a module logs in an endless loop. With [`MAX_LINE_BYTES`], at most 640 MiB.
const MAX_LINES: usize = 10_000;

/// Longer lines are truncated.
const MAX_LINE_BYTES: usize = 64 * 1024;

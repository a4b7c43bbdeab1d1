//! Causes for which a module does not load, does not start, or stops.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::log::LogLine;

/// Why a host rejects a module.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file does not exist or is not readable.
    #[error("read the filter {}", path.display())]
    Read {
        /// As given.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The bytes are not a valid WebAssembly module.
    #[error("compile the filter: {0}")]
    Compile(wasmi::Error),
    /// Envoy: a version of the ABI and an allocator. wasm-nginx-module: a memory.
    #[error("load a filter without the export {0}")]
    Export(&'static str),
    /// The module imports functions that this host lacks.
    #[error("load a filter with imports that this host does not have: {0}")]
    Imports(String),
    /// An import's type differs from the host function's.
    #[error("link the filter: {0}")]
    Link(String),
}

/// Why an instance did not start.
#[derive(Debug, thiserror::Error)]
#[error("{stage} the plugin{}; it logged {:?}", trap.as_ref().map_or(String::new(), |trap| format!(": {trap}")),
    log.iter().map(|line| line.text.as_str()).collect::<Vec<_>>())]
pub struct StartError {
    /// The failed step, worded to follow "failed to".
    pub stage: &'static str,
    /// `None` if the module itself returned false.
    pub trap: Option<Trap>,
    /// The log so far.
    pub log: Vec<LogLine>,
}

/// The module trapped: a panic, an access out of bounds, an endless loop, or a call that this host never accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trap {
    /// The exported function that trapped.
    pub callback: String,
    /// The runtime's reason. A panic's own message is in the log.
    pub reason: String,
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} trapped: {}", self.callback, self.reason)
    }
}

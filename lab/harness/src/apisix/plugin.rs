//! A compiled module as a plugin of APISIX, started once per worker.

use std::path::Path;
use std::sync::Arc;

use super::calls::TABLES;
use super::host::Host;
use super::machine::Machine;
use super::worker::Worker;
use crate::abi::errors::{LoadError, StartError};
use crate::abi::module::{self, Features, Program};

/// A module that can be started any number of times. Cheap to clone; each [`Worker`] is independent of every other.
#[derive(Clone)]
pub struct Plugin {
    program: Arc<Program<Host>>,
}

impl Plugin {
    /// Reads and compiles the module at `path`; the same bytes are compiled once per process.
    ///
    /// # Errors
    /// If the real host would reject the module.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        Self::compile(&module::read(path.as_ref())?)
    }

    /// The same for a module in memory. V, `ngx_wasm_wasmtime_load`, rejects an unknown import or one of another type,
    /// a missing memory export, and WebAssembly features that wasmtime 0.38 lacks. The route then has no such plugin.
    ///
    /// # Errors
    /// As [`Plugin::load`].
    pub fn compile(wasm: &[u8]) -> Result<Self, LoadError> {
        let program = Program::new(wasm, Features::Wasmtime038, TABLES)?;
        if program.exports("memory") { Ok(Self { program }) } else { Err(LoadError::Export("memory")) }
    }

    /// Starts a worker. The filter is not configured before the first request of a route.
    ///
    /// # Errors
    /// If instantiation, `_start` or `_initialize` traps.
    pub fn start(&self) -> Result<Worker, StartError> {
        Machine::boot(&self.program).map(Worker::new)
    }
}

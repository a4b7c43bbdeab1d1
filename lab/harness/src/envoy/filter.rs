//! A compiled module whose imports Envoy provides.

use std::path::Path;
use std::sync::Arc;

use super::calls::{ALLOCATORS, TABLES};
use super::host::Host;
use super::machine::Machine;
use super::vm::Vm;
use crate::abi::errors::{LoadError, StartError};
use crate::abi::module::{self, Features, Program};

/// A module that can be started any number of times. Cheap to clone; each [`Vm`] is independent of every other.
#[derive(Clone)]
pub struct Filter {
    program: Arc<Program<Host>>,
}

impl Filter {
    /// Reads and compiles the module at `path`; the same bytes are compiled once per process.
    ///
    /// # Errors
    /// If Envoy 1.40 would reject the module, or it imports functions that this host lacks.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        Self::compile(&module::read(path.as_ref())?)
    }

    /// The same for a module in memory.
    ///
    /// # Errors
    /// As [`Filter::load`].
    pub fn compile(wasm: &[u8]) -> Result<Self, LoadError> {
        let program = Program::new(wasm, Features::Current, TABLES)?;
        if !program.exports(ABI) {
            return Err(LoadError::Export(ABI));
        }
        if !ALLOCATORS.iter().any(|name| program.exports(name)) {
            return Err(LoadError::Export("malloc"));
        }
        Ok(Self { program })
    }

    /// Starts an instance with the plugin's configuration.
    ///
    /// # Errors
    /// If a start callback traps or returns false; Envoy's plugin then fails closed.
    pub fn start(&self, configuration: impl AsRef<[u8]>) -> Result<Vm, StartError> {
        Machine::boot(&self.program, configuration.as_ref()).map(Vm::new)
    }
}

/// The export that names the module's version of the ABI.
const ABI: &str = "proxy_abi_version_0_2_1";

//! A compiled module whose imports Envoy provides.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use super::calls::TABLES;
use super::host::Host;
use super::machine::Machine;
use super::memory::ALLOCATORS;
use super::settings::Settings;
use super::vm::Vm;
use crate::abi::load_error::{ABI, LoadError};
use crate::abi::module::{self, Features, Program};
use crate::abi::start_error::StartError;

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
            return Err(LoadError::Abi);
        }
        if !ALLOCATORS.iter().any(|name| program.exports(name)) {
            return Err(LoadError::Allocator);
        }
        Ok(Self { program })
    }

    /// Starts an instance. A string is the plugin's configuration; [`Settings`] has the rest.
    ///
    /// # Errors
    /// If a start callback traps or returns false; Envoy's plugin then fails closed.
    pub fn start(&self, settings: impl Into<Settings>) -> Result<Vm, StartError> {
        Machine::start(&self.program, settings.into()).map(|machine| Vm::new(Rc::new(RefCell::new(machine))))
    }
}

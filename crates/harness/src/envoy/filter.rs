//! A compiled module whose imports Envoy provides.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use wasmtime::{InstancePre, Linker};

use super::calls::TABLES;
use super::host::Host;
use super::machine::Machine;
use super::memory::ALLOCATORS;
use super::settings::Settings;
use super::vm::Vm;
use crate::abi::import;
use crate::abi::load_error::{ABI, LoadError};
use crate::abi::module::{self, Features};
use crate::abi::start_error::StartError;

/// A module that can be started any number of times. Cheap to clone; each [`Vm`] is independent of every other.
#[derive(Clone)]
pub struct Filter {
    pre: InstancePre<Host>,
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
        let module = module::compile(wasm, Features::Current)?;
        if module.get_export(ABI).is_none() {
            return Err(LoadError::Abi);
        }
        if !ALLOCATORS.iter().any(|name| module.get_export(name).is_some()) {
            return Err(LoadError::Allocator);
        }
        let mut linker = Linker::new(module.engine());
        import::link(&mut linker, module.engine(), TABLES).map_err(LoadError::Link)?;
        let unknown = import::unknown(&module, TABLES);
        if !unknown.is_empty() {
            return Err(LoadError::Imports(unknown.join(", ")));
        }
        Ok(Self { pre: linker.instantiate_pre(&module).map_err(LoadError::Link)? })
    }

    /// Starts an instance. A string is the plugin's configuration; [`Settings`] has the rest.
    ///
    /// # Errors
    /// If a start callback traps or returns false; Envoy's plugin then fails closed.
    pub fn start(&self, settings: impl Into<Settings>) -> Result<Vm, StartError> {
        Machine::start(&self.pre, settings.into()).map(|machine| Vm::new(Rc::new(RefCell::new(machine))))
    }
}

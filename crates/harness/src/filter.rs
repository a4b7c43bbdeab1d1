//! A compiled filter: checked against what Envoy has, started once per test.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use wasmtime::{InstancePre, Linker};

use crate::guest::ALLOCATORS;
use crate::host::Host;
use crate::machine::Machine;
use crate::module::{self, Features, LoadError};
use crate::{LogLine, Settings, Trap, Vm, calls};

/// A module that can be started any number of times. Cheap to clone; each [`Vm`] is independent of every other.
#[derive(Clone)]
pub struct Filter {
    pre: InstancePre<Host>,
}

impl Filter {
    /// Reads and compiles the module at `path`; the same bytes are compiled once per process.
    ///
    /// # Errors
    /// Where Envoy 1.40 would refuse the module, and where it imports what this host does not have.
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
        calls::link(&mut linker, module.engine(), calls::TABLES).map_err(LoadError::Link)?;
        let unknown = calls::unknown(&module, calls::TABLES);
        if !unknown.is_empty() {
            return Err(LoadError::Imports(unknown.join(", ")));
        }
        Ok(Self { pre: linker.instantiate_pre(&module).map_err(LoadError::Link)? })
    }

    /// Starts an instance. A string is the plugin's configuration; [`Settings`] has the rest.
    ///
    /// # Errors
    /// When a start callback traps or answers no; Envoy's plugin then fails closed.
    pub fn start(&self, settings: impl Into<Settings>) -> Result<Vm, StartError> {
        Machine::start(&self.pre, settings.into()).map(|machine| Vm::new(Rc::new(RefCell::new(machine))))
    }
}

/// Why an instance did not start.
#[derive(Debug, thiserror::Error)]
#[error("{stage} the plugin{}; it logged {:?}", trap.as_ref().map_or(String::new(), |trap| format!(": {trap}")), texts(log))]
pub struct StartError {
    /// What was being done, so that it reads after "failed to".
    pub stage: &'static str,
    /// `None` where the filter itself answered no.
    pub trap: Option<Trap>,
    /// Everything logged until then.
    pub log: Vec<LogLine>,
}

fn texts(log: &[LogLine]) -> Vec<&str> {
    log.iter().map(|line| line.text.as_str()).collect()
}

pub(crate) const ABI: &str = "proxy_abi_version_0_2_1";

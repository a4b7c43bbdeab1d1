//! A compiled filter: loaded once per process, checked against what this host has, started once per test.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Mutex, OnceLock, PoisonError};

use wasmtime::{Config, Engine, ImportType, InstancePre, Linker, Module};

use crate::guest::ALLOCATORS;
use crate::host::Host;
use crate::machine::Machine;
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
        Self::compile(&read(path.as_ref())?)
    }

    /// The same for a module in memory.
    ///
    /// # Errors
    /// As [`Filter::load`].
    pub fn compile(wasm: &[u8]) -> Result<Self, LoadError> {
        let module = module(wasm)?;
        if module.get_export(ABI).is_none() {
            return Err(LoadError::Abi);
        }
        if !ALLOCATORS.iter().any(|name| module.get_export(name).is_some()) {
            return Err(LoadError::Allocator);
        }
        let mut linker = Linker::new(module.engine());
        calls::link(&mut linker, module.engine()).map_err(LoadError::Link)?;
        let here = |import: &ImportType<'_>| calls::has(import.module(), import.name());
        let unknown: Vec<_> =
            module.imports().filter(|import| !here(import)).map(|import| name(&import)).collect();
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

/// Everything that the module at `path` imports, as sorted `module.name`, whether or not this host has it.
///
/// # Errors
/// When the file cannot be read or is no valid module.
pub fn imports(path: impl AsRef<Path>) -> Result<Vec<String>, LoadError> {
    let module = module(&read(path.as_ref())?)?;
    let mut names: Vec<_> = module.imports().map(|import| name(&import)).collect();
    names.sort_unstable();
    Ok(names)
}

/// Why a module is no filter for this host.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file is not there or not readable.
    #[error("read the filter {}", path.display())]
    Read {
        /// As given.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The bytes are no valid WebAssembly module.
    #[error("compile the filter: {0:#}")]
    Compile(wasmtime::Error),
    /// Envoy, `Missing or unknown Proxy-Wasm ABI version`.
    #[error("load a filter without the export {ABI}")]
    Abi,
    /// Envoy, `Wasm module is missing malloc function`.
    #[error("load a filter that exports neither malloc nor proxy_on_memory_allocate")]
    Allocator,
    /// The module needs functions that this host does not have.
    #[error("load a filter that imports what this host does not have: {0}")]
    Imports(String),
    /// An import has another type than the host's function.
    #[error("link the filter: {0:#}")]
    Link(wasmtime::Error),
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

/// Compiles under a lock, so that parallel tests wait for one compilation instead of each doing it.
fn module(wasm: &[u8]) -> Result<Module, LoadError> {
    static MODULES: OnceLock<Mutex<HashMap<Vec<u8>, Module>>> = OnceLock::new();
    let mut modules = MODULES.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(module) = modules.get(wasm) {
        return Ok(module.clone());
    }
    let module = Module::new(&engine()?, wasm).map_err(LoadError::Compile)?;
    modules.insert(wasm.to_vec(), module.clone());
    Ok(module)
}

/// Counts instructions, so that an endless loop is a trap; does not optimise, as compiling is most of what a test waits for.
fn engine() -> Result<Engine, LoadError> {
    let mut config = Config::new();
    config.consume_fuel(true).cranelift_opt_level(wasmtime::OptLevel::None);
    Engine::new(&config).map_err(LoadError::Compile)
}

fn name(import: &ImportType<'_>) -> String {
    format!("{}.{}", import.module(), import.name())
}

fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    std::fs::read(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })
}

const ABI: &str = "proxy_abi_version_0_2_1";

//! Reads a module, checks it against a host's WebAssembly features, and compiles it once per process.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use wasmi::{CompilationMode, Config, Engine, Linker, Module};

use super::errors::LoadError;
use super::import::{self, Tables};
use super::system::Host;

/// The WebAssembly features of a host, without SIMD, which no module here uses.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Features {
    /// The defaults of the interpreter, as far as Envoy's V8 has them.
    Current,
    /// The defaults of wasmtime 0.38: reference types, multi-value, bulk memory, sign extension, saturating
    /// conversions. wasmtime v0.38.1, `crates/wasmtime/src/config.rs`, `Config::new`; wasmparser 0.85, `WasmFeatures`.
    Wasmtime038,
}

/// The imports of the module at `path`, as sorted `module.name`, whether or not a host has them.
///
/// # Errors
/// If the file cannot be read or is not a valid module.
pub fn imports(path: impl AsRef<Path>) -> Result<Vec<String>, LoadError> {
    let module = compile(&read(path.as_ref())?, Features::Current)?;
    let mut names: Vec<_> = module.imports().map(|import| import::name(&import)).collect();
    names.sort_unstable();
    Ok(names)
}

/// A module with the functions of the host `H` that it imports.
pub(crate) struct Program<H: 'static> {
    pub(super) module: Module,
    pub(super) linker: Linker<H>,
}

impl<H: Host> Program<H> {
    pub(crate) fn new(wasm: &[u8], features: Features, tables: Tables<H>) -> Result<Arc<Self>, LoadError> {
        let module = compile(wasm, features)?;
        let linker = import::link(&module, tables)?;
        Ok(Arc::new(Self { module, linker }))
    }

    pub(crate) fn exports(&self, name: &str) -> bool {
        self.module.get_export(name).is_some()
    }
}

type Modules = HashMap<(Vec<u8>, Features), Module>;

/// Compiles under a lock, so that parallel tests wait for one compilation instead of each doing it.
fn compile(wasm: &[u8], features: Features) -> Result<Module, LoadError> {
    static MODULES: OnceLock<Mutex<Modules>> = OnceLock::new();
    let mut modules = MODULES.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    let key = (wasm.to_vec(), features);
    if let Some(module) = modules.get(&key) {
        return Ok(module.clone());
    }
    let module = Module::new(&engine(features), wasm).map_err(LoadError::Compile)?;
    modules.insert(key, module.clone());
    Ok(module)
}

/// Counts instructions, so that endless loops trap.
fn engine(features: Features) -> Engine {
    let mut config = Config::default();
    config.consume_fuel(true).compilation_mode(CompilationMode::Eager);
    if features == Features::Wasmtime038 {
        config.wasm_tail_call(false).wasm_extended_const(false).wasm_multi_memory(false).wasm_memory64(false);
    }
    Engine::new(&config)
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    std::fs::read(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })
}

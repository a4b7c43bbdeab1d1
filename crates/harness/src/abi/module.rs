//! Reads a module, checks it against a host's WebAssembly features, and compiles it once per process.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use wasmtime::{Config, Engine, ImportType, Module, WasmFeatures};

use super::load_error::LoadError;

/// The WebAssembly features of a host.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Features {
    /// The defaults of this wasmtime, which cover Envoy's V8.
    Current,
    /// The defaults of wasmtime 0.38: reference types, multi-value, bulk memory, SIMD, sign extension, saturating
    /// conversions. wasmtime v0.38.1, `crates/wasmtime/src/config.rs`, `Config::new`; wasmparser 0.85, `WasmFeatures`.
    Wasmtime038,
}

/// The imports of the module at `path`, as sorted `module.name`, whether or not a host has them.
///
/// # Errors
/// If the file cannot be read or is not a valid module.
pub fn imports(path: impl AsRef<Path>) -> Result<Vec<String>, LoadError> {
    let module = compile(&read(path.as_ref())?, Features::Current)?;
    let mut names: Vec<_> = module.imports().map(|import| name(&import)).collect();
    names.sort_unstable();
    Ok(names)
}

type Modules = HashMap<(Vec<u8>, Features), Module>;

/// Compiles under a lock, so that parallel tests wait for one compilation instead of each doing it.
pub(crate) fn compile(wasm: &[u8], features: Features) -> Result<Module, LoadError> {
    static MODULES: OnceLock<Mutex<Modules>> = OnceLock::new();
    let mut modules = MODULES.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    let key = (wasm.to_vec(), features);
    if let Some(module) = modules.get(&key) {
        return Ok(module.clone());
    }
    let module = Module::new(&engine(features)?, wasm).map_err(LoadError::Compile)?;
    modules.insert(key, module.clone());
    Ok(module)
}

/// Counts instructions, so that endless loops trap. Compiles without optimisation: compiling takes most of a test's
/// time.
fn engine(features: Features) -> Result<Engine, LoadError> {
    let mut config = Config::new();
    config.consume_fuel(true).cranelift_opt_level(wasmtime::OptLevel::None);
    if features == Features::Wasmtime038 {
        config.wasm_features(NEWER, false);
    }
    Engine::new(&config).map_err(LoadError::Compile)
}

/// The features that wasmtime enabled by default after 0.38.
const NEWER: WasmFeatures = WasmFeatures::TAIL_CALL
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::MULTI_MEMORY)
    .union(WasmFeatures::MEMORY64)
    .union(WasmFeatures::RELAXED_SIMD)
    .union(WasmFeatures::FUNCTION_REFERENCES)
    .union(WasmFeatures::GC)
    .union(WasmFeatures::EXCEPTIONS)
    .union(WasmFeatures::THREADS);

pub(crate) fn name(import: &ImportType<'_>) -> String {
    format!("{}.{}", import.module(), import.name())
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    std::fs::read(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })
}

//! Reads a module, checks it against a host's WebAssembly features, compiles it once per process, and runs it: a host
//! calls its exports.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use wasmi::{CompilationMode, Config, Engine, Linker, Module, Store, TrapCode, Val};

use super::errors::{LoadError, Trap};
use super::guest::{Args, Guest, Refused};
use super::import::{self, Import, Tables};
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
    module: Module,
    linker: Linker<H>,
}

impl<H: Host> Program<H> {
    pub(crate) fn new(wasm: &[u8], features: Features, tables: Tables<H>) -> Result<Arc<Self>, LoadError> {
        let module = compile(wasm, features)?;
        let linker = import::link(&module, tables)?;
        Ok(Arc::new(Self { module, linker }))
    }

    /// Checks that the module has one of these exports.
    pub(crate) fn must_export(&self, names: &[&str]) -> Result<(), LoadError> {
        let found = names.iter().any(|name| self.module.get_export(name).is_some());
        let missing = format!("load a filter without the export {}", names.join(" or "));
        if found { Ok(()) } else { Err(LoadError(missing)) }
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
    let module = Module::new(&engine(features), wasm)
        .map_err(|error| LoadError(format!("compile the filter: {error}")))?;
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
    std::fs::read(path).map_err(|error| LoadError(format!("read the filter {}: {error}", path.display())))
}

/// A running module.
pub(crate) struct Instance<H: Host> {
    pub(super) store: Store<H>,
    pub(super) instance: wasmi::Instance,
}

/// Why an export did not return.
pub(crate) enum Failure {
    /// It ran for more than [`INSTRUCTIONS`].
    OutOfFuel,
    /// The runtime's reason.
    Trapped(String),
}

impl<H: Host> Instance<H> {
    pub(crate) fn start(program: &Program<H>, host: H) -> Result<Self, Trap> {
        let mut store = Store::new(program.module.engine(), host);
        store.limiter(|host| &mut host.system().limits);
        let instance = store
            .set_fuel(INSTRUCTIONS)
            .and_then(|()| program.linker.instantiate_and_start(&mut store, &program.module))
            .map_err(|error| Trap { callback: "instantiation".to_owned(), reason: error.to_string() })?;
        Ok(Self { store, instance })
    }

    pub(crate) fn host(&mut self) -> &mut H {
        self.store.data_mut()
    }

    pub(crate) fn has(&self, export: &str) -> bool {
        self.instance.get_func(&self.store, export).is_some()
    }

    /// Result of an export that is called with a full budget. `None`: there is no such export.
    pub(crate) fn call(&mut self, export: &str, args: &[u32]) -> Option<Result<Option<u32>, Failure>> {
        let function = self.instance.get_func(&self.store, export)?;
        let params: Vec<_> = args.iter().map(|arg| Val::I32(arg.cast_signed())).collect();
        let mut results = vec![Val::I32(0); function.ty(&self.store).results().len()];
        let fueled = self.store.set_fuel(INSTRUCTIONS);
        let called = fueled.and_then(|()| function.call(&mut self.store, &params, &mut results));
        Some(match called {
            Ok(()) => Ok(results.first().and_then(Val::i32).map(i32::cast_unsigned)),
            Err(error) if error.as_trap_code() == Some(TrapCode::OutOfFuel) => Err(Failure::OutOfFuel),
            Err(error) => Err(Failure::Trapped(error.to_string())),
        })
    }
}

impl<H: Host> Drop for Instance<H> {
    /// A failure that the test has not read fails the test.
    fn drop(&mut self) {
        let system = self.host().system();
        let unseen = system.trap.as_ref().filter(|_| !system.trap_seen && !std::thread::panicking());
        let log = system.log.lines();
        assert!(
            unseen.is_none(),
            "the module or its worker failed: {}\n{log:#?}",
            unseen.map_or(String::new(), Trap::to_string)
        );
    }
}

/// The callback that tells where LLVM's 8-bit counters of coverage are, which only a module for fuzzing has.
pub(crate) const fn coverage_imports<H: Host>() -> [Import<H>; 1] {
    [Import::fixed("__sanitizer_cov_8bit_counters_init", "ii", init_counters).without_result()]
}

/// Each crate of the module calls it; the linker has joined their counters.
fn init_counters<H: Host>(guest: &mut Guest<'_, H>, args: &Args<'_>) -> Result<(), Refused> {
    let (start, end) = (args.u32(0), args.u32(1));
    let counters = &mut guest.host().system().counters;
    let whole = counters.clone().unwrap_or(start..end);
    *counters = Some(whole.start.min(start)..whole.end.max(end));
    Ok(())
}

/// WebAssembly instructions of one callback. The real hosts have no such limit: an endless loop blocks their worker.
pub(crate) const INSTRUCTIONS: u64 = 1_000_000_000;

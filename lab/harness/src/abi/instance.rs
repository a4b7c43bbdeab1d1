//! A running module, whose exports a host calls.

use wasmi::{Store, TrapCode, Val};

use super::errors::Trap;
use super::guest::{Args, Guest, Refused};
use super::import::Import;
use super::module::Program;
use super::system::Host;

pub(crate) struct Instance<H: Host> {
    store: Store<H>,
    instance: wasmi::Instance,
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

    /// Calls an export with a full budget, and returns its result, if it has one. `None`: there is no such export.
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

    /// Bytes of linear memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.instance.get_memory(&self.store, "memory").map_or(0, |memory| memory.data_size(&self.store))
    }

    /// Takes the counters of [`coverage_imports`], which begin again from 0.
    pub(crate) fn take_coverage(&mut self) -> Vec<u8> {
        let Some(range) = self.host().system().counters.clone() else { return Vec::new() };
        let Some(memory) = self.instance.get_memory(&self.store, "memory") else { return Vec::new() };
        let range = range.start as usize..range.end as usize;
        let Some(counters) = memory.data_mut(&mut self.store).get_mut(range) else { return Vec::new() };
        let taken = counters.to_vec();
        counters.fill(0);
        taken
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

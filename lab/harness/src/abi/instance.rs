//! A running module, whose exports a host calls.

use wasmi::{Store, TrapCode, Val};

use super::module::Program;
use super::system::Host;
use super::trap::Trap;

pub(crate) struct Instance<H: 'static> {
    store: Store<H>,
    instance: wasmi::Instance,
}

/// Why an export did not return.
pub(crate) enum Failure {
    /// It used up its budget.
    OutOfFuel { budget: u64 },
    /// The runtime's reason.
    Trapped(String),
}

impl<H: Host> Instance<H> {
    pub(crate) fn start(program: &Program<H>, host: H) -> Result<Self, Trap> {
        let mut store = Store::new(program.module.engine(), host);
        store.limiter(|host| &mut host.system().limits);
        let instance = refuel(&mut store)
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
        let called =
            refuel(&mut self.store).and_then(|()| function.call(&mut self.store, &params, &mut results));
        Some(match called {
            Ok(()) => Ok(results.first().and_then(Val::i32).map(i32::cast_unsigned)),
            Err(error) if error.as_trap_code() == Some(TrapCode::OutOfFuel) => {
                Err(Failure::OutOfFuel { budget: self.host().system().budget })
            }
            Err(error) => Err(Failure::Trapped(error.to_string())),
        })
    }

    /// Bytes of linear memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.instance.get_memory(&self.store, "memory").map_or(0, |memory| memory.data_size(&self.store))
    }

    /// Takes the module's counters of coverage, which begin again from 0.
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

/// Gives the next call its full budget.
fn refuel<H: Host>(store: &mut Store<H>) -> Result<(), wasmi::Error> {
    let budget = store.data_mut().system().budget;
    store.set_fuel(budget)
}

//! One instance of the filter in a worker: calls its exports and records traps.

use wasmtime::{Instance, InstancePre, Store, Val};

use super::host::Host;
use super::settings::Settings;
use crate::abi::coverage;
use crate::abi::start_error::StartError;
use crate::abi::trap::Trap;

pub(crate) struct Machine {
    store: Store<Host>,
    instance: Instance,
}

impl Machine {
    /// M, `ngx_http_wasm_load_plugin`: `_start`, or else `_initialize`. There is no `proxy_on_vm_start`.
    pub(crate) fn start(pre: &InstancePre<Host>, settings: Settings) -> Result<Self, StartError> {
        let mut store = Store::new(pre.module().engine(), Host::new(settings));
        store.limiter(|host| &mut host.memory);
        let error = |trap, log| StartError { stage: "initialize", trap: Some(trap), log };
        let budget = store.data().settings.instructions_per_callback;
        let instantiated = store.set_fuel(budget).and_then(|()| pre.instantiate(&mut store));
        let instance = instantiated.map_err(|reason| {
            error(Trap { callback: "instantiation".to_owned(), reason: format!("{reason:#}") }, Vec::new())
        })?;
        let mut machine = Self { store, instance };
        let start = if machine.has("_start") { "_start" } else { "_initialize" };
        machine.run(start, &[]);
        match machine.host().trap.take() {
            None => Ok(machine),
            Some(trap) => Err(error(trap, machine.host().log.lines().to_vec())),
        }
    }

    pub(crate) fn host(&mut self) -> &mut Host {
        self.store.data_mut()
    }

    /// V, `ngx_wasm_wasmtime_call` of a function without a result: 0, or −1 for a trap. A missing export returns 0.
    pub(crate) fn run(&mut self, export: &'static str, args: &[u32]) -> i32 {
        self.call(export, args, false)
    }

    /// The same for a function with a result.
    pub(crate) fn run_with_result(&mut self, export: &'static str, args: &[u32]) -> i32 {
        self.call(export, args, true)
    }

    /// A trap does not end the instance: the next callback runs on the state that the trap left.
    fn call(&mut self, export: &'static str, args: &[u32], has_result: bool) -> i32 {
        if self.host().dead.is_some() {
            return -1;
        }
        let Some(function) = self.instance.get_func(&mut self.store, export) else { return 0 };
        let params: Vec<Val> = args.iter().map(|arg| Val::I32(arg.cast_signed())).collect();
        let mut results = vec![Val::I32(0); usize::from(has_result)];
        let budget = self.host().settings.instructions_per_callback;
        let called =
            self.store.set_fuel(budget).and_then(|()| function.call(&mut self.store, &params, &mut results));
        if let Err(error) = called {
            if matches!(error.downcast_ref(), Some(wasmtime::Trap::OutOfFuel)) {
                self.host().dead = Some("an endless loop stops the worker for good");
            }
            let reason = self.host().dead.map_or_else(|| format!("{error:#}"), str::to_owned);
            self.note(export, reason);
            return -1;
        }
        results.first().and_then(Val::i32).unwrap_or_default()
    }

    /// The worker crashed or hangs; no further callback runs.
    pub(crate) fn die(&mut self, callback: &str, why: &'static str) {
        self.host().dead = Some(why);
        self.note(callback, why.to_owned());
    }

    fn note(&mut self, callback: &str, reason: String) {
        self.host().trap.get_or_insert(Trap { callback: callback.to_owned(), reason });
    }

    pub(crate) fn memory_bytes(&mut self) -> usize {
        self.instance.get_memory(&mut self.store, "memory").map_or(0, |memory| memory.data_size(&self.store))
    }

    /// Takes the module's counters of coverage, and begins again from 0.
    pub(crate) fn take_coverage(&mut self) -> Vec<u8> {
        coverage::take(&self.instance, &mut self.store)
    }

    fn has(&mut self, export: &str) -> bool {
        self.instance.get_func(&mut self.store, export).is_some()
    }
}

impl Drop for Machine {
    /// A failure that the test has not read fails the test.
    fn drop(&mut self) {
        let host = self.host();
        let unseen = host.trap.as_ref().filter(|_| !std::thread::panicking());
        assert!(
            unseen.is_none(),
            "the module or its worker failed: {}\n{:#?}",
            unseen.map_or(String::new(), Trap::to_string),
            host.log.lines()
        );
    }
}

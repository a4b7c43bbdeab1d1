//! One running instance of the filter: callbacks go in, answers or a trap come out.

use wasmtime::{Instance, InstancePre, Store, Val};

use super::host::{Host, ROOT};
use super::settings::Settings;
use crate::abi::coverage;
use crate::abi::start_error::StartError;
use crate::abi::trap::Trap;

pub(crate) struct Machine {
    store: Store<Host>,
    instance: Instance,
}

/// A callback's result.
#[derive(Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) value: u32,
    /// The callback sent a local response; `value` is ignored.
    pub(crate) stopped: bool,
}

impl Machine {
    /// cpp-host, `WasmBase::startVm`, `ContextBase::onStart` and `onConfigure`, in Envoy's order.
    pub(crate) fn start(pre: &InstancePre<Host>, settings: Settings) -> Result<Self, StartError> {
        let mut store = Store::new(pre.module().engine(), Host::new(settings));
        store.limiter(|host| &mut host.memory);
        let instantiated = refuel(&mut store).and_then(|()| pre.instantiate(&mut store));
        let instance = match instantiated {
            Ok(instance) => instance,
            Err(error) => {
                let trap = Trap { callback: "instantiation".to_owned(), reason: format!("{error:#}") };
                return Err(StartError { stage: "instantiate", trap: Some(trap), log: Vec::new() });
            }
        };
        let mut machine = Self { store, instance };
        machine.boot().map_err(|stage| StartError {
            stage,
            trap: machine.take_trap(),
            log: machine.host().log.lines().to_vec(),
        })?;
        Ok(machine)
    }

    fn boot(&mut self) -> Result<(), &'static str> {
        if self.has("_initialize") {
            self.invoke(ROOT, "_initialize", &[], 0).ok_or("initialize")?;
            let main = if self.has("main") { ("main", &[0, 0][..]) } else { ("__main_void", &[][..]) };
            self.invoke(ROOT, main.0, main.1, 0).ok_or("initialize")?;
        } else {
            self.invoke(ROOT, "_start", &[], 0).ok_or("initialize")?;
        }
        let size = |bytes: &Vec<u8>| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let vm_size = size(&self.host().settings.vm_configuration);
        let plugin_size = size(&self.host().settings.configuration);
        self.host().configuring = true;
        self.invoke(ROOT, "proxy_on_context_create", &[ROOT, 0], 0).ok_or("create the root context of")?;
        self.host().configuring = false;
        self.confirm("proxy_on_vm_start", vm_size).ok_or("start the VM of")?;
        self.host().configuring = true;
        self.confirm("proxy_on_configure", plugin_size).ok_or("configure")?;
        self.host().configuring = false;
        self.settle();
        Ok(())
    }

    /// Calls a root callback that returns a boolean; a missing one counts as true.
    fn confirm(&mut self, callback: &'static str, size: u32) -> Option<()> {
        self.invoke(ROOT, callback, &[ROOT, size], 1).filter(|answer| answer.value != 0).map(|_| ())
    }

    pub(crate) fn host(&mut self) -> &mut Host {
        self.store.data_mut()
    }

    /// Calls an export for `context`. A missing export returns `missing`. `None`: the module trapped, now or earlier.
    pub(crate) fn invoke(
        &mut self,
        context: u32,
        callback: &'static str,
        args: &[u32],
        missing: u32,
    ) -> Option<Answer> {
        if self.host().trap.is_some() {
            return None;
        }
        let Some(function) = self.instance.get_func(&mut self.store, callback) else {
            return Some(Answer { value: missing, stopped: false });
        };
        // cpp-host, `SaveRestoreContext`: each call starts in its own context.
        let host = self.host();
        (host.current, host.effective, host.stop_iteration) = (context, None, false);
        let params: Vec<Val> = args.iter().map(|arg| Val::I32(arg.cast_signed())).collect();
        let mut results = vec![Val::I32(0); function.ty(&self.store).results().len()];
        let called =
            refuel(&mut self.store).and_then(|()| function.call(&mut self.store, &params, &mut results));
        let host = self.host();
        if let Err(error) = called {
            let reason = explain(&error, host.settings.instructions_per_callback);
            host.trap = Some(Trap { callback: callback.to_owned(), reason });
            return None;
        }
        let value = results.first().and_then(Val::i32).map_or(missing, i32::cast_unsigned);
        Some(Answer { value, stopped: std::mem::take(&mut host.stop_iteration) })
    }

    /// Bytes of linear memory.
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

    fn take_trap(&mut self) -> Option<Trap> {
        self.host().trap.take()
    }
}

/// Gives the next call its full budget.
fn refuel(store: &mut Store<Host>) -> wasmtime::Result<()> {
    let budget = store.data().settings.instructions_per_callback;
    store.set_fuel(budget)
}

fn explain(error: &wasmtime::Error, budget: u64) -> String {
    match error.downcast_ref::<wasmtime::Trap>() {
        Some(wasmtime::Trap::OutOfFuel) => format!("it ran for more than {budget} instructions"),
        _ => format!("{error:#}"),
    }
}

impl Drop for Machine {
    /// A trap that the test has not read fails the test.
    fn drop(&mut self) {
        let host = self.host();
        let unseen = host.trap.as_ref().filter(|_| !host.trap_seen && !std::thread::panicking());
        assert!(
            unseen.is_none(),
            "the module trapped: {}\n{:#?}",
            unseen.map_or(String::new(), Trap::to_string),
            host.log.lines()
        );
    }
}

//! One running instance of the filter: callbacks go in, answers or a trap come out.

use super::host::{Host, ROOT};
use super::settings::Settings;
use crate::abi::instance::{Failure, Instance};
use crate::abi::module::Program;
use crate::abi::start_error::StartError;
use crate::abi::trap::Trap;

pub(crate) struct Machine(Instance<Host>);

/// A callback's result.
#[derive(Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) value: u32,
    /// The callback sent a local response; `value` is ignored.
    pub(crate) stopped: bool,
}

impl Machine {
    /// cpp-host, `WasmBase::startVm`, `ContextBase::onStart` and `onConfigure`, in Envoy's order.
    pub(crate) fn start(program: &Program<Host>, settings: Settings) -> Result<Self, StartError> {
        let instance = Instance::start(program, Host::new(settings)).map_err(|trap| StartError {
            stage: "instantiate",
            trap: Some(trap),
            log: Vec::new(),
        })?;
        let mut machine = Self(instance);
        machine.boot().map_err(|stage| StartError {
            stage,
            trap: machine.host().system.trap.take(),
            log: machine.host().system.log.lines().to_vec(),
        })?;
        Ok(machine)
    }

    fn boot(&mut self) -> Result<(), &'static str> {
        if self.0.has("_initialize") {
            self.invoke(ROOT, "_initialize", &[], 0).ok_or("initialize")?;
            let main = if self.0.has("main") { ("main", &[0, 0][..]) } else { ("__main_void", &[][..]) };
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
        self.0.host()
    }

    /// Calls an export for `context`. A missing export returns `missing`. `None`: the module trapped, now or earlier.
    pub(crate) fn invoke(
        &mut self,
        context: u32,
        callback: &'static str,
        args: &[u32],
        missing: u32,
    ) -> Option<Answer> {
        // cpp-host, `SaveRestoreContext`: each call starts in its own context.
        let host = self.host();
        if host.system.trap.is_some() {
            return None;
        }
        (host.current, host.effective, host.stop_iteration) = (context, None, false);
        let reason = match self.0.call(callback, args) {
            None => return Some(Answer { value: missing, stopped: false }),
            Some(Ok(value)) => {
                let stopped = std::mem::take(&mut self.host().stop_iteration);
                return Some(Answer { value: value.unwrap_or(missing), stopped });
            }
            Some(Err(Failure::OutOfFuel { budget })) => format!("it ran for more than {budget} instructions"),
            Some(Err(Failure::Trapped(reason))) => reason,
        };
        self.host().system.trap = Some(Trap { callback: callback.to_owned(), reason });
        None
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.0.memory_bytes()
    }

    pub(crate) fn take_coverage(&mut self) -> Vec<u8> {
        self.0.take_coverage()
    }
}

impl Drop for Machine {
    /// A trap that the test has not read fails the test.
    fn drop(&mut self) {
        let host = self.host();
        let unseen = host.system.trap.as_ref().filter(|_| !host.trap_seen && !std::thread::panicking());
        assert!(
            unseen.is_none(),
            "the module trapped: {}\n{:#?}",
            unseen.map_or(String::new(), Trap::to_string),
            host.system.log.lines()
        );
    }
}

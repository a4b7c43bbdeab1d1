//! One running instance of the filter: callbacks go in, answers or a trap come out.

use super::host::{Host, ROOT};
use crate::abi::errors::{StartError, Trap};
use crate::abi::module::{Failure, INSTRUCTIONS, Instance, Program};

pub(crate) type Machine = Instance<Host>;

/// A callback's result.
#[derive(Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) value: u32,
    /// The callback sent a local response; `value` is ignored.
    pub(crate) stopped: bool,
}

impl Answer {
    /// Whether the callback held its stream back without an answer.
    pub(crate) fn is_pause(self) -> bool {
        self.value != 0 && !self.stopped
    }
}

impl Instance<Host> {
    /// cpp-host, `WasmBase::startVm`, `ContextBase::onStart` and `onConfigure`, in Envoy's order.
    pub(crate) fn boot(program: &Program<Host>, configuration: &[u8]) -> Result<Self, StartError> {
        let mut machine = Self::start(program, Host::new(configuration)).map_err(|trap| StartError {
            stage: "instantiate",
            trap: Some(trap),
            log: Vec::new(),
        })?;
        machine.call_start_callbacks().map_err(|stage| {
            let system = &mut machine.host().system;
            StartError { stage, trap: system.trap.take(), log: system.log.lines().to_vec() }
        })?;
        Ok(machine)
    }

    fn call_start_callbacks(&mut self) -> Result<(), &'static str> {
        let start = if self.has("_initialize") { "_initialize" } else { "_start" };
        self.invoke(ROOT, start, &[], 0).ok_or("initialize")?;
        let size = len(self.host().configuration.len());
        self.invoke(ROOT, "proxy_on_context_create", &[ROOT, 0], 0).ok_or("create the root context of")?;
        for (callback, size, stage) in
            [("proxy_on_vm_start", 0, "start the VM of"), ("proxy_on_configure", size, "configure")]
        {
            let answer = self.invoke(ROOT, callback, &[ROOT, size], 1);
            answer.filter(|answer| answer.value != 0).ok_or(stage)?;
        }
        self.host().configuring = false;
        self.settle();
        Ok(())
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
        let reason = match self.call(callback, args) {
            None => return Some(Answer { value: missing, stopped: false }),
            Some(Ok(value)) => {
                let stopped = self.host().stop_iteration;
                return Some(Answer { value: value.unwrap_or(missing), stopped });
            }
            Some(Err(Failure::OutOfFuel)) => format!("it ran for more than {INSTRUCTIONS} instructions"),
            Some(Err(Failure::Trapped(reason))) => reason,
        };
        self.host().system.trap = Some(Trap { callback: callback.to_owned(), reason });
        None
    }
}

/// Sizes have 32 bits in the ABI.
pub(super) fn len(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

//! One instance of the filter in a worker: calls its exports and records traps.

use super::host::Host;
use crate::abi::errors::{StartError, Trap};
use crate::abi::instance::{Failure, Instance};
use crate::abi::module::Program;

pub(crate) type Machine = Instance<Host>;

impl Instance<Host> {
    /// M, `ngx_http_wasm_load_plugin`: `_start`, or else `_initialize`. There is no `proxy_on_vm_start`.
    pub(crate) fn boot(program: &Program<Host>) -> Result<Self, StartError> {
        let error = |trap, log| StartError { stage: "initialize", trap: Some(trap), log };
        let mut machine = Self::start(program, Host::new()).map_err(|trap| error(trap, Vec::new()))?;
        let start = if machine.has("_start") { "_start" } else { "_initialize" };
        machine.run(start, &[]);
        let system = &mut machine.host().system;
        match system.trap.take() {
            None => Ok(machine),
            Some(trap) => Err(error(trap, system.log.lines().to_vec())),
        }
    }

    /// V, `ngx_wasm_wasmtime_call`: the result, 0 without one or without such an export, or −1 for a trap. A trap does
    /// not end the instance: the next callback runs on the state that the trap left.
    pub(crate) fn run(&mut self, export: &'static str, args: &[u32]) -> i32 {
        if self.host().dead.is_some() {
            return -1;
        }
        let reason = match self.call(export, args) {
            None => return 0,
            Some(Ok(result)) => return result.unwrap_or_default().cast_signed(),
            Some(Err(Failure::OutOfFuel)) => {
                self.die(export, "an endless loop stops the worker for good");
                return -1;
            }
            Some(Err(Failure::Trapped(reason))) => reason,
        };
        let reason = self.host().dead.map_or(reason, str::to_owned);
        self.note(export, reason);
        -1
    }

    /// The worker crashed or hangs; no further callback runs.
    pub(crate) fn die(&mut self, callback: &str, why: &'static str) {
        self.host().dead = Some(why);
        self.note(callback, why.to_owned());
    }

    fn note(&mut self, callback: &str, reason: String) {
        self.host().system.trap.get_or_insert(Trap { callback: callback.to_owned(), reason });
    }
}

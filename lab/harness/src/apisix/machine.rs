//! One instance of the filter in a worker: calls its exports and records traps.

use super::host::Host;
use super::settings::Settings;
use crate::abi::instance::{Failure, Instance};
use crate::abi::module::Program;
use crate::abi::start_error::StartError;
use crate::abi::trap::Trap;

pub(crate) struct Machine(Instance<Host>);

impl Machine {
    /// M, `ngx_http_wasm_load_plugin`: `_start`, or else `_initialize`. There is no `proxy_on_vm_start`.
    pub(crate) fn start(program: &Program<Host>, settings: Settings) -> Result<Self, StartError> {
        let error = |trap, log| StartError { stage: "initialize", trap: Some(trap), log };
        let instance =
            Instance::start(program, Host::new(settings)).map_err(|trap| error(trap, Vec::new()))?;
        let start = if instance.has("_start") { "_start" } else { "_initialize" };
        let mut machine = Self(instance);
        machine.run(start, &[]);
        match machine.host().system.trap.take() {
            None => Ok(machine),
            Some(trap) => Err(error(trap, machine.host().system.log.lines().to_vec())),
        }
    }

    pub(crate) fn host(&mut self) -> &mut Host {
        self.0.host()
    }

    /// V, `ngx_wasm_wasmtime_call`: the result, 0 without one or without such an export, or −1 for a trap. A trap does
    /// not end the instance: the next callback runs on the state that the trap left.
    pub(crate) fn run(&mut self, export: &'static str, args: &[u32]) -> i32 {
        if self.host().dead.is_some() {
            return -1;
        }
        let reason = match self.0.call(export, args) {
            None => return 0,
            Some(Ok(result)) => return result.unwrap_or_default().cast_signed(),
            Some(Err(Failure::OutOfFuel { .. })) => {
                self.host().dead = Some("an endless loop stops the worker for good");
                String::new()
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

    pub(crate) fn memory_bytes(&self) -> usize {
        self.0.memory_bytes()
    }

    pub(crate) fn take_coverage(&mut self) -> Vec<u8> {
        self.0.take_coverage()
    }
}

impl Drop for Machine {
    /// A failure that the test has not read fails the test.
    fn drop(&mut self) {
        let host = self.host();
        let unseen = host.system.trap.as_ref().filter(|_| !std::thread::panicking());
        assert!(
            unseen.is_none(),
            "the module or its worker failed: {}\n{:#?}",
            unseen.map_or(String::new(), Trap::to_string),
            host.system.log.lines()
        );
    }
}

//! The module's side of a host call: arguments, memory and allocator.

use wasmi::{Caller, Extern, Memory, Val};

use super::host_call::Status;

/// The running module, seen from inside a host call of `H`.
pub(crate) struct Guest<'a, H: 'static> {
    caller: Caller<'a, H>,
}

/// Why a host call failed.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) enum Refused {
    /// The module gets this status.
    Status(#[from] Status),
    /// The module traps.
    Trap(#[from] wasmi::Error),
}

impl Refused {
    /// The module traps for this reason.
    pub(crate) fn trap(reason: impl Into<String>) -> Self {
        Self::Trap(wasmi::Error::new(reason))
    }
}

impl<'a, H> Guest<'a, H> {
    pub(crate) fn new(caller: Caller<'a, H>) -> Self {
        Self { caller }
    }

    pub(crate) fn host(&mut self) -> &mut H {
        self.caller.data_mut()
    }

    /// Deducts `cost` instructions from the budget of the running callback.
    pub(crate) fn charge(&mut self, cost: u64) -> Result<(), wasmi::Error> {
        let left = self.caller.get_fuel()?;
        self.caller.set_fuel(left.saturating_sub(cost))
    }

    /// A copy of `length` bytes at `at`.
    pub(crate) fn read(&mut self, at: u32, length: u32) -> Result<Vec<u8>, Refused> {
        let memory = self.memory()?;
        let from = at as usize;
        let bytes = from.checked_add(length as usize).and_then(|to| memory.data(&self.caller).get(from..to));
        Ok(bytes.ok_or(Status::INVALID_MEMORY_ACCESS)?.to_vec())
    }

    pub(crate) fn write(&mut self, at: u32, bytes: &[u8]) -> Result<(), Refused> {
        let memory = self.memory()?;
        memory.write(&mut self.caller, at as usize, bytes).map_err(|_| Status::INVALID_MEMORY_ACCESS.into())
    }

    pub(crate) fn write_u32(&mut self, at: u32, value: u32) -> Result<(), Refused> {
        self.write(at, &value.to_le_bytes())
    }

    /// Calls the module's allocator `name`; `None` if the module has no such export.
    pub(crate) fn call_allocator(&mut self, name: &str, length: u32) -> Option<Result<u32, wasmi::Error>> {
        let allocator = self.caller.get_export(name).and_then(Extern::into_func)?;
        let typed = allocator.typed::<u32, u32>(&self.caller);
        Some(typed.and_then(|allocator| allocator.call(&mut self.caller, length)))
    }

    fn memory(&mut self) -> Result<Memory, Refused> {
        let memory = self.caller.get_export("memory").and_then(Extern::into_memory);
        Ok(memory.ok_or(Status::INVALID_MEMORY_ACCESS)?)
    }
}

/// The arguments of a host call. Their types are checked at link time; a missing one reads as 0.
pub(crate) struct Args<'a>(pub(crate) &'a [Val]);

impl Args<'_> {
    pub(crate) fn u32(&self, at: usize) -> u32 {
        self.0.get(at).and_then(Val::i32).unwrap_or_default().cast_unsigned()
    }

    pub(crate) fn i64(&self, at: usize) -> i64 {
        self.0.get(at).and_then(Val::i64).unwrap_or_default()
    }
}

/// Traps on line breaks in a header: they would smuggle in a second header. Envoy checks this only in debug builds.
pub(crate) fn check_text(name: &[u8], value: &[u8]) -> Result<(), Refused> {
    if name.iter().chain(value).any(|byte| matches!(byte, 0 | b'\r' | b'\n')) {
        let name = name.escape_ascii().to_string();
        return Err(Refused::trap(format!("the header {name:?} contains NUL, CR or LF")));
    }
    Ok(())
}

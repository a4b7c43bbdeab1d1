//! The filter's side of a host call: its arguments, its memory and its allocator.

use wasmtime::{Caller, Extern, Memory, Val};

use crate::host::Host;
use crate::{Headers, Status, pairs};

/// The running filter, seen from inside a host call of `H`.
pub(crate) struct Guest<'a, H: 'static = Host> {
    caller: Caller<'a, H>,
}

/// How a host call ends when it does not succeed.
pub(crate) enum Refused {
    /// The filter gets this number.
    Status(Status),
    /// The filter does not get control back.
    Trap(wasmtime::Error),
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl From<wasmtime::Error> for Refused {
    fn from(error: wasmtime::Error) -> Self {
        Self::Trap(error)
    }
}

impl<'a, H> Guest<'a, H> {
    pub(crate) fn new(caller: Caller<'a, H>) -> Self {
        Self { caller }
    }

    pub(crate) fn host(&mut self) -> &mut H {
        self.caller.data_mut()
    }

    /// Takes `cost` instructions off what the running callback may use.
    pub(crate) fn charge(&mut self, cost: u64) -> wasmtime::Result<()> {
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

    /// The header list of `length` bytes at `at`.
    pub(crate) fn read_headers(&mut self, at: u32, length: u32) -> Result<Headers, Refused> {
        Ok(pairs::read(&self.read(at, length)?))
    }

    pub(crate) fn write(&mut self, at: u32, bytes: &[u8]) -> Result<(), Refused> {
        let memory = self.memory()?;
        memory.write(&mut self.caller, at as usize, bytes).map_err(|_| Status::INVALID_MEMORY_ACCESS.into())
    }

    pub(crate) fn write_u32(&mut self, at: u32, value: u32) -> Result<(), Refused> {
        self.write(at, &value.to_le_bytes())
    }

    pub(crate) fn write_u64(&mut self, at: u32, value: u64) -> Result<(), Refused> {
        self.write(at, &value.to_le_bytes())
    }

    /// Asks the filter's allocator `name`, where it has one of that name.
    pub(crate) fn ask_allocator(&mut self, name: &str, length: u32) -> Option<wasmtime::Result<u32>> {
        let allocator = self.caller.get_export(name).and_then(Extern::into_func)?;
        let typed = allocator.typed::<u32, u32>(&self.caller);
        Some(typed.and_then(|allocator| allocator.call(&mut self.caller, length)))
    }

    fn memory(&mut self) -> Result<Memory, Refused> {
        let memory = self.caller.get_export("memory").and_then(Extern::into_memory);
        Ok(memory.ok_or(Status::INVALID_MEMORY_ACCESS)?)
    }
}

impl Guest<'_> {
    /// cpp-host, `copyToPointerSize`: the bytes go where the filter's own allocator says, and their address and length
    /// where the caller asked; no bytes at all are address 0.
    pub(crate) fn give(&mut self, bytes: &[u8], address_at: u32, length_at: u32) -> Result<(), Refused> {
        let length = u32::try_from(bytes.len()).map_err(|_| Status::INVALID_MEMORY_ACCESS)?;
        let mut address = 0;
        if length > 0 {
            address = self.allocate(length)?;
            self.write(address, bytes)?;
        }
        self.write_u32(address_at, address)?;
        self.write_u32(length_at, length)
    }

    /// cpp-host, `getFunctions` and `allocMemory`: `malloc`, else `proxy_on_memory_allocate`; address 0 is a refusal.
    fn allocate(&mut self, length: u32) -> Result<u32, Refused> {
        let address = ALLOCATORS.iter().find_map(|name| self.ask_allocator(name, length));
        match address.ok_or(Status::INVALID_MEMORY_ACCESS)?? {
            0 => Err(Status::INVALID_MEMORY_ACCESS.into()),
            address => Ok(address),
        }
    }
}

/// What a filter may call its allocator.
pub(crate) const ALLOCATORS: [&str; 2] = ["malloc", "proxy_on_memory_allocate"];

/// The arguments of a host call. Their types were checked when the module was linked; what is not there reads as 0.
pub(crate) struct Args<'a>(pub(crate) &'a [Val]);

impl Args<'_> {
    pub(crate) fn u32(&self, at: usize) -> u32 {
        self.0.get(at).and_then(Val::i32).unwrap_or_default().cast_unsigned()
    }

    pub(crate) fn i64(&self, at: usize) -> i64 {
        self.0.get(at).and_then(Val::i64).unwrap_or_default()
    }
}

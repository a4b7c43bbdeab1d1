//! How Envoy hands bytes to the module: in memory that the module's own allocator gives.

use super::host::Host;
use crate::abi::guest::{Guest, Refused};
use crate::abi::status::Status;

impl Guest<'_, Host> {
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

/// The names that a module's allocator can have.
pub(crate) const ALLOCATORS: [&str; 2] = ["malloc", "proxy_on_memory_allocate"];

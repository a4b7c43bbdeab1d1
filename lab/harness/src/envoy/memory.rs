//! Passes bytes to the module in memory from its own allocator, as Envoy does.

use super::host::Host;
use crate::abi::guest::{Guest, Refused};
use crate::abi::status::Status;

impl Guest<'_, Host> {
    /// cpp-host, `copyToPointerSize`: copies the bytes into newly allocated memory of the module, then writes their
    /// address and length. Empty bytes have address 0.
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

    /// cpp-host, `getFunctions` and `allocMemory`: `malloc`, else `proxy_on_memory_allocate`; address 0 means failure.
    fn allocate(&mut self, length: u32) -> Result<u32, Refused> {
        let address = ALLOCATORS.iter().find_map(|name| self.call_allocator(name, length));
        match address.ok_or(Status::INVALID_MEMORY_ACCESS)?? {
            0 => Err(Status::INVALID_MEMORY_ACCESS.into()),
            address => Ok(address),
        }
    }
}

/// The names of a module's allocator, in order of preference.
pub(crate) const ALLOCATORS: [&str; 2] = ["malloc", "proxy_on_memory_allocate"];

//! Passes bytes to the module as APISIX does.

use super::host::Host;
use crate::abi::guest::{Guest, Refused};
use crate::abi::status::Status;

impl Guest<'_, Host> {
    /// A, `ngx_http_wasm_copy_to_wasm`: for empty bytes, only the length is written, not the address.
    pub(super) fn give(&mut self, bytes: &[u8], address_at: u32, length_at: u32) -> Result<(), Refused> {
        let length = u32::try_from(bytes.len()).map_err(|_| Status::INVALID_MEMORY_ACCESS)?;
        self.write_u32(length_at, length)?;
        if length == 0 {
            return Ok(());
        }
        let address = self.allocate(length)?;
        self.write(address, bytes)?;
        self.write_u32(address_at, address)
    }

    /// `src/proxy_wasm/proxy_wasm_memory.c`: `proxy_on_memory_allocate`, then `malloc` if it returns 0. A trap in
    /// either returns −1, which the host uses as an address.
    fn allocate(&mut self, length: u32) -> Result<u32, Refused> {
        for name in ["proxy_on_memory_allocate", "malloc"] {
            match self.call_allocator(name, length) {
                None | Some(Ok(0)) => {}
                Some(Ok(address)) => return Ok(address),
                Some(Err(_)) => {
                    return Err(self.crash("the worker writes out of bounds: an allocation trapped"));
                }
            }
        }
        Err(Status::INTERNAL_FAILURE.into())
    }

    /// The real worker does not survive this call.
    pub(super) fn crash(&mut self, why: &'static str) -> Refused {
        self.host().dead = Some(why);
        Refused::trap(why)
    }
}

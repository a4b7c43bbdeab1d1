//! How APISIX hands bytes to the module.

use super::host::Host;
use crate::abi::guest::{Guest, Refused};
use crate::abi::status::Status;

impl Guest<'_, Host> {
    /// A, `ngx_http_wasm_copy_to_wasm`: of nothing, only the length is written, and the address stays what it was.
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

    /// `src/proxy_wasm/proxy_wasm_memory.c`: `malloc` is asked, too, where `proxy_on_memory_allocate` gives 0. A trap in
    /// either is address −1, which passes for an address.
    fn allocate(&mut self, length: u32) -> Result<u32, Refused> {
        for name in ["proxy_on_memory_allocate", "malloc"] {
            match self.ask_allocator(name, length) {
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
        Refused::Trap(wasmtime::Error::msg(why))
    }
}

//! Every function that the module defines, but `proxy_http_call`: `src/http/ngx_http_wasm_api_def.h` and `ngx_http_wasm_api_wasmtime.h`.

mod buffers;
mod header_maps;
mod plugin;

use super::host::Host;
use crate::Status;
use crate::calls::{HostCall, Import, Tables, wasi};
use crate::guest::{Args, Guest, Refused};

pub(crate) const TABLES: Tables<Host> =
    &[buffers::IMPORTS, header_maps::IMPORTS, plugin::IMPORTS, IGNORED, UNIMPLEMENTED, &wasi::imports()];

/// A: these answer `OK` and do nothing. A metric's handle is not even written, and `proxy_get_metric` has a type of its own,
/// so that a module that imports it as everybody else has it is refused.
pub(crate) const IGNORED: &[Import<Host>] = &[
    Import::proxy(HostCall::CloseStream, "proxy_close_stream", "i", nothing),
    Import::fixed("proxy_continue_request", "", nothing),
    Import::fixed("proxy_continue_response", "", nothing),
    Import::proxy(HostCall::ContinueStream, "proxy_continue_stream", "i", nothing),
    Import::proxy(HostCall::DefineMetric, "proxy_define_metric", "iiii", nothing),
    Import::proxy(HostCall::GetMetric, "proxy_get_metric", "iI", nothing),
    Import::proxy(HostCall::IncrementMetric, "proxy_increment_metric", "iI", nothing),
    Import::proxy(HostCall::RecordMetric, "proxy_record_metric", "iI", nothing),
    Import::proxy(HostCall::SetEffectiveContext, "proxy_set_effective_context", "i", nothing),
];

/// A: these answer `PROXY_RESULT_UNIMPLEMENTED`.
pub(crate) const UNIMPLEMENTED: &[Import<Host>] = &[
    Import::fixed("proxy_call_foreign_function", "iiiiii", unimplemented),
    Import::fixed("proxy_clear_route_cache", "", unimplemented),
    Import::fixed("proxy_dequeue_shared_queue", "iii", unimplemented),
    Import::proxy(HostCall::Done, "proxy_done", "", unimplemented),
    Import::fixed("proxy_enqueue_shared_queue", "iii", unimplemented),
    Import::proxy(
        HostCall::GetCurrentTimeNanoseconds,
        "proxy_get_current_time_nanoseconds",
        "i",
        unimplemented,
    ),
    Import::fixed("proxy_get_shared_data", "iiiii", unimplemented),
    Import::fixed("proxy_get_status", "iii", unimplemented),
    Import::fixed("proxy_grpc_call", "iiiiiiiiiiii", unimplemented),
    Import::fixed("proxy_grpc_cancel", "i", unimplemented),
    Import::fixed("proxy_grpc_close", "i", unimplemented),
    Import::fixed("proxy_grpc_send", "iiii", unimplemented),
    Import::fixed("proxy_grpc_stream", "iiiiiiiii", unimplemented),
    Import::fixed("proxy_register_shared_queue", "iii", unimplemented),
    Import::fixed("proxy_resolve_shared_queue", "iiiii", unimplemented),
    Import::proxy(HostCall::SetBufferBytes, "proxy_set_buffer_bytes", "iiiii", unimplemented),
    Import::proxy(HostCall::SetHeaderMapPairs, "proxy_set_header_map_pairs", "iii", unimplemented),
    Import::fixed("proxy_set_shared_data", "iiiii", unimplemented),
    Import::proxy(
        HostCall::SetTickPeriodMilliseconds,
        "proxy_set_tick_period_milliseconds",
        "i",
        unimplemented,
    ),
];

fn nothing(_: &mut Guest<'_, Host>, _: &Args<'_>) -> Result<(), Refused> {
    Ok(())
}

fn unimplemented(_: &mut Guest<'_, Host>, _: &Args<'_>) -> Result<(), Refused> {
    Err(Status::UNIMPLEMENTED.into())
}

impl Guest<'_, Host> {
    /// A, `ngx_http_wasm_copy_to_wasm`: of nothing, only the length is written, and the address stays what it was.
    fn give(&mut self, bytes: &[u8], address_at: u32, length_at: u32) -> Result<(), Refused> {
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
    fn crash(&mut self, why: &'static str) -> Refused {
        self.host().dead = Some(why);
        Refused::Trap(wasmtime::Error::msg(why))
    }
}

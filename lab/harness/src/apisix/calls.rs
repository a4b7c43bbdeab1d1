//! The functions of the module that the filter or the SDK imports: `src/http/ngx_http_wasm_api_def.h` and
//! `ngx_http_wasm_api_wasmtime.h`.

mod buffers;
mod header_maps;
mod plugin;

use super::host::Host;
use crate::abi::coverage;
use crate::abi::guest::{Args, Guest, Refused};
use crate::abi::host_call::HostCall;
use crate::abi::import::{Import, Tables};
use crate::abi::status::Status;
use crate::abi::wasi;

pub(crate) const TABLES: Tables<Host> = &[
    buffers::IMPORTS,
    header_maps::IMPORTS,
    plugin::IMPORTS,
    ABSENT,
    IGNORED,
    UNIMPLEMENTED,
    &coverage::imports(),
    &wasi::imports(),
];

/// A: calls that return `OK` without effect. Not even a metric's handle is written.
pub(crate) const IGNORED: &[Import<Host>] = &[
    Import::proxy(HostCall::CloseStream, "proxy_close_stream", "i", nothing),
    Import::proxy(HostCall::ContinueStream, "proxy_continue_stream", "i", nothing),
    Import::proxy(HostCall::DefineMetric, "proxy_define_metric", "iiii", nothing),
    Import::proxy(HostCall::IncrementMetric, "proxy_increment_metric", "iI", nothing),
    Import::proxy(HostCall::RecordMetric, "proxy_record_metric", "iI", nothing),
    Import::proxy(HostCall::SetEffectiveContext, "proxy_set_effective_context", "i", nothing),
];

/// A: calls that return `PROXY_RESULT_UNIMPLEMENTED`.
pub(crate) const UNIMPLEMENTED: &[Import<Host>] = &[
    Import::fixed("proxy_call_foreign_function", "iiiiii", unimplemented),
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

/// Calls that wasm-nginx-module has and this host does not. Every module of the SDK imports them, so they must link.
pub(crate) const ABSENT: &[Import<Host>] = &[Import::fixed("proxy_http_call", "iiiiiiiiii", absent)];

fn absent(_: &mut Guest<'_, Host>, _: &Args<'_>) -> Result<(), Refused> {
    Err(Refused::trap("the harness has no call-outs"))
}

fn nothing(_: &mut Guest<'_, Host>, _: &Args<'_>) -> Result<(), Refused> {
    Ok(())
}

fn unimplemented(_: &mut Guest<'_, Host>, _: &Args<'_>) -> Result<(), Refused> {
    Err(Status::UNIMPLEMENTED.into())
}

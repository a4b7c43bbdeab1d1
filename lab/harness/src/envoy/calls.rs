//! The functions that a module may import.

mod buffers;
mod header_maps;
mod metrics;
mod plugin;
mod streams;

use super::host::Host;
use crate::abi::coverage;
use crate::abi::guest::{Args, Guest, Refused};
use crate::abi::import::{Import, Tables};
use crate::abi::wasi;

/// Whether this host implements `import`, given as `module.name`, as Envoy does.
pub fn supports(import: &str) -> bool {
    let is_in = |table: &[Import<Host>]| table.iter().any(|known| known.path() == import);
    TABLES.iter().any(|table| is_in(table)) && !is_in(ABSENT) && !is_in(&coverage::imports())
}

pub(crate) const TABLES: Tables<Host> = &[
    buffers::IMPORTS,
    header_maps::IMPORTS,
    metrics::IMPORTS,
    plugin::IMPORTS,
    streams::IMPORTS,
    ABSENT,
    &coverage::imports(),
    &wasi::imports(),
];

/// Calls that Envoy has and this host does not. Every module of the SDK imports them, so they must link.
const ABSENT: &[Import<Host>] = &[
    Import::fixed("proxy_call_foreign_function", "iiiiii", absent),
    Import::fixed("proxy_dequeue_shared_queue", "iii", absent),
    Import::fixed("proxy_enqueue_shared_queue", "iii", absent),
    Import::fixed("proxy_get_shared_data", "iiiii", absent),
    Import::fixed("proxy_get_status", "iii", absent),
    Import::fixed("proxy_grpc_call", "iiiiiiiiiiii", absent),
    Import::fixed("proxy_grpc_cancel", "i", absent),
    Import::fixed("proxy_grpc_close", "i", absent),
    Import::fixed("proxy_grpc_send", "iiii", absent),
    Import::fixed("proxy_grpc_stream", "iiiiiiiii", absent),
    Import::fixed("proxy_http_call", "iiiiiiiiii", absent),
    Import::fixed("proxy_register_shared_queue", "iii", absent),
    Import::fixed("proxy_resolve_shared_queue", "iiiii", absent),
    Import::fixed("proxy_set_shared_data", "iiiii", absent),
];

fn absent(_: &mut Guest<'_, Host>, _: &Args<'_>) -> Result<(), Refused> {
    Err(Refused::trap("the harness has no call-outs, shared data or foreign functions"))
}

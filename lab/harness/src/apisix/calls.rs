//! The functions of the module that the filter imports: `src/http/ngx_http_wasm_api_def.h` and
//! `ngx_http_wasm_api_wasmtime.h`.

mod header_maps;

use super::exchange::VARIABLES;
use super::host::Host;
use super::lines;
use crate::abi::guest::{Args, Guest, Refused, check_text};
use crate::abi::headers::Headers;
use crate::abi::host_call::{HostCall, Status};
use crate::abi::import::{Import, Tables};
use crate::abi::instance::coverage_imports;
use crate::abi::log::Level;
use crate::abi::{pairs, wasi};

/// This host's support for an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It does what the ABI says, or nearly.
    Works,
    /// It returns `OK` without effect.
    Ignored,
    /// It returns `Unimplemented`.
    Unimplemented,
}

/// This host's support for `import`, given as `module.name`; `None` if it lacks it.
pub fn support(import: &str) -> Option<Support> {
    let is_in = |table: &[Import<Host>]| table.iter().any(|known| known.path() == import);
    if is_in(UNIMPLEMENTED) {
        Some(Support::Unimplemented)
    } else if is_in(IGNORED) {
        Some(Support::Ignored)
    } else {
        let works = is_in(IMPORTS) || is_in(header_maps::IMPORTS) || is_in(&wasi::imports());
        works.then_some(Support::Works)
    }
}

pub(crate) const TABLES: Tables<Host> =
    &[header_maps::IMPORTS, IMPORTS, IGNORED, UNIMPLEMENTED, &coverage_imports(), &wasi::imports()];

const IMPORTS: &[Import<Host>] = &[
    Import::proxy(HostCall::GetBufferBytes, "proxy_get_buffer_bytes", "iiiii", get_buffer),
    Import::proxy(HostCall::GetProperty, "proxy_get_property", "iiii", get_property),
    Import::proxy(HostCall::Log, "proxy_log", "iii", log),
    Import::proxy(HostCall::SendLocalResponse, "proxy_send_local_response", "iiiiiiii", send_local_response),
    Import::proxy(HostCall::SetProperty, "proxy_set_property", "iiii", set_property),
];

/// A: calls that return `OK` without effect. Not even a metric's handle is written.
const IGNORED: &[Import<Host>] = &[
    Import::proxy(HostCall::CloseStream, "proxy_close_stream", "i", nothing),
    Import::proxy(HostCall::DefineMetric, "proxy_define_metric", "iiii", nothing),
    Import::proxy(HostCall::IncrementMetric, "proxy_increment_metric", "iI", nothing),
    Import::proxy(HostCall::SetEffectiveContext, "proxy_set_effective_context", "i", nothing),
];

/// A: calls that return `PROXY_RESULT_UNIMPLEMENTED`.
const UNIMPLEMENTED: &[Import<Host>] = &[
    Import::proxy(HostCall::SetBufferBytes, "proxy_set_buffer_bytes", "iiiii", unimplemented),
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

/// A, `proxy_get_buffer_bytes`: a configuration is always returned whole. This host has no other buffers: no callbacks
/// for bodies, and no call-outs.
fn get_buffer(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    let host = guest.host();
    let conf = match args.u32(0) {
        7 => host.plugin().map(|plugin| plugin.conf.clone()).ok_or(Status::NOT_FOUND)?,
        0 | 1 => return Err(Status::NOT_FOUND.into()),
        _ => return Err(Status::UNIMPLEMENTED.into()),
    };
    guest.give(&conf, args.u32(3), args.u32(4))
}

/// A, `proxy_log`: an unknown level is logged as an error.
fn log(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    let text = guest.read(args.u32(1), args.u32(2))?;
    guest.host().system.log.push(Level::from_number(args.u32(0)).unwrap_or(Level::Error), &text);
    Ok(())
}

/// A, `proxy_get_property`: an nginx variable by its name. Envoy's property paths name none.
fn get_property(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    let path = guest.read(args.u32(0), args.u32(1))?.to_ascii_lowercase();
    let exchange = guest.host().exchange().ok_or(Status::BAD_ARGUMENT)?;
    let value = exchange.variable(&path).ok_or(Status::NOT_FOUND)?;
    guest.give(&value, args.u32(2), args.u32(3))
}

/// A, `proxy_set_property`: `NotFound` for a variable that does not exist, `InternalFailure` for one that only
/// nginx sets.
fn set_property(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    guest.host().exchange().ok_or(Status::BAD_ARGUMENT)?;
    let path = guest.read(args.u32(0), args.u32(1))?.to_ascii_lowercase();
    let value = guest.read(args.u32(2), args.u32(3))?;
    if [&b"remote_addr"[..], b"upstream_bytes_sent", b"upstream_bytes_received"].contains(&path.as_slice()) {
        return Err(Status::INTERNAL_FAILURE.into());
    }
    if !VARIABLES.iter().any(|name| name.as_bytes() == path) {
        return Err(Status::NOT_FOUND.into());
    }
    if path.starts_with(b"wasm_process_") {
        return Err(Refused::trap("this host has no body callbacks"));
    }
    if let Some(exchange) = guest.host().exchange() {
        exchange.variables.insert(path, value);
    }
    Ok(())
}

/// A, `proxy_send_local_response`: adds the headers to the response at once, even if the status is ignored later.
/// Status and body are read after the callback has returned. Details and gRPC status are ignored.
///
/// Stricter: a pseudo-header, a `content-length` or a malformed list traps.
fn send_local_response(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    let host = guest.host();
    host.exchange().ok_or(Status::BAD_ARGUMENT)?;
    host.code = args.u32(0).cast_signed();
    let list = guest.read(args.u32(5), args.u32(6))?;
    let headers = if list.is_empty() { Some(Headers::default()) } else { pairs::parse(&list) };
    let Some(headers) = headers else {
        return Err(guest.crash("a header list was read past its end: its lengths do not fit"));
    };
    for (name, value) in headers.iter() {
        check_text(name, value)?;
        if name.first() == Some(&b':') || name == b"content-length" {
            let name = name.escape_ascii();
            let message = format!("the filter sends a local response with {name}, which nginx sets itself");
            return Err(Refused::trap(message));
        }
    }
    let body = guest.read(args.u32(3), args.u32(4))?;
    let host = guest.host();
    host.body = body;
    if let Some(exchange) = host.exchange() {
        for (name, value) in headers.iter() {
            lines::add(&mut exchange.response, name, value);
        }
    }
    Ok(())
}

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

//! The functions of the module that the filter imports: `src/http/ngx_http_wasm_api_def.h` and
//! `ngx_http_wasm_api_wasmtime.h`.

use super::exchange::{Exchange, VARIABLES};
use super::host::Host;
use super::lines;
use crate::abi::guest::{Args, Guest, Refused, check_text};
use crate::abi::headers::Headers;
use crate::abi::host_call::{HostCall, Status};
use crate::abi::import::{Import, Tables};
use crate::abi::log::Level;
use crate::abi::module::coverage_imports;
use crate::abi::wasi::{self, nothing};

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
        (is_in(IMPORTS) || is_in(&wasi::imports())).then_some(Support::Works)
    }
}

pub(crate) const TABLES: Tables<Host> =
    &[IMPORTS, IGNORED, UNIMPLEMENTED, &coverage_imports(), &wasi::imports()];

const IMPORTS: &[Import<Host>] = &[
    Import::proxy(HostCall::GetBufferBytes, get_buffer),
    Import::proxy(HostCall::GetHeaderMapPairs, get_headers),
    Import::proxy(HostCall::GetHeaderMapValue, get_header),
    Import::proxy(HostCall::GetProperty, get_property),
    Import::proxy(HostCall::Log, log),
    Import::proxy(HostCall::RemoveHeaderMapValue, remove_header),
    Import::proxy(HostCall::ReplaceHeaderMapValue, replace_header),
    Import::proxy(HostCall::SendLocalResponse, send_local_response),
    Import::proxy(HostCall::SetProperty, set_property),
];

/// A: calls that return `OK` without effect. Not even a metric's handle is written.
const IGNORED: &[Import<Host>] = &[
    Import::proxy(HostCall::CloseStream, nothing),
    Import::proxy(HostCall::DefineMetric, nothing),
    Import::proxy(HostCall::IncrementMetric, nothing),
    Import::proxy(HostCall::SetEffectiveContext, nothing),
];

/// A: calls that return `PROXY_RESULT_UNIMPLEMENTED`.
const UNIMPLEMENTED: &[Import<Host>] = &[
    Import::proxy(HostCall::SetBufferBytes, unimplemented),
    Import::proxy(HostCall::SetTickPeriodMilliseconds, unimplemented),
];

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
    let own = [&b"remote_addr"[..], b"server_protocol", b"upstream_bytes_sent", b"upstream_bytes_received"];
    if own.contains(&path.as_slice()) {
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
    let headers = if list.is_empty() { Some(Headers::default()) } else { Headers::from_pairs(&list) };
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

/// A, `proxy_get_header_map_value`.
fn get_header(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    let name = guest.read_name(args)?;
    let exchange = guest.host().exchange().ok_or(Status::BAD_ARGUMENT)?;
    let value = match args.u32(0) {
        REQUEST => match pseudo(exchange, &name) {
            Some(Ok(value)) => Some(value),
            Some(Err(())) => return Err(guest.crash(NO_HOST)),
            None => exchange.request.get(&name).map(<[u8]>::to_vec),
        },
        RESPONSE if name.eq_ignore_ascii_case(b":status") => Some(exchange.status.to_string().into_bytes()),
        RESPONSE => exchange.response.get(&name).map(<[u8]>::to_vec),
        CALL_RESPONSE => None,
        _ => return Err(Status::UNIMPLEMENTED.into()),
    };
    guest.give(&value.ok_or(Status::NOT_FOUND)?, args.u32(3), args.u32(4))
}

/// A, `proxy_get_header_map_pairs`.
fn get_headers(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    let exchange = guest.host().exchange().ok_or(Status::BAD_ARGUMENT)?;
    let list = match args.u32(0) {
        REQUEST => request(exchange).ok_or(NO_HOST),
        RESPONSE => response(exchange).ok_or("a list of uninitialised memory was read: more than 20 headers"),
        CALL_RESPONSE => return Err(Status::NOT_FOUND.into()),
        _ => return Err(Status::UNIMPLEMENTED.into()),
    };
    let list = list.map_err(|why| guest.crash(why))?;
    guest.give(&list.to_pairs(), args.u32(1), args.u32(2))
}

/// A, `ngx_http_wasm_req_get_headers`: the first 100 lines, then the pseudo-headers; `None` is the crash without a
/// `Host`.
fn request(exchange: &Exchange) -> Option<Headers> {
    let host = exchange.request.get(b"host")?;
    let pseudo: [(&[u8], &[u8]); 4] = [
        (b":scheme", &exchange.scheme),
        (b":path", &exchange.path),
        (b":method", &exchange.method),
        (b":authority", host),
    ];
    Some(Headers::of_lines(exchange.request.iter().take(MAX_LINES).chain(pseudo)))
}

/// A, `ngx_http_wasm_resp_get_headers`: copies only the second part of nginx's list, so a list of two parts is wrong:
/// `None`.
fn response(exchange: &Exchange) -> Option<Headers> {
    let status = exchange.status.to_string();
    let lines = exchange.response.iter();
    let connection =
        (&b"connection"[..], if exchange.status == 101 { &b"upgrade"[..] } else { b"keep-alive" });
    let list = Headers::of_lines(lines.chain([connection, (b":status", status.as_bytes())]));
    (exchange.response.len() <= 20).then_some(list)
}

/// A, `ngx_http_wasm_get_pseudo_header`; an error is the crash without a `Host`.
fn pseudo(exchange: &Exchange, name: &[u8]) -> Option<Result<Vec<u8>, ()>> {
    let value = match name.to_ascii_lowercase().as_slice() {
        b":scheme" => &exchange.scheme[..],
        b":path" => &exchange.path,
        b":method" => &exchange.method,
        b":authority" => match exchange.request.get(b"host") {
            Some(host) => host,
            None => return Some(Err(())),
        },
        _ => return None,
    };
    Some(Ok(value.to_vec()))
}

/// Stricter than lua-nginx-module, which escapes them: a line break or NUL in a header traps.
fn replace_header(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    let name = guest.read_name(args)?;
    let value = guest.read(args.u32(3), args.u32(4))?;
    check_text(&name, &value)?;
    if args.u32(0) == RESPONSE && name.eq_ignore_ascii_case(b":status") {
        return set_status(guest, &value);
    }
    lines::replace(writable(guest, args.u32(0), &name)?, &name, &value);
    Ok(())
}

/// A, `ngx_http_wasm_set_resp_header`: a status must be all digits. If the response is nginx's page, its body stays.
///
/// Stricter: a status outside 200 to 599 traps.
fn set_status(guest: &mut Guest<'_, Host>, value: &[u8]) -> Result<(), Refused> {
    let text = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let status: u16 = text.and_then(|text| text.parse().ok()).ok_or(Status::BAD_ARGUMENT)?;
    if !(200..=599).contains(&status) {
        return Err(Refused::trap(format!("a response of status {status}")));
    }
    guest.host().exchange().ok_or(Status::BAD_ARGUMENT)?.status = status;
    Ok(())
}

fn remove_header(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    let name = guest.read_name(args)?;
    // A, `ngx_http_wasm_set_req_header`: "can't remove pseudo header".
    if name.first() == Some(&b':') {
        return Err(Status::BAD_ARGUMENT.into());
    }
    writable(guest, args.u32(0), &name)?.remove(&name);
    Ok(())
}

/// Request headers stay writable in the response phase, where logging plugins read them.
fn writable<'a>(guest: &'a mut Guest<'_, Host>, map: u32, name: &[u8]) -> Result<&'a mut Headers, Refused> {
    let exchange = guest.host().exchange().ok_or(Status::BAD_ARGUMENT)?;
    match map {
        // A, `ngx_http_wasm_set_req_header`: `:authority` sets the method, `:path` mishandles queries, and any other
        // pseudo-header is sent as a plain header.
        _ if name.first() == Some(&b':') => {
            Err(Refused::trap("the filter writes a pseudo-header, which APISIX mishandles"))
        }
        REQUEST => Ok(&mut exchange.request),
        RESPONSE => Ok(&mut exchange.response),
        _ => Err(Status::UNIMPLEMENTED.into()),
    }
}

impl Guest<'_, Host> {
    fn read_name(&mut self, args: &Args<'_>) -> Result<Vec<u8>, Refused> {
        self.host().exchange().ok_or(Status::BAD_ARGUMENT)?;
        self.read(args.u32(1), args.u32(2))
    }

    /// A, `ngx_http_wasm_copy_to_wasm`: for empty bytes, only the length is written, not the address.
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
    fn crash(&mut self, why: &'static str) -> Refused {
        self.host().dead = Some(why);
        Refused::trap(why)
    }
}

/// proxy-wasm's `MapType`.
const REQUEST: u32 = 0;
const RESPONSE: u32 = 2;
const CALL_RESPONSE: u32 = 6;

/// A, `ngx_http_wasm_get_authority`.
const NO_HOST: &str = "the worker crashes: the request has no Host";

/// lua-nginx-module, `NGX_HTTP_LUA_MAX_HEADERS`.
const MAX_LINES: usize = 100;

//! Log, properties and the local response.

use crate::abi::guest::{Args, Guest, Refused, check_text};
use crate::abi::headers::Headers;
use crate::abi::host_call::HostCall;
use crate::abi::import::Import;
use crate::abi::log::Level;
use crate::abi::pairs;
use crate::abi::status::Status;
use crate::apisix::host::{Host, State};
use crate::apisix::variables::VARIABLES;

pub(super) const IMPORTS: &[Import<Host>] = &[
    Import::proxy(HostCall::Log, "proxy_log", "iii", log),
    Import::proxy(HostCall::GetProperty, "proxy_get_property", "iiii", get_property),
    Import::proxy(HostCall::SetProperty, "proxy_set_property", "iiii", set_property),
    Import::proxy(HostCall::SendLocalResponse, "proxy_send_local_response", "iiiiiiii", send_local_response),
];

/// A, `proxy_log`: an unknown level is logged as an error.
fn log(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    let text = guest.read(args.u32(1), args.u32(2))?;
    guest.host().system.log.push(Level::from_number(args.u32(0)).unwrap_or(Level::Error), &text);
    Ok(())
}

/// A, `proxy_get_property`: an nginx variable by its name. Envoy's property paths name none.
fn get_property(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    let path = guest.read(args.u32(0), args.u32(1))?.to_ascii_lowercase();
    let host = guest.host();
    let value = if path == b"plugin_root_id" {
        if host.state == State::None {
            return Err(guest.crash("the worker crashes: plugin_root_id is read without a state"));
        }
        host.settings.name.clone().into_bytes()
    } else {
        let exchange = host.exchange().ok_or(Status::BAD_ARGUMENT)?;
        exchange.variable(&path).ok_or(Status::NOT_FOUND)?
    };
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
            exchange.response.add(name, value);
        }
    }
    Ok(())
}

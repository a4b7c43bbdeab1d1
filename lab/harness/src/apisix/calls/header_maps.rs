//! The header map calls. A list cannot be set as a whole on this host.
//!
//! Stricter than lua-nginx-module, which escapes them: a line break or NUL in a header traps.

use crate::abi::guest::{Args, Guest, Refused, check_text};
use crate::abi::headers::Headers;
use crate::abi::host_call::{HostCall, Status};
use crate::abi::import::Import;
use crate::abi::pairs;
use crate::apisix::exchange::Exchange;
use crate::apisix::host::Host;
use crate::apisix::lines;

pub(super) const IMPORTS: &[Import<Host>] = &[
    Import::proxy(HostCall::GetHeaderMapPairs, "proxy_get_header_map_pairs", "iii", get_all),
    Import::proxy(HostCall::GetHeaderMapValue, "proxy_get_header_map_value", "iiiii", get),
    Import::proxy(HostCall::RemoveHeaderMapValue, "proxy_remove_header_map_value", "iii", remove),
    Import::proxy(HostCall::ReplaceHeaderMapValue, "proxy_replace_header_map_value", "iiiii", replace),
];

/// proxy-wasm's `MapType`.
const REQUEST: u32 = 0;
const RESPONSE: u32 = 2;
const CALL_RESPONSE: u32 = 6;

/// A, `proxy_get_header_map_value`.
fn get(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
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
fn get_all(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    let exchange = guest.host().exchange().ok_or(Status::BAD_ARGUMENT)?;
    let list = match args.u32(0) {
        REQUEST => match request(exchange) {
            Some(list) => list,
            None => return Err(guest.crash(NO_HOST)),
        },
        RESPONSE => match response(exchange) {
            Some(list) => list,
            None => return Err(guest.crash("a list of uninitialised memory was read: more than 20 headers")),
        },
        CALL_RESPONSE => return Err(Status::NOT_FOUND.into()),
        _ => return Err(Status::UNIMPLEMENTED.into()),
    };
    guest.give(&pairs::write(&list), args.u32(1), args.u32(2))
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

fn replace(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
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

fn remove(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
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
}

/// A, `ngx_http_wasm_get_authority`.
const NO_HOST: &str = "the worker crashes: the request has no Host";

/// lua-nginx-module, `NGX_HTTP_LUA_MAX_HEADERS`.
const MAX_LINES: usize = 100;

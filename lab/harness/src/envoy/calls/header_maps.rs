//! The header map calls: `proxy_{get,add,replace,remove}_header_map_value` and `proxy_{get,set}_header_map_pairs`.

use crate::abi::guest::{Args, Guest, Refused, check_text};
use crate::abi::headers::Headers;
use crate::abi::host_call::HostCall;
use crate::abi::import::Import;
use crate::abi::pairs;
use crate::abi::status::Status;
use crate::envoy::exchange::Map;
use crate::envoy::host::Host;

pub(super) const IMPORTS: &[Import<Host>] = &[
    Import::proxy(HostCall::GetHeaderMapValue, "proxy_get_header_map_value", "iiiii", get),
    Import::proxy(HostCall::GetHeaderMapPairs, "proxy_get_header_map_pairs", "iii", get_all),
    Import::proxy(HostCall::AddHeaderMapValue, "proxy_add_header_map_value", "iiiii", add),
    Import::proxy(HostCall::ReplaceHeaderMapValue, "proxy_replace_header_map_value", "iiiii", replace),
    Import::proxy(HostCall::RemoveHeaderMapValue, "proxy_remove_header_map_value", "iii", remove),
    Import::proxy(HostCall::SetHeaderMapPairs, "proxy_set_header_map_pairs", "iii", set_all),
];

/// Envoy, `getHeaderMapValue`: the first value, or `NotFound`. A map that is not available is `BadArgument`, but
/// `NotFound` in `on_log`.
fn get(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    check_map(args)?;
    let name = guest.read(args.u32(1), args.u32(2))?;
    let host = guest.host();
    let in_log = host.exchange().is_some_and(|exchange| exchange.in_log);
    let missing = if in_log { Status::NOT_FOUND } else { Status::BAD_ARGUMENT };
    let map = readable(host, args.u32(0)).ok_or(missing)?;
    let value = map.get(&name).ok_or(Status::NOT_FOUND)?.to_vec();
    guest.give(&value, args.u32(3), args.u32(4))
}

/// Envoy, `getHeaderMapPairs`: a map that is not available reads as empty, and an empty map is address 0.
fn get_all(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    check_map(args)?;
    let headers = readable(guest.host(), args.u32(0)).unwrap_or_default();
    let list = if headers.is_empty() { Vec::new() } else { pairs::write(&headers) };
    guest.give(&list, args.u32(1), args.u32(2))
}

fn add(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    write_value(guest, args, Headers::add)
}

fn replace(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    write_value(guest, args, Headers::set)
}

fn write_value(
    guest: &mut Guest<'_, Host>,
    args: &Args<'_>,
    write: fn(&mut Headers, &[u8], &[u8]),
) -> Result<(), Refused> {
    check_map(args)?;
    let name = guest.read(args.u32(1), args.u32(2))?;
    let value = guest.read(args.u32(3), args.u32(4))?;
    let map = writable(guest.host(), args.u32(0))?;
    check_text(&name, &value)?;
    write(map, &name, &value);
    Ok(())
}

/// Envoy, `removeHeaderMapValue`: removing a missing header succeeds.
fn remove(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    check_map(args)?;
    let name = guest.read(args.u32(1), args.u32(2))?;
    writable(guest.host(), args.u32(0))?.remove(&name);
    Ok(())
}

/// Envoy, `setHeaderMapPairs`: replaces the whole map; a malformed list counts as empty.
fn set_all(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    check_map(args)?;
    let headers = guest.read_headers(args.u32(1), args.u32(2))?;
    let map = writable(guest.host(), args.u32(0))?;
    for (name, value) in headers.iter() {
        check_text(name, value)?;
    }
    *map = headers;
    Ok(())
}

/// Envoy, `getConstMap`. The numbers are proxy-wasm's `MapType`; the maps of call-outs are never available.
fn readable(host: &mut Host, kind: u32) -> Option<Headers> {
    host.exchange().and_then(|exchange| exchange.readable(stream_map(kind)?).cloned())
}

/// Envoy, `getMap`: only a stream's own maps can be written.
fn writable(host: &mut Host, kind: u32) -> Result<&mut Headers, Status> {
    let map = stream_map(kind).ok_or(Status::BAD_ARGUMENT)?;
    host.exchange().and_then(|exchange| exchange.writable(map)).ok_or(Status::BAD_ARGUMENT)
}

fn stream_map(kind: u32) -> Option<Map> {
    match kind {
        0 => Some(Map::RequestHeaders),
        1 => Some(Map::RequestTrailers),
        2 => Some(Map::ResponseHeaders),
        3 => Some(Map::ResponseTrailers),
        _ => None,
    }
}

fn check_map(args: &Args<'_>) -> Result<(), Status> {
    if args.u32(0) <= 7 { Ok(()) } else { Err(Status::BAD_ARGUMENT) }
}

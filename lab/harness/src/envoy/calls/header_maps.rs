//! The header map calls. The maps of trailers and call-outs are never available.

use crate::abi::guest::{Args, Guest, Refused, check_text};
use crate::abi::headers::Headers;
use crate::abi::host_call::{HostCall, Status};
use crate::abi::import::Import;
use crate::abi::pairs;
use crate::envoy::exchange::Side;
use crate::envoy::host::Host;

pub(super) const IMPORTS: &[Import<Host>] = &[
    Import::proxy(HostCall::GetHeaderMapPairs, "proxy_get_header_map_pairs", "iii", get_all),
    Import::proxy(HostCall::GetHeaderMapValue, "proxy_get_header_map_value", "iiiii", get),
    Import::proxy(HostCall::RemoveHeaderMapValue, "proxy_remove_header_map_value", "iii", remove),
    Import::proxy(HostCall::ReplaceHeaderMapValue, "proxy_replace_header_map_value", "iiiii", replace),
];

/// Envoy, `getHeaderMapValue`: the first value, or `NotFound`. A map that is not available is `BadArgument`.
fn get(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    let name = guest.read(args.u32(1), args.u32(2))?;
    let value = map(guest.host(), args.u32(0))?.get(&name).ok_or(Status::NOT_FOUND)?.to_vec();
    guest.give(&value, args.u32(3), args.u32(4))
}

/// Envoy, `getHeaderMapPairs`: a map that is not available reads as empty, and an empty map is address 0.
fn get_all(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    let headers = map(guest.host(), args.u32(0)).map(|headers| headers.clone()).unwrap_or_default();
    let list = if headers.is_empty() { Vec::new() } else { pairs::write(&headers) };
    guest.give(&list, args.u32(1), args.u32(2))
}

fn replace(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    let name = guest.read(args.u32(1), args.u32(2))?;
    let value = guest.read(args.u32(3), args.u32(4))?;
    let map = map(guest.host(), args.u32(0))?;
    check_text(&name, &value)?;
    map.set(&name, &value);
    Ok(())
}

/// Envoy, `removeHeaderMapValue`: removing a missing header succeeds.
fn remove(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    let name = guest.read(args.u32(1), args.u32(2))?;
    map(guest.host(), args.u32(0))?.remove(&name);
    Ok(())
}

/// Envoy, `getMap`. The numbers are proxy-wasm's `MapType`.
fn map(host: &mut Host, kind: u32) -> Result<&mut Headers, Status> {
    let side = match kind {
        0 => Side::Request,
        2 => Side::Response,
        _ => return Err(Status::BAD_ARGUMENT),
    };
    host.exchange().and_then(|exchange| exchange.half(side).open_headers()).ok_or(Status::BAD_ARGUMENT)
}

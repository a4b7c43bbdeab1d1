//! `proxy_get_buffer_bytes` and `proxy_set_buffer_bytes`.

use crate::abi::guest::{Args, Guest, Refused};
use crate::abi::host_call::{HostCall, Status};
use crate::abi::import::Import;
use crate::envoy::exchange::Side;
use crate::envoy::host::Host;

pub(super) const IMPORTS: &[Import<Host>] = &[
    Import::proxy(HostCall::GetBufferBytes, "proxy_get_buffer_bytes", "iiiii", get),
    Import::proxy(HostCall::SetBufferBytes, "proxy_set_buffer_bytes", "iiiii", set),
];

/// cpp-host, `get_buffer_bytes`: `NotFound` if the buffer does not exist. A start after the end reads as empty, and so
/// does a body outside its callback.
fn get(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    let (start, length) = (args.u32(1) as usize, args.u32(2) as usize);
    let part = read(guest.host(), args.u32(0), |buffer| {
        // Envoy adds in 64 bits, so a length of `u32::MAX` means the rest of the buffer.
        let end = start.saturating_add(length).min(buffer.len());
        buffer.get(start..end).unwrap_or_default().to_vec()
    })?;
    guest.give(&part, args.u32(3), args.u32(4))
}

/// Envoy, `Buffer::copyFrom`: a start of 0 replaces the first `length` bytes, a start at or after the end appends. Any
/// other start is `BadArgument`, and so is any buffer but an open body.
fn set(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    // The order of the checks is cpp-host's: the buffer's existence, then the filter's memory, then the arguments.
    let kind = args.u32(0);
    read(guest.host(), kind, |_| ())?;
    let data = guest.read(args.u32(3), args.u32(4))?;
    let body = open_body(guest.host(), kind).ok_or(Status::BAD_ARGUMENT)?;
    splice(body, args.u32(1) as usize, args.u32(2) as usize, &data)?;
    Ok(())
}

fn splice(body: &mut Vec<u8>, start: usize, length: usize, data: &[u8]) -> Result<(), Status> {
    if start == 0 {
        body.splice(..length.min(body.len()), data.iter().copied());
    } else if start >= body.len() {
        body.extend_from_slice(data);
    } else {
        return Err(Status::BAD_ARGUMENT);
    }
    Ok(())
}

/// Envoy, `getBuffer`. The numbers are proxy-wasm's `BufferType`.
fn read<T>(host: &mut Host, kind: u32, read: impl FnOnce(&[u8]) -> T) -> Result<T, Status> {
    let buffer = match kind {
        0 | 1 => open_body(host, kind).map_or(&[][..], |body| body.as_slice()),
        // A null buffer reads as empty. This host has no VM configuration.
        6 => &[],
        7 if host.configuring => &host.configuration,
        7 => return Err(Status::NOT_FOUND),
        _ => return Err(Status::BAD_ARGUMENT),
    };
    Ok(read(buffer))
}

fn open_body(host: &mut Host, kind: u32) -> Option<&mut Vec<u8>> {
    let side = match kind {
        0 => Side::Request,
        1 => Side::Response,
        _ => return None,
    };
    host.exchange()?.half(side).open_body()
}

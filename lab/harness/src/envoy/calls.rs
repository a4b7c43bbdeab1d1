//! The functions that a module may import.

use std::time::Duration;

use super::exchange::Side;
use super::host::{Action, Host};
use crate::abi::guest::{Args, Guest, Refused, check_text};
use crate::abi::headers::Headers;
use crate::abi::host_call::{HostCall, Status};
use crate::abi::import::{Import, Tables};
use crate::abi::log::Level;
use crate::abi::module::coverage_imports;
use crate::abi::wasi;

/// Whether this host implements `import`, given as `module.name`, as Envoy does.
pub fn supports(import: &str) -> bool {
    let is_in = |table: &[Import<Host>]| table.iter().any(|known| known.path() == import);
    TABLES.iter().any(|table| is_in(table)) && !is_in(&coverage_imports())
}

pub(crate) const TABLES: Tables<Host> = &[IMPORTS, &coverage_imports(), &wasi::imports()];

const IMPORTS: &[Import<Host>] = &[
    Import::proxy(HostCall::CloseStream, close_stream),
    Import::proxy(HostCall::DefineMetric, define_metric),
    Import::proxy(HostCall::GetBufferBytes, get_buffer),
    Import::proxy(HostCall::GetHeaderMapPairs, get_headers),
    Import::proxy(HostCall::GetHeaderMapValue, get_header),
    Import::proxy(HostCall::GetProperty, get_property),
    Import::proxy(HostCall::IncrementMetric, increment_metric),
    Import::proxy(HostCall::Log, log),
    Import::proxy(HostCall::RemoveHeaderMapValue, remove_header),
    Import::proxy(HostCall::ReplaceHeaderMapValue, replace_header),
    Import::proxy(HostCall::SendLocalResponse, send_local_response),
    Import::proxy(HostCall::SetBufferBytes, set_buffer),
    Import::proxy(HostCall::SetEffectiveContext, set_effective_context),
    Import::proxy(HostCall::SetProperty, set_property),
    Import::proxy(HostCall::SetTickPeriodMilliseconds, set_tick_period),
];

/// cpp-host, `log`: a level above critical is `BadArgument`.
fn log(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    let level = Level::from_number(args.u32(0)).ok_or(Status::BAD_ARGUMENT)?;
    let text = guest.read(args.u32(1), args.u32(2))?;
    guest.host().system.log.push(level, &text);
    Ok(())
}

/// Envoy, `Wasm::setTimerPeriod`: restarts the timer; a period of 0 stops it.
fn set_tick_period(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    let host = guest.host();
    host.tick_period = Duration::from_millis(args.u32(0).into());
    host.tick_due = (!host.tick_period.is_zero()).then(|| host.now.saturating_add(host.tick_period));
    Ok(())
}

/// Envoy, `getProperty`: a property of the stream, including those that the filter set, or of the host; else
/// `NotFound`.
fn get_property(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    let path = guest.read(args.u32(0), args.u32(1))?;
    let host = guest.host();
    let own = host.exchange().and_then(|exchange| match &path[..] {
        b"response\0code_details" => exchange.code_details.clone().map(String::into_bytes),
        _ => exchange.properties.get(&path).cloned(),
    });
    let value = own.or_else(|| host.properties.get(&path).cloned()).ok_or(Status::NOT_FOUND)?;
    guest.give(&value, args.u32(2), args.u32(3))
}

/// Envoy, `setProperty`: `NotFound` without a stream.
fn set_property(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    let path = guest.read(args.u32(0), args.u32(1))?;
    let value = guest.read(args.u32(2), args.u32(3))?;
    let exchange = guest.host().exchange().ok_or(Status::NOT_FOUND)?;
    exchange.properties.insert(path, value);
    Ok(())
}

/// cpp-host, `set_effective_context`: `BadArgument` for a context that does not exist.
fn set_effective_context(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    let host = guest.host();
    if !host.is_context(args.u32(0)) {
        return Err(Status::BAD_ARGUMENT.into());
    }
    host.effective = Some(args.u32(0));
    Ok(())
}

/// Envoy, `defineMetric`: handles of one name share one metric. The low two bits of a handle are the kind: a counter
/// (0), a gauge (1), or a histogram, which this host lacks.
fn define_metric(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    let name = guest.read(args.u32(1), args.u32(2))?;
    let name = String::from_utf8_lossy(&name).into_owned();
    let kind = Some(args.u32(0)).filter(|kind| *kind <= 1).ok_or(Status::BAD_ARGUMENT)?;
    let host = guest.host();
    host.values.entry(name.clone()).or_default();
    host.metrics.push(name);
    let number = u32::try_from(host.metrics.len()).map_err(|_| Status::INTERNAL_FAILURE)?;
    guest.write_u32(args.u32(3), number.checked_mul(4).ok_or(Status::INTERNAL_FAILURE)? | kind)
}

/// Envoy, `incrementMetric`: a counter accepts positive values only, a gauge any value.
fn increment_metric(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    let (handle, by) = (args.u32(0), args.i64(1));
    let host = guest.host();
    let name = (handle as usize / 4).checked_sub(1).and_then(|at| host.metrics.get(at));
    let value = name.and_then(|name| host.values.get_mut(name)).ok_or(Status::NOT_FOUND)?;
    if handle & 3 == 0 && by <= 0 {
        return Err(Status::BAD_ARGUMENT.into());
    }
    *value = value.wrapping_add_signed(by);
    Ok(())
}

/// cpp-host, `send_local_response`: the stream stops, whatever the current callback returns, and the response is sent
/// after it. In the root context the call succeeds without effect. The filter sends no gRPC status.
fn send_local_response(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    let _details = guest.read(args.u32(1), args.u32(2))?;
    let body = guest.read(args.u32(3), args.u32(4))?;
    let headers = Headers::from_pairs(&guest.read(args.u32(5), args.u32(6))?);
    // cpp-host, `PairsUtil::toPairs`: a malformed list is empty, not an error.
    let headers: Headers = headers.unwrap_or_default();
    for (name, value) in headers.iter() {
        check_text(name, value)?;
    }
    let host = guest.host();
    let context = host.context();
    host.stop_iteration = true;
    host.actions.push_back(Action::Respond { context, status: args.u32(0), headers, body });
    Ok(())
}

/// Envoy, `closeStream`: closing either direction of an HTTP stream, 0 or 1, resets all of it after the callback. Of TCP,
/// 2 and 3, this host has none.
fn close_stream(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    let host = guest.host();
    let context = host.context();
    match args.u32(0) {
        0 | 1 => host.actions.push_back(Action::Reset { context }),
        2 | 3 => {}
        _ => return Err(Status::BAD_ARGUMENT.into()),
    }
    Ok(())
}

/// cpp-host, `get_buffer_bytes`: `NotFound` if the buffer does not exist. A start after the end reads as empty, and so
/// does a body outside its callback.
fn get_buffer(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    let (start, length) = (args.u32(1) as usize, args.u32(2) as usize);
    let buffer = buffer(guest.host(), args.u32(0))?;
    // Envoy adds in 64 bits, so a length of `u32::MAX` means the rest of the buffer.
    let end = start.saturating_add(length).min(buffer.len());
    let part = buffer.get(start..end).unwrap_or_default().to_vec();
    guest.give(&part, args.u32(3), args.u32(4))
}

/// Envoy, `Buffer::copyFrom`: a start of 0 replaces the first `length` bytes, a start at or after the end appends. Any
/// other start is `BadArgument`, and so is any buffer but an open body.
fn set_buffer(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    let (kind, start, length) = (args.u32(0), args.u32(1) as usize, args.u32(2) as usize);
    // The order of the checks is cpp-host's: the buffer's existence, then the filter's memory, then the arguments.
    buffer(guest.host(), kind)?;
    let data = guest.read(args.u32(3), args.u32(4))?;
    let body = open_body(guest.host(), kind).ok_or(Status::BAD_ARGUMENT)?;
    if start == 0 {
        body.splice(..length.min(body.len()), data);
    } else if start >= body.len() {
        body.extend(data);
    } else {
        return Err(Status::BAD_ARGUMENT.into());
    }
    Ok(())
}

/// Envoy, `getBuffer`. The numbers are proxy-wasm's `BufferType`.
fn buffer(host: &mut Host, kind: u32) -> Result<&[u8], Status> {
    match kind {
        0 | 1 => Ok(open_body(host, kind).map_or(&[][..], |body| body.as_slice())),
        // A null buffer reads as empty. This host has no VM configuration.
        6 => Ok(&[]),
        7 if host.configuring => Ok(&host.configuration),
        7 => Err(Status::NOT_FOUND),
        _ => Err(Status::BAD_ARGUMENT),
    }
}

fn open_body(host: &mut Host, kind: u32) -> Option<&mut Vec<u8>> {
    let side = if kind == 0 { Side::Request } else { Side::Response };
    host.exchange()?.half(side).open_body().filter(|_| kind <= 1)
}

/// Envoy, `getHeaderMapValue`: the first value, or `NotFound`. A map that is not available is `BadArgument`.
fn get_header(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    let name = guest.read(args.u32(1), args.u32(2))?;
    let value = map(guest.host(), args.u32(0))?.get(&name).ok_or(Status::NOT_FOUND)?.to_vec();
    guest.give(&value, args.u32(3), args.u32(4))
}

/// Envoy, `getHeaderMapPairs`: a map that is not available reads as empty, and an empty map is address 0.
fn get_headers(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    let headers = map(guest.host(), args.u32(0)).map(|headers| headers.clone()).unwrap_or_default();
    let list = if headers.is_empty() { Vec::new() } else { headers.to_pairs() };
    guest.give(&list, args.u32(1), args.u32(2))
}

fn replace_header(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    let name = guest.read(args.u32(1), args.u32(2))?;
    let value = guest.read(args.u32(3), args.u32(4))?;
    let map = map(guest.host(), args.u32(0))?;
    check_text(&name, &value)?;
    map.set(&name, &value);
    Ok(())
}

/// Envoy, `removeHeaderMapValue`: removing a missing header succeeds.
fn remove_header(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    let name = guest.read(args.u32(1), args.u32(2))?;
    map(guest.host(), args.u32(0))?.remove(&name);
    Ok(())
}

/// Envoy, `getMap`. The numbers are proxy-wasm's `MapType`. The maps of trailers and call-outs are never available.
fn map(host: &mut Host, kind: u32) -> Result<&mut Headers, Status> {
    let side = match kind {
        0 => Side::Request,
        2 => Side::Response,
        _ => return Err(Status::BAD_ARGUMENT),
    };
    host.exchange().and_then(|exchange| exchange.half(side).open_headers()).ok_or(Status::BAD_ARGUMENT)
}

impl Guest<'_, Host> {
    /// cpp-host, `copyToPointerSize`: copies the bytes into newly allocated memory of the module, then writes their
    /// address and length. Empty bytes have address 0.
    pub(crate) fn give(&mut self, bytes: &[u8], address_at: u32, length_at: u32) -> Result<(), Refused> {
        let length = u32::try_from(bytes.len()).map_err(|_| Status::INVALID_MEMORY_ACCESS)?;
        let mut address = 0;
        if length > 0 {
            address = self.allocate(length)?;
            self.write(address, bytes)?;
        }
        self.write_u32(address_at, address)?;
        self.write_u32(length_at, length)
    }

    /// cpp-host, `getFunctions` and `allocMemory`: `malloc`, else `proxy_on_memory_allocate`; address 0 means failure.
    fn allocate(&mut self, length: u32) -> Result<u32, Refused> {
        let address = ALLOCATORS.iter().find_map(|name| self.call_allocator(name, length));
        match address.ok_or(Status::INVALID_MEMORY_ACCESS)?? {
            0 => Err(Status::INVALID_MEMORY_ACCESS.into()),
            address => Ok(address),
        }
    }
}

/// The names of a module's allocator, in order of preference.
pub(crate) const ALLOCATORS: [&str; 2] = ["malloc", "proxy_on_memory_allocate"];

//! The calls that act on a stream: `proxy_send_local_response`, `proxy_continue_stream`, `proxy_close_stream`. Envoy
//! runs them after the current callback has returned.

use crate::abi::guest::{Args, Guest, Refused, check_text};
use crate::abi::host_call::HostCall;
use crate::abi::import::Import;
use crate::abi::status::Status;
use crate::envoy::exchange::Side;
use crate::envoy::host::{Action, Host};

pub(super) const IMPORTS: &[Import<Host>] = &[
    Import::proxy(HostCall::SendLocalResponse, "proxy_send_local_response", "iiiiiiii", send_local_response),
    Import::proxy(HostCall::ContinueStream, "proxy_continue_stream", "i", continue_stream),
    Import::proxy(HostCall::CloseStream, "proxy_close_stream", "i", close_stream),
];

/// cpp-host, `send_local_response`: the stream stops, whatever the current callback returns. In the root context the
/// call succeeds without effect. Envoy: a gRPC status outside 0 to 16, such as the filter's −1, counts as absent.
fn send_local_response(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    let _details = guest.read(args.u32(1), args.u32(2))?;
    let body = guest.read(args.u32(3), args.u32(4))?;
    let headers = guest.read_headers(args.u32(5), args.u32(6))?;
    for (name, value) in headers.iter() {
        check_text(name, value)?;
    }
    let host = guest.host();
    let context = host.context();
    host.stop_iteration = true;
    let grpc_status = Some(args.u32(7)).filter(|code| *code <= 16);
    host.actions.push_back(Action::Respond { context, status: args.u32(0), grpc_status, headers, body });
    Ok(())
}

/// Envoy, `continueStream`: continuing either direction of an HTTP stream takes the request's headers and trailers away
/// from the filter.
fn continue_stream(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    let Some(side) = http_side(args.u32(0))? else {
        return if args.u32(0) == UPSTREAM { Err(Status::UNIMPLEMENTED.into()) } else { Ok(()) };
    };
    let host = guest.host();
    let context = host.context();
    if let Some(exchange) = host.exchange() {
        exchange.request.headers_open = false;
        exchange.request.trailers_open = false;
        host.actions.push_back(Action::Continue { context, side });
    }
    Ok(())
}

/// Envoy, `closeStream`: closing either direction of an HTTP stream resets all of it.
fn close_stream(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    if http_side(args.u32(0))?.is_some() {
        let host = guest.host();
        let context = host.context();
        host.actions.push_back(Action::Reset { context });
    }
    Ok(())
}

/// proxy-wasm's `StreamType`: 0 and 1 are HTTP, 2 and 3 are TCP, which this host lacks.
fn http_side(kind: u32) -> Result<Option<Side>, Status> {
    match kind {
        0 => Ok(Some(Side::Request)),
        1 => Ok(Some(Side::Response)),
        2 | UPSTREAM => Ok(None),
        _ => Err(Status::BAD_ARGUMENT),
    }
}

const UPSTREAM: u32 = 3;

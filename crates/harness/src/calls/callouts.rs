//! `proxy_http_call`, `proxy_grpc_call`, `proxy_grpc_cancel` and `proxy_get_status`: calls are recorded for the test, which
//! answers them.

use std::time::Duration;

use super::{HostCall, Import};
use crate::guest::{Args, Guest, Refused};
use crate::{Headers, Status};

/// An HTTP call-out that the filter has made and that has no answer yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCall {
    /// What the filter knows the call by.
    pub token: u32,
    /// The cluster it goes to.
    pub cluster: String,
    /// As sent, with the `content-length` that Envoy sets.
    pub headers: Headers,
    /// As sent.
    pub body: Vec<u8>,
    /// As sent; empty for none.
    pub trailers: Headers,
    /// Zero is none.
    pub timeout: Duration,
}

/// A unary gRPC call-out that the filter has made and that has no answer yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcCall {
    /// What the filter knows the call by.
    pub token: u32,
    /// `envoy.config.core.v3.GrpcService` as the filter serialized it. Envoy also takes a bare cluster name; this host
    /// takes any bytes and leaves the judgement to the test.
    pub service: Vec<u8>,
    /// Such as `sluicegate.v1.Bridge`.
    pub service_name: String,
    /// Such as `Call`.
    pub method: String,
    /// The call's headers.
    pub metadata: Headers,
    /// The serialized request.
    pub message: Vec<u8>,
    /// Zero is none.
    pub timeout: Duration,
}

/// The answer to an HTTP call, there while its callback runs.
pub(crate) struct HttpReply {
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
}

pub(crate) const IMPORTS: &[Import] = &[
    Import::proxy(HostCall::HttpCall, "proxy_http_call", "iiiiiiiiii", http_call),
    Import::proxy(HostCall::GrpcCall, "proxy_grpc_call", "iiiiiiiiiiii", grpc_call),
    Import::proxy(HostCall::GrpcCancel, "proxy_grpc_cancel", "i", grpc_cancel),
    Import::proxy(HostCall::GetStatus, "proxy_get_status", "iii", get_status),
];

/// Envoy, `httpCall`: `BadArgument` for a negative timeout, an unknown cluster, or without `:path`, `:method` and
/// `:authority`.
fn http_call(guest: &mut Guest<'_>, args: &Args<'_>) -> Result<(), Refused> {
    let cluster = text(&guest.read(args.u32(0), args.u32(1))?);
    let mut headers = guest.read_headers(args.u32(2), args.u32(3))?;
    let body = guest.read(args.u32(4), args.u32(5))?;
    let trailers = guest.read_headers(args.u32(6), args.u32(7))?;
    let timeout = i32::try_from(args.u32(8)).map_err(|_| Status::BAD_ARGUMENT)?.unsigned_abs();
    guest.write_u32(args.u32(9), 0)?;

    let host = guest.host();
    let complete = [":path", ":method", ":authority"].iter().all(|name| headers.get(name).is_some());
    if !complete || !host.settings.clusters.contains(&cluster) {
        return Err(Status::BAD_ARGUMENT.into());
    }
    if !body.is_empty() {
        headers.set(b"content-length", body.len().to_string().as_bytes());
    }
    let token = host.new_token();
    let timeout = Duration::from_millis(timeout.into());
    host.http_calls.insert(token, HttpCall { token, cluster, headers, body, trailers, timeout });
    guest.write_u32(args.u32(9), token)
}

/// Envoy, `grpcCall`. That a cluster does not exist shows later, as a failed call.
fn grpc_call(guest: &mut Guest<'_>, args: &Args<'_>) -> Result<(), Refused> {
    let service = guest.read(args.u32(0), args.u32(1))?;
    let service_name = text(&guest.read(args.u32(2), args.u32(3))?);
    let method = text(&guest.read(args.u32(4), args.u32(5))?);
    let metadata = guest.read_headers(args.u32(6), args.u32(7))?;
    let message = guest.read(args.u32(8), args.u32(9))?;
    let timeout = Duration::from_millis(args.u32(10).into());
    let host = guest.host();
    let token = host.new_token();
    let call = GrpcCall { token, service, service_name, method, metadata, message, timeout };
    host.grpc_calls.insert(token, call);
    guest.write_u32(args.u32(11), token)
}

/// Envoy, `grpcCancel`: `NotFound` for a call that has ended; of one that is cancelled nothing more is heard.
fn grpc_cancel(guest: &mut Guest<'_>, args: &Args<'_>) -> Result<(), Refused> {
    let call = guest.host().grpc_calls.remove(&args.u32(0));
    call.map(|_| ()).ok_or(Status::NOT_FOUND.into())
}

/// Envoy, `getStatus`: the code and message of the call whose callback is running.
fn get_status(guest: &mut Guest<'_>, args: &Args<'_>) -> Result<(), Refused> {
    let (code, message) = guest.host().call_status.clone();
    guest.write_u32(args.u32(0), code)?;
    guest.give(message.as_bytes(), args.u32(1), args.u32(2))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

//! Envoy: bytes of sessions pass through the filter, calls are gRPC's, and a tick ends streams that are overdue.

use std::cell::Cell;

use prost::Message;
use sluicegate_protocol::{CALL_PATH, grpc};

use super::{Call, Gateway, RequestHeaders, Upgrade};
use crate::filter::Filter;
use crate::host::{self, Buffer, GrpcCall, Map, Status};
use crate::http::Failure;
use crate::session_stream::{Opened, SessionStream};
use crate::stream::Action;

pub(crate) struct Envoy {
    /// The bridge, as the host wants it named.
    bridge: Vec<u8>,
    closing: Closing,
}

impl Envoy {
    /// With the name of the cluster that the bridge is.
    pub(super) fn new(cluster: &str) -> Self {
        Self { bridge: service(cluster), closing: Closing::default() }
    }
}

impl Gateway for Envoy {
    fn request_headers(&self) -> Result<RequestHeaders, Status> {
        host::headers(Map::Request).map(RequestHeaders::All)
    }

    fn passes_others(&self) -> bool {
        true
    }

    fn upgrade(&self, filter: &Filter, context_id: u32, upgrade: &Upgrade<'_>) -> Result<Opened, Status> {
        SessionStream::open(filter, context_id, upgrade)
    }

    /// Envoy logs no header that it was not told to.
    fn answered(&self) {}

    fn has_ended(&self, end: bool, _: bool) -> Result<bool, Status> {
        Ok(end)
    }

    fn call(&self, call: &Call<'_>) -> Result<u32, Status> {
        let (service, method) = CALL_PATH.trim_start_matches('/').split_once('/').unwrap_or_default();
        host::grpc_call(&GrpcCall {
            target: &self.bridge,
            service,
            method,
            metadata: call.metadata,
            message: call.framed.get(grpc::HEAD_LEN..).unwrap_or_default(),
            timeout_ms: call.timeout_ms,
        })
    }

    fn enter(&self, context_id: u32) -> Result<(), Status> {
        host::enter_stream(context_id)
    }

    fn body<'a>(&self, _: u16, body: &'a [u8]) -> &'a [u8] {
        body
    }

    fn cancel(&self, token: u32) {
        // A call that cannot be cancelled ends in its own time.
        let _ = host::cancel_grpc_call(token);
    }

    /// It is reset unless it has ended by itself in [`CLOSE_TICKS`].
    fn closing(&self, context_id: u32) {
        self.closing.add(context_id);
    }

    /// Resets it, at the latest in [`CLOSE_TICKS`].
    fn give_up(&self, context_id: u32) -> Action {
        self.closing.add(context_id);
        let _ = host::reset_stream();
        Action::Pause
    }

    fn action(&self, action: Action) -> Action {
        action
    }

    fn tick(&self) {
        self.closing.tick();
    }
}

/// The message of `size` bytes that a call was answered with.
pub(crate) fn received(size: usize) -> Result<Vec<u8>, Failure> {
    host::buffer(Buffer::GrpcReceive, size).map_err(|_| Failure::Unreadable)
}

/// Why a call has ended with a status of gRPC's other than OK.
pub(crate) fn failed(code: u32) -> Failure {
    Failure::of(code, &host::call_message().unwrap_or_default())
}

/// Asking twice is asking once.
pub(super) fn ask_for_ticks() -> Result<(), Status> {
    host::tick_every(TICK)
}

/// Streams that have to end soon, oldest first.
///
/// Their time is counted in ticks: a worker that is so busy that its ticks come late has not heard the bridge either.
#[derive(Default)]
struct Closing {
    ticks: Cell<u64>,
    /// Emptied while it is worked on: a host call may enter the filter again.
    streams: Cell<Vec<Overdue>>,
}

struct Overdue {
    context_id: u32,
    /// The tick at which it is reset.
    deadline: u64,
}

impl Closing {
    fn add(&self, context_id: u32) {
        let deadline = self.ticks.get().saturating_add(CLOSE_TICKS);
        let mut streams = self.streams.take();
        streams.push(Overdue { context_id, deadline });
        self.streams.set(streams);
    }

    fn tick(&self) {
        let now = self.ticks.get().saturating_add(1);
        self.ticks.set(now);
        let (overdue, mut waiting): (Vec<_>, Vec<_>) =
            self.streams.take().into_iter().partition(|stream| stream.deadline <= now);
        for stream in overdue {
            // A stream that has ended in the meantime cannot be entered.
            if host::enter_stream(stream.context_id).is_ok() && host::reset_stream().is_err() {
                waiting.push(stream);
            }
        }
        waiting.append(&mut self.streams.take());
        self.streams.set(waiting);
    }
}

/// What names a cluster of Envoy's to it: `envoy.config.core.v3.GrpcService`.
fn service(cluster: &str) -> Vec<u8> {
    #[derive(Clone, PartialEq, prost::Message)]
    struct GrpcService {
        #[prost(message, optional, tag = "1")]
        envoy_grpc: Option<EnvoyGrpc>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    struct EnvoyGrpc {
        #[prost(string, tag = "1")]
        cluster_name: String,
    }
    GrpcService { envoy_grpc: Some(EnvoyGrpc { cluster_name: cluster.to_owned() }) }.encode_to_vec()
}

/// How many ticks the bridge has to end a session, the one under way included: 2 s to 2.5 s. Long enough for answers under
/// way, short for a client that waits.
const CLOSE_TICKS: u64 = 5;

/// Milliseconds between two looks at overdue streams.
const TICK: u32 = 500;

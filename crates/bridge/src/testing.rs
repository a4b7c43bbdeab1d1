//! Sessions, and what decodes the bytes of clients and gateways, for tests of other crates.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use sluicegate_backend::System;
use sluicegate_delivery::drain::Drain;
use sluicegate_delivery::grant::Grant;
use sluicegate_protocol::codec::Codec;
use sluicegate_ws_session::budget::Budget;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::clusters;
use crate::config::RouteClusters;
use crate::endpoint::rights;
use crate::http::decoders as http_decoders;
use crate::session::{self, Limits, Overload, Request, Transport};

/// Serves a session of protobuf messages over an upgraded stream, with the limits of the default configuration, until it
/// ends.
///
/// # Cancel safety
/// A drop closes the session without a last message.
pub async fn session(io: impl AsyncRead + AsyncWrite + Send + 'static, grant: Grant, drain: Drain) {
    run(Transport::stream(io, Overload::StopReading), grant, drain).await;
}

/// The same over a client's own WebSocket, after its handshake.
///
/// # Cancel safety
/// As [`session`].
pub async fn websocket(io: impl AsyncRead + AsyncWrite + Send + 'static, grant: Grant, drain: Drain) {
    let limits = sluicegate_ws_session::Limits { max_message_bytes: MAX_REQUEST_BYTES };
    let budget = Budget::new(MAX_REQUEST_BYTES, MAX_REQUEST_BYTES);
    let session = sluicegate_ws_session::Session::new(limits, Codec::Protobuf, &budget, grant.client());
    run(Transport::websocket(io, session, grant.clone()), grant, drain).await;
}

async fn run(transport: Transport, grant: Grant, drain: Drain) {
    let limits = Limits {
        max_request_bytes: MAX_REQUEST_BYTES,
        max_commands: 64,
        answer_bytes: 1 << 20,
        ping_interval: Duration::from_secs(30),
        first_tick: Instant::now(),
        close_timeout: Duration::from_secs(5),
        drain_grace: Duration::from_secs(5),
    };
    session::run(transport, Codec::Protobuf, grant.into(), &limits, drain).await;
}

/// Decodes a message of a session.
pub fn message(message: &Bytes, codec: Codec) {
    for system in SYSTEMS {
        drop(Request::parse(message.clone(), codec, system));
    }
}

/// Decodes the target of a plain HTTP request: the path after the route's own, and the query.
pub fn target(target: &str) {
    for system in SYSTEMS {
        http_decoders::target(target, system);
    }
}

/// Decodes a plain HTTP request that writes.
///
/// # Panics
/// If it has more records than are allowed.
pub fn write(headers: &HeaderMap, body: &Bytes) {
    for system in SYSTEMS {
        http_decoders::headers(headers, system);
        http_decoders::write(headers, body, system);
    }
}

/// Decodes a `Last-Event-ID`.
///
/// # Panics
/// If what is decoded is another `id` once it is encoded and decoded again.
pub fn event_id(id: &str) {
    for partition in [None, Some(0), Some(7)] {
        http_decoders::id(id, partition);
    }
}

/// Decodes the headers with which a gateway tells the rights of a client.
pub fn rights(headers: &HeaderMap) {
    let _ = (rights::policy(headers), rights::of_route(headers), rights::tables(headers));
}

/// The gRPC messages in the pieces of a session's input, each of at most `max` bytes, up to the first mistake; and whether
/// there is none.
pub fn grpc_messages(pieces: &[&[u8]], max: usize) -> (Vec<Bytes>, bool) {
    let (messages, end) = session::messages(pieces, max);
    (messages, end.is_ok())
}

/// Decodes the header with which a gateway defines a cluster.
///
/// # Panics
/// If a valid definition has no nodes or too many, one that is another one as text, or properties that a cluster cannot have.
pub fn cluster_definition(header: &[u8], routes: &RouteClusters) {
    clusters::check_definition(header, routes);
}

const MAX_REQUEST_BYTES: usize = 1 << 20;

const SYSTEMS: [System; 2] = [System::Kafka, System::Nats];

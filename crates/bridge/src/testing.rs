//! Sessions, an endpoint, and what decodes the bytes of clients and gateways, for tests of other crates.

use std::iter;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use sluicegate_backend::System;
use sluicegate_delivery::cluster::Cluster;
use sluicegate_delivery::drain::Drain;
use sluicegate_delivery::grant::Grant;
use sluicegate_dialect::session::Request;
use sluicegate_protocol::codec::Codec;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tonic::service::Routes;

use crate::clusters;
use crate::config::{Config, RouteClusters};
use crate::endpoint::{self, rights};
use crate::http::decoders as http_decoders;
use crate::server::{Connections, Server};
use crate::session::{self, Limits, Overload, Transport};

/// The endpoint of a bridge with one cluster, `default`, and otherwise the default configuration.
#[derive(Clone)]
pub struct Endpoint(Arc<Server>);

impl Endpoint {
    /// Of this cluster. It drains when the cluster does.
    #[expect(clippy::expect_used, reason = "the configuration is valid, and without files")]
    pub fn new(cluster: Arc<Cluster>) -> Self {
        let unused = "[clusters.default]\n\"bootstrap.servers\" = \"unused:9092\"";
        let mut config = Config::load(unused, iter::empty()).expect("a valid configuration");
        config.clusters.clear();
        let endpoint = endpoint::Endpoint::new(&config, Routes::default()).expect("no audit log to open");
        let endpoint = endpoint::Endpoint { drain: cluster.drain.clone(), ..endpoint };
        endpoint.clusters.put("default", cluster);
        Self(Arc::new(Server::new(Arc::new(endpoint), &config, Connections::default())))
    }

    /// Serves a connection of a gateway at this address, until it is closed or a session takes it over.
    ///
    /// # Cancel safety
    /// A drop closes the connection, but not that of a session.
    pub async fn serve(&self, io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, peer: IpAddr) {
        self.0.stream(io, SocketAddr::new(peer, 0)).await;
    }
}

/// The topic of the `id` of an event of a whole topic or stream, and the next offset of each partition.
pub fn event_positions(id: &str) -> Option<(u128, Vec<(i32, i64)>)> {
    http_decoders::positions(id)
}

/// Serves a session over an upgraded stream, with the limits of the default configuration, until it ends.
///
/// # Cancel safety
/// A drop closes the session without a last message.
pub async fn session(
    io: impl AsyncRead + AsyncWrite + Send + 'static,
    codec: Codec,
    grant: Grant,
    drain: Drain,
) {
    let limits = Limits {
        max_request_bytes: 1 << 20,
        max_commands: 64,
        answer_bytes: 1 << 20,
        ping_interval: Duration::from_secs(30),
        first_tick: Instant::now(),
        close_timeout: Duration::from_secs(5),
        drain_grace: Duration::from_secs(5),
    };
    let transport = Transport::stream(io, Overload::StopReading);
    session::run(transport, codec, grant.into(), &limits, drain).await;
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

const SYSTEMS: [System; 2] = [System::Kafka, System::Nats];

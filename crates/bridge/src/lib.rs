//! The bridge between gateways and Kafka: sessions and single commands over HTTP/2, answered from clusters.
//!
//! The way of a request:
//! 1. `server`: a gateway's connection becomes HTTP/2 streams
//! 2. `entrance`: a stream is let in, or told why not, and becomes a session or a call
//! 3. `session`: requests in, answers out, within bounds; `http`: a plain HTTP request in its own terms
//! 4. `cluster`: a command becomes a read of one Kafka cluster, and its result an answer
//!
//! Beside it: [`config`] (`writing`: what librdkafka says of it), `admin` (`/livez`, `/readyz`, `/metrics`) and [`logging`].

mod admin;
mod bridge;
mod cluster;
pub mod config;
mod entrance;
mod executor;
mod http;
mod kafka_code;
pub mod logging;
mod metrics;
mod server;
mod session;
mod writing;

pub use self::bridge::Bridge;
pub use self::server::BindError;

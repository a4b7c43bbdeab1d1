//! The bridge between gateways and Kafka: sessions and single commands over HTTP, answered from clusters.
//!
//! The way of a request:
//! 1. `server`: a connection becomes HTTP requests
//! 2. `entrance`: a request is let in, or told why not, and becomes a session or a call
//! 3. `session`: requests in, answers out, within bounds; `http`: a plain HTTP request in its own terms
//!    the cluster that its gateway's route is for is of the configuration, or carried by the route: `route_clusters`
//! 4. `cluster`: a command becomes reads, or records to be written, of one Kafka cluster, and their result an answer
//! 5. `writing`: librdkafka's producer
//!
//! Beside it: [`config`], `admin` (`/livez`, `/readyz`, `/metrics`) and [`logging`]; `request_check`, what must not be decoded.

mod admin;
mod bridge;
mod cluster;
pub mod config;
mod entrance;
mod executor;
mod grant;
mod http;
mod kafka_code;
pub mod logging;
mod metrics;
mod places;
mod rate_limit;
#[cfg(test)]
mod reference;
mod request_check;
mod route_clusters;
mod server;
mod session;
mod topics;
mod writing;

pub use self::bridge::Bridge;
pub use self::server::BindError;

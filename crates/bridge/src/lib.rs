//! The bridge between gateways and messaging clusters.
//!
//! A request passes, in order:
//! 1. `server`: accepts connections and speaks HTTP/1.1 and HTTP/2
//! 2. `endpoint`: authenticates the gateway, resolves cluster and grant, starts a session or an HTTP request
//! 3. `session` or `http`: parses commands, in the words of a `dialect` of the cluster's system, within the client's
//!    limits
//! 4. `grant`: the only door to a cluster, which checks the client's rights; behind it `delivery`: subscriptions, and
//!    `cluster`: the bridge's limits, and metrics
//! 5. `backend`: executes a command on a cluster and returns a typed result; `kafka` and `nats` are its two
//!    implementations
//!
//! Beside it: [`config`], `clusters` (all of them, by name or by a route's definition), `admin` (`/livez`, `/readyz`,
//! `/metrics`), [`logging`], `traces` for an OpenTelemetry collector, and `metrics` for Prometheus.

mod admin;
mod backend;
mod bridge;
mod cluster;
mod clusters;
pub mod config;
mod delivery;
mod delivery_reports;
mod dialect;
mod drain;
mod endpoint;
mod executor;
mod failure_log;
mod file_hash;
mod grant;
mod http;
mod incidents;
mod json;
mod kafka;
mod limit;
pub mod logging;
mod metrics;
mod nats;
mod number;
mod rate;
mod rate_limit;
#[cfg(test)]
mod reference;
mod server;
mod session;
#[cfg(test)]
mod shared_limits;
mod suggestion;
mod topics;
mod traces;
mod write_queue;
mod write_sequencer;

pub use self::bridge::{Bridge, connect};
pub use self::server::BindError;

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
mod bridge;
mod clusters;
pub mod config;
mod endpoint;
#[cfg(test)]
mod entries;
mod executor;
mod http;
mod limit;
pub mod logging;
mod server;
mod session;
#[cfg(test)]
mod shared_limits;

pub use self::bridge::{Bridge, connect};
pub use self::server::BindError;

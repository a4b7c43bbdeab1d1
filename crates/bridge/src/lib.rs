//! The bridge between gateways and messaging clusters.
//!
//! A request passes, in order:
//! 1. `server`: accepts connections and speaks HTTP/1.1 and HTTP/2
//! 2. `endpoint`: authenticates the gateway, resolves cluster and grant, starts a session or an HTTP request
//! 3. `session` or `http`: runs the client's commands within its limits
//! 4. `grant`: what the client can do; `delivery`: subscriptions; `cluster`: the bridge's limits, and metrics
//! 5. `backend`: executes a command on a cluster and returns a typed result; `kafka` is the only one
//!
//! Beside it: [`config`], `route_clusters` (clusters that routes carry), `admin` (`/livez`, `/readyz`, `/metrics`) and
//! [`logging`].

mod admin;
mod backend;
mod bridge;
mod cluster;
pub mod config;
mod delivery;
mod drain;
mod endpoint;
mod executor;
mod fair_permits;
mod grant;
mod http;
mod json;
mod kafka;
pub mod logging;
mod metrics;
mod number;
mod rate_limit;
#[cfg(test)]
mod reference;
mod route_clusters;
mod server;
mod session;
mod topics;

pub use self::bridge::Bridge;
pub use self::server::BindError;

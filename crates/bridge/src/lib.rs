//! The bridge between gateways and messaging clusters: its ways in, and their wiring.
//!
//! A request passes, in order:
//! 1. `server`: accepts connections and speaks HTTP/1.1 and HTTP/2
//! 2. `endpoint`: authenticates the gateway, resolves cluster and grant, starts a session or an HTTP request
//! 3. `session` or `http`: parses commands, in the words of the system's [dialect](sluicegate_dialect), within the
//!    client's limits
//! 4. [`Grant`](sluicegate_delivery::grant::Grant): the only door to a cluster, which checks the client's rights
//! 5. [`Backend`](sluicegate_backend::Backend): executes a command on a cluster and returns a typed result
//!
//! Beside it: [`config`], `bridge` (constructs the systems, and reloads), `clusters` (all of them, by name or by a
//! route's definition), `admin` (`/livez`, `/readyz`, `/metrics`) and [`logging`].

mod admin;
mod bridge;
mod clusters;
pub mod config;
mod endpoint;
mod executor;
mod http;
mod limit;
pub mod logging;
mod percent;
mod registries;
mod revocation;
mod server;
mod session;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(test)]
mod tests;

pub use self::bridge::{Bridge, StartError, connect};

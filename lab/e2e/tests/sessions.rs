//! Sessions with a real Kafka: through a real Envoy in both profiles, through a real nginx, and directly at the
//! bridge's own WebSocket endpoint.
//!
//! `sluicegate-ws-session` tests RFC 6455 and requests in detail, `wasm/tests` the filter, and the bridge's own tests
//! its endpoint. Here, each group runs once through every way in; the rest needs real parts.
//!
//! 1. [`stacks`]: the shared gateways
//! 2. [`peer`]: a client on tungstenite; [`sluicegate_stack::raw`] is one on raw bytes
//! 3. the rest: one module per subject

mod peer;
mod stacks;

mod apisix_client;
mod back_pressure;
mod bystanders;
mod closes;
mod concurrency;
mod configuration;
mod endings;
mod fragments;
mod grpc;
mod handshakes;
mod json;
mod lasting;
mod limits;
mod metadata;
mod paths;
mod requests;
mod secrets;
mod streams;
mod unfinished;
mod violations;

use std::fmt::Display;
use std::time::Duration;

use tokio::time::timeout;

/// Waits for what has to come, and says what did not.
async fn within<T>(what: impl Display, future: impl Future<Output = T>) -> T {
    match timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not come within {} s", PATIENCE.as_secs()),
    }
}

/// Far longer than anything takes on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);

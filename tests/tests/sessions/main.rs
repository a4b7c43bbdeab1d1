//! Sessions as their clients meet them, to a real Kafka: through a real Envoy in both profiles, and, where the bridge's own
//! WebSocket endpoint is asked the same, through a real nginx and directly.
//!
//! 1. [`stacks`]: the gateways that the tests share
//! 2. [`peer`], [`raw`]: the two judges, tungstenite and single bytes; neither knows the code under test
//! 3. the rest: one module for each thing that can be asked of a session

#![cfg(test)] // so that helpers, too, may fail as tests do

mod peer;
mod raw;
mod stacks;

mod back_pressure;
mod bystanders;
mod closes;
mod concurrency;
mod configuration;
mod counts;
mod endings;
mod endpoint;
mod fragments;
mod grpc;
mod handshakes;
mod hostile;
mod lasting;
mod limits;
mod metadata;
mod paths;
mod requests;
mod secrets;
mod unfinished;
mod violations;

use std::fmt::Display;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// Waits for what has to come, and says what did not.
async fn within<T>(what: impl Display, future: impl Future<Output = T>) -> T {
    match timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not come within {} s", PATIENCE.as_secs()),
    }
}

/// Asks `condition` again and again until it gives a value; what it gives otherwise is what a failure says.
async fn until<T>(what: impl Display, mut condition: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match condition().await {
            Ok(value) => return value,
            Err(seen) if Instant::now() >= deadline => panic!("{what} did not come, but {seen}"),
            Err(_) => sleep(POLL).await,
        }
    }
}

/// Far longer than anything takes on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);

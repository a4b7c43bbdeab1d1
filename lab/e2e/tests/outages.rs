//! Outages during open sessions: each part killed, frozen or silently gone, on Envoy in both profiles and, if the
//! bridge itself serves the client, through nginx or directly.
//!
//! 1. [`bridge`], [`kafka`]: the servers
//! 2. [`leaving`], [`silence`]: the clients
//! 3. [`sluicegate_stack::socket`] is a client on tokio-tungstenite, [`sluicegate_stack::raw`] one on raw bytes

mod stacks;

mod bridge;
mod kafka;
mod leaving;
mod silence;

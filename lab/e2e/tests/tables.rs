//! Tables through a gateway: real Envoy, real bridge, real Kafka and NATS.
//!
//! [`holder`] is the client, which keeps the newest record of each key.

mod holder;
mod stacks;

mod changes;
mod cli;
mod filters;
mod http;
mod limits;
mod nats;
mod snapshots;

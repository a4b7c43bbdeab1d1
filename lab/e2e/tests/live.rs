//! Subscriptions through a gateway: real Envoy, real bridge, real Kafka.
//!
//! [`subscriber`] is the client.

mod stacks;
mod subscriber;

mod changes;
mod checker;
mod cli;
mod credit;
mod delivery;
mod fairness;
mod filters;
mod json;
mod reload;
mod rolling;

//! Subscriptions through a gateway: real Envoy, real bridge, real Kafka.
//!
//! [`subscriber`] is the client.

pub(crate) mod subscriber;

mod checker;
mod delivery;
mod unclean;
mod unled;

//! Subscriptions through a gateway: real Envoy, real bridge, real Kafka.

mod checker;
mod delivery;
mod programs;
mod unclean;
mod unled;

//! Subscriptions: real bridge, real Kafka, and a real Envoy where it has a part.

mod checker;
mod delivery;
mod programs;
mod unclean;
mod unled;

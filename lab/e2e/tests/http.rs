//! Plain HTTP through a gateway: real bridge, real Kafka, and a real Envoy in both profiles, or the filter in APISIX's
//! emulated host.
//!
//! 1. [`answers`]: checks of answers; [`openapi`]: sends requests, and compares each answer with the documented API
//! 2. [`produce`], [`rest`], [`events`]: each gateway carries requests and answers
//! 3. the rest: what only a real Envoy, Kafka or NATS does

pub(crate) mod answers;
pub(crate) mod openapi;

mod cloudevents;
mod drain;
pub(crate) mod events;
mod examples;
mod hostile;
mod lost;
mod neighbours;
mod produce;
mod rest;

//! Plain HTTP through a gateway: real bridge, real Kafka, and a real Envoy in both profiles, or the filter in APISIX's
//! emulated host.
//!
//! 1. [`stacks`]: the shared gateways and their routes
//! 2. [`console`], [`answers`]: reads topics with Kafka's own consumer, and checks answers
//! 3. [`openapi`]: sends requests, and compares each answer with the documented API
//! 4. the rest: one module per subject

mod answers;
mod console;
mod stacks;
mod streams;

mod apisix;
mod cors;
mod deliveries;
mod drain;
mod events;
mod examples;
mod grants;
mod hostile;
mod lost;
mod methods;
mod neighbours;
mod openapi;
mod outages;
mod plugin;
mod positions;
mod rest;
mod sizes;
mod unreachable;

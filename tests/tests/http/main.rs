//! Kafka as plain HTTP clients meet it through a gateway: real bridge, real Kafka, and before them a real Envoy in
//! both profiles, or the filter in APISIX's emulated host.
//!
//! 1. [`stacks`]: the gateways that the tests share, with their routes
//! 2. [`console`], [`answers`]: what Kafka's own consumer reads of a topic, and what an answer has to say
//! 3. [`openapi`]: asks, and compares each answer with the documented API
//! 4. the rest: one module for each thing that can be asked

#![cfg(test)] // so that helpers, too, may fail as tests do

mod answers;
mod console;
mod stacks;

mod apisix;
mod cors;
mod drain;
mod examples;
mod grants;
mod hostile;
mod lost;
mod methods;
mod neighbours;
mod openapi;
mod outages;
mod plugin;
mod rest;
mod sizes;
mod unreachable;

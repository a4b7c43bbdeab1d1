//! The client, the examples and the live page in a real Chromium: real Envoy, real bridge, real Kafka.
//!
//! Each test starts a script of `lab/e2e/browser`, and does what the script asks for.

mod client;
mod examples;
mod page;
mod parts;

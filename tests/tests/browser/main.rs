//! The client, the examples and the live page in a real Chromium: real Envoy, real bridge, real Kafka.
//!
//! Each test starts a script of `tests/browser`, and does what the script asks for.

#![cfg(test)] // so that helpers, too, may fail as tests do

mod client;
mod examples;
mod page;
mod parts;

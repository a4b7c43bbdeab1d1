//! The host's own rules, each shown by a small filter written in WebAssembly text.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test helpers may fail loudly")]

mod apisix;
mod bodies;
mod faults;
mod header_maps;
mod load;
mod plugin;
mod streams;
mod support;

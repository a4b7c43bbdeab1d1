//! The hosts' own rules: each shown by a small module in WebAssembly text, most of them also by a module of the SDK.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test helpers may fail loudly")]

mod apisix;
mod bodies;
mod faults;
mod header_maps;
mod load;
mod plugin;
mod sdk;
mod streams;
mod support;

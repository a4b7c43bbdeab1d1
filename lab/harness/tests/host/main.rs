//! The hosts, judged by a module of the public SDK, and by small modules in WebAssembly text: how they fail modules on
//! purpose, and the rules of APISIX that crash its worker.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test helpers may fail loudly")]

mod apisix;
mod faults;
mod sdk;
mod support;

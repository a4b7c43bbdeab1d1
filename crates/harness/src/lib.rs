//! Two proxy-wasm hosts for tests: they run a compiled module and behave as the gateways do for the calls it makes.
//!
//! A test plays the client and the upstream of one instance. The hosts hold state; they are not scripts of expected calls.
//!
//! - [`envoy`]: Envoy 1.40
//! - [`apisix`]: Apache APISIX, whose host is `wasm-nginx-module`
//! - [`abi`]: what both need to run a module

pub mod abi;
pub mod apisix;
pub mod envoy;

pub use abi::{
    Headers, HostCall, Level, LoadError, LogLine, Response, StartError, Status, Trap, When, imports,
};

//! Two proxy-wasm hosts for tests: they run a compiled module and implement its host calls as the gateways do.
//!
//! A test plays the client and the upstream of one instance. The hosts hold state; they are not scripts of expected
//! calls.
//!
//! - [`envoy`]: Envoy 1.40
//! - [`apisix`]: Apache APISIX, whose host is `wasm-nginx-module`
//! - [`abi`]: the parts that both hosts share

#![expect(missing_docs, reason = "tools of tests: a sentence only where a name does not say it")]

pub mod abi;
pub mod apisix;
pub mod envoy;
#[cfg(test)]
mod tests;

pub use abi::{
    Controls, Headers, HostCall, Level, LoadError, LogLine, Response, StartError, Status, Trap, When, imports,
};

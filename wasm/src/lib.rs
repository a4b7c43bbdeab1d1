//! The proxy-wasm filter: Kafka for WebSocket and plain HTTP clients, inside the gateway.
//!
//! 1. [`config`]: the plugin's configuration, or all that is wrong with it
//! 2. `exports`: what the host calls, and `contexts`: whom it means
//! 3. `filter`: one plugin on one worker
//! 4. `gateway`: what Envoy and Apache APISIX do each in its own way
//! 5. `stream`: one HTTP stream, and of which kind it is; [`url`]: the characters that its path can have
//! 6. `session_stream`: a table from host callback to [`sluicegate_ws_session::Session`], and from its outputs to host calls;
//!    in APISIX the bridge has the session, and the filter only opens it
//! 7. `http_stream`: a plain HTTP request, which the gateway forwards to the bridge; [`lost`], if no answer comes back
//! 8. `host`: each host call, with every status it may return; [`pairs`] are its headers
//! 9. `stats`: what is counted
//!
//! A trap would end every session of the worker: nothing here may panic, whatever the client, the bridge or the host do.

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

pub mod config;
pub mod lost;
pub mod pairs;
pub mod url;

#[cfg(target_arch = "wasm32")]
mod contexts;
#[cfg(target_arch = "wasm32")]
mod exports;
#[cfg(target_arch = "wasm32")]
mod filter;
#[cfg(target_arch = "wasm32")]
mod gateway;
#[cfg(target_arch = "wasm32")]
mod host;
#[cfg(target_arch = "wasm32")]
mod http_stream;
#[cfg(target_arch = "wasm32")]
mod repeats;
#[cfg(target_arch = "wasm32")]
mod session_stream;
#[cfg(target_arch = "wasm32")]
mod stats;
#[cfg(target_arch = "wasm32")]
mod stream;

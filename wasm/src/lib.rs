//! The proxy-wasm filter: Kafka for WebSocket and plain HTTP clients, inside the gateway.
//!
//! 1. [`config`]: parses the plugin's configuration, or reports all its mistakes
//! 2. `exports`: the functions that the host calls; `contexts` finds the plugin or stream that a call is for
//! 3. `filter`: one plugin on one worker
//! 4. `gateway`: the differences between Envoy and Apache APISIX
//! 5. `stream`: one HTTP stream of any kind; [`url`]: the characters allowed in its path
//! 6. `session_stream`: maps host callbacks to [`sluicegate_ws_session::Session`] and its outputs to host calls, unless the
//!    gateway relays the session, and the bridge runs it
//! 7. `http_stream`: a plain HTTP request, which the gateway forwards to the bridge; [`unanswered_request`]: the answer
//!    if the bridge sends none
//!    [`dynamic_metadata`] and [`token`]: who the client is
//! 8. `host`: each host call, with every status it can return; [`pairs`]: the wire format of header lists
//! 9. `frame_rate`: a limit on frames, which clients share; `stats`: the filter's metrics
//!
//! A trap would end every session of the worker, so nothing here panics, whatever the client, the bridge or the host
//! does.

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

pub mod config;
pub mod dynamic_metadata;
pub mod pairs;
pub mod token;
pub mod unanswered_request;
pub mod url;

#[cfg(target_arch = "wasm32")]
mod contexts;
#[cfg(target_arch = "wasm32")]
mod exports;
#[cfg(target_arch = "wasm32")]
mod filter;
#[cfg(any(test, target_arch = "wasm32"))]
mod frame_rate;
#[cfg(target_arch = "wasm32")]
mod gateway;
#[cfg(target_arch = "wasm32")]
mod host;
#[cfg(target_arch = "wasm32")]
mod http_stream;
#[cfg(target_arch = "wasm32")]
mod session_stream;
#[cfg(target_arch = "wasm32")]
mod stats;
#[cfg(target_arch = "wasm32")]
mod stream;

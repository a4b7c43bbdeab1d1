//! The compiled filter in hosts that behave as Envoy and as APISIX, judged by client, bridge, log and metrics.
//!
//! The filter is the one that `SLUICEGATE_FILTER` names, or what `just wasm` built.

#![cfg(test)] // so that helpers, too, may fail as tests do

mod apisix;
mod closing;
mod configuration;
mod counts;
mod faults;
mod gateway;
mod handshake;
mod http;
mod identity;
mod limits;
mod lost;
mod refused;
mod relay;
mod socket;
mod traffic;
mod wire;

//! The compiled filter in hosts that behave as Envoy and as APISIX, judged by client, bridge, log and metrics.
//!
//! The filter is the one that `SLUICEGATE_FILTER` names, or what `just wasm` built.

#![cfg(test)] // so that helpers, too, may fail as tests do

mod apisix;
mod closing;
mod configuration;
mod counts;
mod definition;
mod faults;
mod gateway;
mod handshake;
mod http;
mod imports;
mod json;
mod limits;
mod lost;
mod plain;
mod refused;
mod relay;
mod socket;
mod traffic;
mod wire;

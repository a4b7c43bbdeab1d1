//! The filter in APISIX: what only this gateway does, or does in its own way.

mod configuration;
mod faults;
mod http;
mod upgrade;

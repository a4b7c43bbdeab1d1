//! The filter in APISIX: what only this gateway does, or does in its own way.

mod bodies;
mod calls;
mod configuration;
mod faults;
mod random;
mod upgrade;

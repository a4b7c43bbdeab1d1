//! The filter in APISIX: the behaviour that differs from Envoy.

mod configuration;
mod faults;
mod login;
mod requests;

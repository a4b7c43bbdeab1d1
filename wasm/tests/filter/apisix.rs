//! The filter in APISIX: the behaviour that differs from Envoy.

mod configuration;
mod faults;
mod http;
mod login;
mod upgrade;

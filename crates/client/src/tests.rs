//! The client as its callers see it, against a server in the same process.

mod commands;
mod connecting;
mod endings;
#[cfg(feature = "rest")]
mod rest;
mod server;
mod walking;

//! The client as its callers see it, against a server in the same process.

mod commands;
mod connecting;
mod endings;
mod fetching;
mod many;
mod nats;
mod renewing;
#[cfg(feature = "rest")]
mod rest;
mod retrying;
mod server;
mod subscribing;
mod walking;

//! The built program, run against a server in this process: what it prints, where, and how it exits.
#![cfg(test)] // so that helpers, too, may fail as tests do

mod admin;
mod check_routes;
mod completions;
mod failures;
mod groups;
mod interrupts;
mod kafka;
mod nats;
mod once;
mod produce;
mod program;
mod progress;
mod reads;
mod secrets;
mod server;
mod streams;
mod subscribe;
mod tls;
mod topics;

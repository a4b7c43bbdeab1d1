//! The client as its users see it, against a WebSocket server in the same process.

mod commands;
mod connecting;
mod endings;
mod server;
mod walking;

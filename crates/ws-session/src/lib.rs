//! One client's WebSocket session, from its first byte to its close frame, as a function from input to output.
//!
//! No socket, no clock, no host call: the filter drives this code inside the proxy, the bridge for WebSocket clients of its own.
//! The path of the data:
//!
//! 1. [`handshake`]: an HTTP upgrade becomes a session, or a refusal
//! 2. [`frame`]: the client's bytes become frames
//! 3. [`message`]: frames become one message, in bounded memory ([`budget`]) that no client takes from others ([`source`])
//! 4. [`request`]: a message becomes a command for the bridge, or what to say instead
//! 5. [`answer`]: the bridge's stream becomes frames for the client
//! 6. [`padding`]: what goes to the bridge is large enough to be counted by its length
//! 7. [`close`]: why a session ended, in WebSocket's codes
//!
//! [`Session`] ties these together.

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

pub mod answer;
pub mod budget;
pub mod close;
pub mod frame;
pub mod handshake;
pub mod message;
pub mod padding;
pub mod request;
mod session;
pub mod source;

pub use session::{Event, Input, Limits, Output, Session};

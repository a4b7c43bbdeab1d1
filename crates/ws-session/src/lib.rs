//! One client's WebSocket session, from the first byte to the close frame, as a function from input to output.
//!
//! There are no sockets, clocks or host calls here. The filter drives this code inside the proxy, and the bridge drives
//! it for clients of its own WebSocket endpoint. Data passes, in order:
//!
//! 1. [`handshake`]: an HTTP upgrade becomes a session, or a refusal
//! 2. [`frame`]: a client's bytes become frames
//! 3. [`message`]: frames become messages, in bounded memory ([`budget`]) that clients share fairly
//! 4. [`request`]: a message becomes a command for the bridge, or a refusal
//! 5. [`answer`]: the bridge's stream becomes frames for the client
//! 6. [`close`]: Close frames; [`SessionError`]: errors that close the client, with their close codes
//!
//! [`Session`] ties these together; [`pad`] pads its writes to the bridge to a minimum size.

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

// The invariant of random streams is also one of `lab/fuzz`, which knows this crate by its name.
#[cfg(all(test, not(target_family = "wasm")))]
extern crate self as sluicegate_ws_session;

pub mod answer;
pub mod budget;
pub mod close;
pub mod frame;
pub mod handshake;
pub mod message;
pub mod request;
mod session;
mod session_error;

pub use session::{Event, Input, Limits, Output, Session, pad};
pub use session_error::SessionError;

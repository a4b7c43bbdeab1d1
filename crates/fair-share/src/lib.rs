//! Fair shares of limits that many clients share, without I/O or a clock, for the filter and the bridge.
//!
//! - [`Ledger`]: the parts of a limit that clients hold, by cluster, then by site and source, and the room that each
//!   has left
//! - [`Turns`]: a queue in which clients take turns
//! - [`Permits`], [`Places`]: the same for threads, to take and give back, or to wait for
//! - [`ClientKey`]: a client, as limits count it

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod holder;
mod ledger;
mod places;
mod turns;

pub use holder::{ClientKey, ClusterId, Holder};
pub use ledger::{Ledger, Permit, Permits};
pub use places::{Place, Places};
pub use turns::{Ticket, Turns};

//! The newest record of each key of one log, in memory, for all clients that want a table.
//!
//! - [`Table`]: takes the records of a log in their order, and gives the newest ones in pages
//! - `segment`: encoded records, one after the other; those that are not the newest of their key any more are left out
//!
//! Without I/O or a clock. Records are kept as they were encoded for clients, whatever the encoding is.

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod segment;
mod table;

pub use self::table::{Entry, FirstEntry, Page, Table};

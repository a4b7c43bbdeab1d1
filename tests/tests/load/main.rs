//! Clients that take all they can get: memory stays within the named limits, and a witness is answered as before.
//!
//! 1. [`stuck`]: 300 clients that do not read their answers
//! 2. [`flood`]: 10 that send without pause and read nothing
//! 3. [`assembly`]: 2,000 that each hold a message they do not finish
//! 4. [`churn`]: 1,000 that come and go
//!
//! Each has a gateway of its own with one worker, so that everyone shares everything, and the machine for itself:
//! [`bench`]. [`witness`] and [`memory`] judge; [`sluicegate_tests::raw`] is the client that behaves badly.

#![cfg(test)] // so that helpers, too, may fail as tests do

mod bench;
mod memory;
mod witness;

mod assembly;
mod churn;
mod flood;
mod stuck;

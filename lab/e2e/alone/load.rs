//! Greedy clients: memory stays within the documented limits, and a witness is answered as fast as before.
//!
//! 1. [`greedy`]: clients that read nothing, and ask or send much
//! 2. [`coming`]: clients that come and go
//! 3. [`questions`]: some that ask without pause for missing topics
//! 4. [`reads`]: some that read what costs much for what they get: parts of large batches, or nothing of what they scan
//!
//! Each runs alone on its own [`bench`], a gateway with one worker, so that all clients share all limits. [`witness`]
//! and [`memory`] judge; [`sluicegate_stack::raw`] is the badly behaved client.

mod bench;
mod memory;
mod witness;

mod coming;
mod greedy;
mod questions;
mod reads;

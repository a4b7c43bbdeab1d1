//! Greedy clients: memory stays within the documented limits, and a witness is answered as fast as before.
//!
//! 1. [`stuck`]: 300 clients that do not read their answers
//! 2. [`flood`]: 10 that send without pause and read nothing
//! 3. [`frames`]: 300 that send tiny frames as fast as they can
//! 4. [`assembly`]: 2,000 that each hold an unfinished message
//! 5. [`churn`]: 1,000 that connect and disconnect
//! 6. [`leaving`]: 300 at a time that are gone before they have an answer
//! 7. [`questions`]: some that ask without pause: for missing topics, many ends, or a very wide topic
//! 8. [`reads`]: some that read what costs much for what they get: parts of large batches, or nothing of what they scan
//!
//! Each runs alone on its own [`bench`], a gateway with one worker, so that all clients share all limits. [`witness`]
//! and [`memory`] judge; [`sluicegate_stack::raw`] is the badly behaved client.

mod bench;
mod memory;
mod witness;

mod assembly;
mod churn;
mod flood;
mod frames;
mod leaving;
mod questions;
mod reads;
mod stuck;

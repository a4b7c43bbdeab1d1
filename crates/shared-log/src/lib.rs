//! Recently read records of many logs, kept in memory as encoded chunks, so that what many clients read is fetched
//! once.
//!
//! The crate knows no messaging system and does no I/O of its own. Records are opaque encoded entries at increasing
//! positions; [`FirstEntry`] tells where one ends.
//!
//! - [`Chunk`]: consecutive entries of one log, as a request reads them, memory keeps them, and a fetch gives them
//! - [`SharedLog`]: the chunks of all clusters, bounded in bytes and age
//! - [`ClusterLogs`]: one cluster's part of it
//! - [`SingleFlight`]: lets identical calls share a request
//! - [`fetch()`], over a system's [`RawReads`]: the read engine, which fills an answer, waits at the end of a log, and
//!   begins again on a new version of it
//!
//! A chunk proves that its records were in the log when it was read. It never proves that there are no others: only the
//! messaging system can tell the end of a log.

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod chunk;
mod log;
mod marks;
mod read_engine;
mod shared_log;
mod single_flight;

pub use chunk::{AnswerSize, Chunk, Ends, SeenEnds, assemble};
pub use log::{LOG_END, LOG_START, ListedOffset, Log, LogKey, MAX_TIMESTAMP, Version};
pub use marks::{Entry, FirstEntry};
pub use read_engine::{AnswerReservation, Event, Fetch, MAX_WAIT, RawReads, WAITING_BYTES, fetch};
pub use shared_log::{ClusterLogs, Counted, Limits, SharedLog, Stats};
pub use single_flight::SingleFlight;

//! Stateless, asynchronous reads from a Kafka cluster: any offset of any partition, for very many callers over a few
//! connections.
//!
//! 1. [`Config`]: librdkafka's properties become a cluster to read from
//! 2. [`Reader`]: a call is checked before anything is sent
//!
//! Isolation is read_uncommitted: records of open and aborted transactions are delivered. No call ever creates a topic.

#![warn(clippy::arithmetic_side_effects)]

mod address;
mod config;
mod connection;
mod error;
mod reader;

pub use config::{Config, PropertyError};
pub use connection::ConnectionError;
pub use error::{ErrorCode, ReadError};
pub use reader::{DEFAULT_MAX_BYTES, Fetch, Fetched, Reader};

//! Stateless, asynchronous reads from a Kafka cluster: any offset of any partition, for very many callers over a few
//! connections.
//!
//! 1. [`Config`]: librdkafka's properties become a cluster to read from
//! 2. [`Reader`]: a call is checked (`target`) before anything is sent
//! 3. `cluster`: one caller asks for metadata on behalf of all, `view` keeps it
//! 4. `ask`: the question goes to the partition's leader, again where that has moved, was lost or is missing, or to the
//!    replica that it names as nearer
//! 5. `broker`: a connection is picked, or opened (`dial`); those for fetches that wait are apart from the others. A new
//!    one is secured first (`tls`, `sasl`)
//! 6. `connection` and `link`: requests (`api`) are encoded and pipelined, answers matched and decoded (`wire`)
//! 7. `fetching`: batches become the answer's bytes, and are read on where they hold nothing to deliver
//!
//! Beside it: `vetting` checks brokers before another client of the cluster connects to them.
//!
//! Isolation is read_uncommitted: records of open and aborted transactions are delivered. No call ever creates a topic.

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod address;
mod api;
mod ask;
mod backoff;
mod broker;
mod clock;
mod cluster;
mod config;
mod connection;
mod dial;
mod encoders;
mod error;
mod fetching;
mod link;
mod lock;
mod progress;
mod reader;
mod redact;
mod sasl;
mod target;
mod throttle;
mod tls;
mod topic;
mod vetting;
mod view;
mod wire;

pub use config::{Config, PropertyError, is_secret};
pub use connection::ConnectionError;
pub use error::{ErrorCode, ReadError};
pub use reader::{DEFAULT_MAX_BYTES, Fetch, Fetched, LOG_END, LOG_START, MAX_WAIT, Reader};
pub use target::check_topic;
pub use topic::{Partition, Replica, Topic};
pub use vetting::Vetted;

//! Stateless, asynchronous reads from a Kafka cluster: any offset of any partition, for very many callers over a few
//! connections. And writes of idempotent producers, which are as stateless.
//!
//! A fetch passes, in order:
//! 1. [`Config`]: describes the cluster in librdkafka's properties
//! 2. [`Reader`]: validates the call (`topic_partition`), and takes records that were read before from the shared log
//! 3. [`SingleFlight`](sluicegate_shared_log::SingleFlight): makes identical calls share a request, but only one that
//!    was sent after each of them began
//! 4. `fetch_plan`: decides which records to request, and encodes the batches that come back
//! 5. `attempt`: decides which broker to call, and when to retry; `leader_call` performs its steps
//! 6. `brokers`: requests metadata, once for all waiting callers (`batches`); `metadata_cache` keeps it
//! 7. `broker`: picks a connection or opens one (`dial`, `tls`, `sasl`); fetches, long polls and all other requests
//!    have connections each
//! 8. `connection`, `transport`: encode requests (`api`), pipeline them, match and decode responses (`wire`)
//!
//! `offsets` finds offsets of many partitions: ends with one request to a broker for all callers, records by time in
//! turns.
//!
//! At the log end, a call waits in `tail`: a few long polls per broker serve all that wait.
//!
//! Members of groups call their `coordinator`, which keeps positions as well.
//!
//! [`Observer`] is told of requests and connections, [`SkipMeter`] of bytes that a fetch has skipped before it goes on.
//!
//! `bootstrap_check` checks brokers before another client of the cluster connects to them.
//!
//! No call creates a topic.

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod address;
mod api;
mod attempt;
mod backoff;
mod batches;
mod bootstrap_check;
mod broker;
mod broker_failures;
mod brokers;
mod config;
mod connection;
mod coordinator;
mod dial;
mod encoder_pool;
mod error;
mod fetch_plan;
mod leader_call;
mod metadata_cache;
mod network;
mod observer;
mod offsets;
mod reader;
#[cfg(test)]
#[path = "../tests/reads/batches.rs"]
mod record_batches;
mod redact;
mod sasl;
mod skip_cache;
mod slow_logs;
mod tail;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod tls;
mod topic_partition;
mod transport;
mod wire;

pub use self::encoder_pool::first_entry;
pub use api::{Assignment, GroupMember, GroupOffset, JoinedMember, KnownProducer, Replica, Subscription};
pub use bootstrap_check::BootstrapCheck;
pub use config::{Config, PropertyError, is_secret};
pub use encoder_pool::EncoderPool;
pub use error::{ConnectionError, ErrorCode, ReadError};
pub use metadata_cache::{ClusterMembers, LastLeader, Partition, Topic};
pub use network::{Network, Stream};
pub use observer::{BrokerRequest, BrokerStates, Observer, RequestOutcome};
pub use reader::{
    DEFAULT_MAX_BYTES, Described, FROM_ID, Join, Joined, NotProduced, Produced, Properties, Reader, SkipMeter,
};
pub use topic_partition::check_topic;

//! A client of the pub/sub protocol: Kafka, or NATS JetStream, over one WebSocket.
//!
//! 1. [`Client::builder`] holds the settings: headers, TLS, timeouts, a source of tokens
//! 2. [`Builder::connect`] opens the WebSocket, or fails with a [`ConnectError`]
//! 3. [`Client::fetch`], [`Client::list_offset`] and [`Client::ping`] each send a command and wait for its answer; any
//!    number of tasks can share a client, and commands do not wait for each other. [`Client::multi_fetch`],
//!    [`Client::list_offsets`] and [`Client::metadata`] ask for many partitions or topics at once
//! 4. [`Client::walk`] reads a partition in order, batch by batch; [`FetchOptions`] are for it and for fetches
//! 5. [`Client::subscribe`] reads topics as records are written, and continues where it was after a lost connection;
//!    [`Subscribe`] says which topics and records. [`Client::table`] keeps the newest message of each key, and
//!    [`Client::join`] shares the partitions with the other members of a consumer group
//! 6. [`Client::produce`] writes records and reports the outcome of each; [`Client::writer`] repeats them until there is
//!    one, and each is written once
//! 7. [`Client::nats`] reads and writes the streams of a route to [`nats`]
//! 8. [`Client::close`] ends the session in both directions
//! 9. `Rest`, with the feature `rest`, lists topics over a gateway's HTTP route
//!
//! Reads that fail for a moment are repeated, within the bounds of [`Builder::max_retries`] and
//! [`Builder::retry_within`]; writes never are, but those of a [`Writer`].
//!
//! Connections, commands and their sizes and times are logged with `tracing` at the level DEBUG; header values, keys
//! and values never are.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use sluicegate_client::{At, Client};
//!
//! let client = Client::connect("ws://127.0.0.1:8080/pubsub").await?;
//! let start = client.list_offset("orders", 0, At::Earliest).await?.unwrap_or(0);
//! let mut walk = client.walk("orders", 0, start);
//! for message in walk.next_batch().await?.messages {
//!     println!("{}: {:?}", message.offset, message.value);
//! }
//! client.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Older servers
//!
//! Servers ignore fields that they do not know. With a bridge from before [`FetchOptions`], or with Apache APISIX's own
//! pub/sub:
//!
//! - [`Isolation::ReadCommitted`] fails with [`Error::IsolationUnsupported`] and delivers no message.
//! - [`FetchOptions::max_records`] holds. `max_wait`, `min_bytes` and `max_bytes` have no effect.
//! - [`Fetched::next_offset`] follows the last message; a range without messages is skipped only if the server reports
//!   it. The log's ends are `None`.
//! - [`KafkaMessage::timestamp_type`] is always [`TimestampType::CreateTime`].
//! - [`Client::multi_fetch`], [`Client::list_offsets`] and [`Client::metadata`] fail with
//!   [`Error::CommandUnsupported`]: use a command for each partition. So does [`Client::subscribe`]: walk each
//!   partition. [`Client::join`] fails with [`Error::GroupsUnsupported`] if the server only lacks groups. Only `Rest`
//!   lists topics. Commands of [`Client::nats`] fail alike.
//! - [`FetchOptions::filter`], [`FetchOptions::decode`] and [`Subscribe::decode`] have no effect. Do not give records a schema: their JSON is
//!   written as it is.
//! - Errors have no reason and no offsets. Without `retriable`, no read is repeated.

#![warn(clippy::arithmetic_side_effects)]

mod answer;
mod builder;
mod chunked;
mod client;
mod connection;
mod error;
mod fetch;
mod inbox;
mod login;
mod many;
mod member;
pub mod nats;
mod once;
mod pending;
mod produce;
mod refusal;
#[cfg(feature = "rest")]
mod rest;
mod retry;
mod session;
mod subscribe;
mod subscription;
mod table;
#[cfg(feature = "tls")]
mod tls;
mod transport;
mod url;
mod walk;
mod writer;

pub use builder::Builder;
pub use client::{At, Client};
pub use error::{ConnectError, Error};
pub use fetch::{FetchOptions, Fetched};
pub use login::LoginError;
pub use many::{ListedOffset, OffsetQuery, Partition, Replica, Topic};
pub use member::Member;
pub use once::Producer;
pub use produce::{RecordError, Written};
pub use refusal::refusal_text;
#[cfg(feature = "rest")]
pub use rest::{Rest, RestError};
pub use sluicegate_protocol::kafka_subscription_event::skipped::Cause as SkipCause;
pub use sluicegate_protocol::{
    Header, Isolation, KafkaMessage, PartitionOffset, ProduceRecord, ProducerState, Reason, Schema,
    SchemaChoice, SchemaType, TimestampType, schema_choice,
};
pub use subscribe::{Filter, Source, Subscribe};
pub use subscription::{Delivery, SubscribedTopic, Subscription, Update};
pub use table::{Table, TableChange};
#[cfg(feature = "tls")]
pub use tls::Tls;
pub use url::printable_url;
pub use walk::Walk;
pub use writer::{Account, Store, WriteError, Writer};

#[cfg(test)]
mod tests;

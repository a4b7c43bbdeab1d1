//! A client of the pub/sub protocol: Kafka over one WebSocket.
//!
//! 1. [`Client::builder`] opens the WebSocket, or says with a [`ConnectError`] who refused it
//! 2. [`Client::fetch`], [`Client::list_offset`] and [`Client::ping`] send a command each and wait for its answer;
//!    any number of tasks may share a client, and no answer waits for another
//! 3. [`Client::walk`] reads a partition from an offset on, batch after batch
//! 4. [`Client::produce`] writes records, and says of each where it is or why it is not
//! 5. [`Client::close`] ends the session in both directions
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use sluicegate_client::{At, Client};
//!
//! let client = Client::connect("ws://127.0.0.1:8080/pubsub").await?;
//! let start = client.list_offset("orders", 0, At::Earliest).await?.unwrap_or(0);
//! let mut walk = client.walk("orders", 0, start);
//! for message in walk.next_batch().await? {
//!     println!("{}: {:?}", message.offset, message.value);
//! }
//! client.close().await?;
//! # Ok(())
//! # }
//! ```

#![warn(clippy::arithmetic_side_effects)]

mod builder;
mod chunked;
mod client;
mod connection;
mod error;
mod pending;
mod produce;
#[cfg(feature = "tls")]
mod tls;
mod walk;

pub use builder::Builder;
pub use client::{At, Client};
pub use error::{ConnectError, Error};
pub use produce::{RecordError, Written};
pub use sluicegate_protocol::{Header, KafkaMessage, ProduceRecord};
pub use walk::Walk;

#[cfg(test)]
mod tests;

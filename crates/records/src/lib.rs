//! Encodes Kafka record batches as the protobuf bytes of `KafkaFetchResp`: one copy and no allocation per record.
//!
//! 1. [`Encoder::encode`]: walks the entries of one partition's Fetch response
//! 2. `entry`: parses the header of a batch or of an older message, checks its length and checksum
//! 3. `compression`: decompresses its records into a bounded buffer
//! 4. `record`: parses one record after the other in place
//! 5. `message`: appends a record to the output as a `KafkaMessage`
//!
//! [`encode_batch`] is the reverse, for records to write.
//!
//! Only format version 2 is supported (KIP-98, Kafka 0.11 and later). Messages of versions 0 and 1 are an error with the offset after them. Transaction markers are not encoded, nor are the records of aborted
//! transactions ([`AbortedTransaction`]) if the caller lists them.

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod batch;
mod compression;
mod cursor;
mod encoder;
mod entry;
mod error;
mod message;
mod record;
#[cfg(test)]
mod tests;

#[cfg(test)]
extern crate self as sluicegate_records; // in invariants, which fuzz targets have, too

pub use batch::{BatchProducer, BatchRecord, encode_batch};
pub use encoder::{AbortedTransaction, Encoded, Encoder, Limits};
pub use error::{Corruption, RecordFault, RecordsError};
pub use message::first_message;

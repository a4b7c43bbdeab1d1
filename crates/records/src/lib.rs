//! Kafka record batches in, the protobuf bytes of `KafkaFetchResp` out: one copy per record, no allocation per record.
//!
//! 1. [`Encoder::encode`] walks the batches of one partition, as a broker's Fetch response holds them
//! 2. `batch`: the header of a batch is read, its length and checksum are checked
//! 3. `compression`: the records section of a compressed batch goes through a bounded buffer
//! 4. `record`: one record after the other is parsed in place
//! 5. `message`: a record becomes a `KafkaMessage` at the end of the output
//!
//! Only format version 2 is read (KIP-98, Kafka 0.11 and later); messages of versions 0 and 1 (`old`) are an error that names
//! the offset after them. Isolation is "read uncommitted": records of open and
//! aborted transactions are encoded, the markers that end transactions are not.

#![warn(clippy::arithmetic_side_effects)]

mod batch;
mod compression;
mod cursor;
mod encoder;
mod error;
mod message;
mod old;
mod record;

pub use encoder::{Encoded, Encoder, Limits};
pub use error::{Corruption, RecordFault, RecordsError};

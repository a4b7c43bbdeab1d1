//! Ways to write records.

use std::collections::HashMap;
use std::sync::Mutex;

use rdkafka::producer::FutureProducer;

/// The settings of a write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Write {
    /// The batches' compression.
    pub codec: Codec,
    /// Maximum records in a batch; by default librdkafka's.
    pub batch: Option<usize>,
    /// Waits for so many records, of at most 8 MiB together.
    pub fills: bool,
    /// Writes in one transaction with this outcome; by default in none.
    pub transaction: Option<Outcome>,
}

/// The compression of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Codec {
    /// None.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd,
}

/// End of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Committed.
    Commit,
    /// Aborted; its records stay in the log.
    Abort,
}

/// Cached producers: a new one needs half a second to get its producer id.
pub(super) type Producers = Mutex<HashMap<Write, FutureProducer>>;

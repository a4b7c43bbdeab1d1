//! Ways to write records.

use std::collections::HashMap;
use std::sync::Mutex;

use rdkafka::producer::FutureProducer;

/// How it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Write {
    /// The batches' compression.
    pub codec: Codec,
    /// Records in a batch, at most; librdkafka's default where `None`.
    pub batch: Option<usize>,
    /// Written in one transaction of this outcome; in none where `None`.
    pub transaction: Option<Outcome>,
}

/// The codecs that batches may have.
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

/// How a transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Its records count.
    Commit,
    /// Its records stay in the log, marked as void.
    Abort,
}

/// Those that are kept for the next write: a new one takes half a second to get its producer id.
pub(super) type Producers = Mutex<HashMap<Write, FutureProducer>>;

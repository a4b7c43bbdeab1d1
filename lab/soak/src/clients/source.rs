//! The topic or the streams that clients read.

use std::sync::Arc;

use bytes::Bytes;

#[derive(Debug, Clone)]
pub(crate) enum Source {
    Topic(Arc<str>),
    /// Streams whose names begin like this, each of which stands for a partition.
    Streams(&'static str),
}

impl Source {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Topic(topic) => topic,
            Self::Streams(streams) => streams,
        }
    }

    /// The offset of the first record.
    pub(crate) fn first(&self) -> i64 {
        match self {
            Self::Topic(_) => 0,
            Self::Streams(_) => 1,
        }
    }

    /// The keys with these numbers in each partition, for filters.
    pub(crate) fn keys(&self, partitions: i32, numbers: impl Iterator<Item = u64>) -> Vec<Bytes> {
        let keys = numbers.map(key);
        match self {
            Self::Topic(_) => keys.map(Bytes::from).collect(),
            Self::Streams(names) => keys
                .flat_map(|key| {
                    (0..partitions).map(move |number| format!("{}.{key}", stream(names, number)).into())
                })
                .collect(),
        }
    }
}

/// The key of a record, or the last part of a message's subject.
pub(crate) fn key(number: u64) -> String {
    format!("k{number}")
}

/// The stream that stands for a partition of the streams whose names begin like this.
pub(crate) fn stream(streams: &str, partition: i32) -> String {
    format!("{streams}-{partition}")
}

/// The partition that a stream stands for.
pub(crate) fn partition_of(stream: &str) -> i32 {
    stream.rsplit_once('-').and_then(|(_, number)| number.parse().ok()).unwrap()
}

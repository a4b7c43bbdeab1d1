//! Names of streams, each of which stands for a partition.

/// The topic that is checked record by record, and the beginning of the names of such streams.
pub(super) const CHECKED: &str = "checked";

/// The stream that stands for a partition of these streams.
pub(super) fn stream(streams: &str, partition: i32) -> String {
    format!("{streams}-{partition}")
}

/// The partition that a stream stands for.
pub(super) fn partition_of(stream: &str) -> i32 {
    stream.rsplit_once('-').and_then(|(_, number)| number.parse().ok()).unwrap()
}

//! Names of streams, each of which stands for a partition.

/// The stream that stands for a partition.
pub(super) fn stream(partition: i32) -> String {
    format!("{STREAMS}{partition}")
}

/// The partition that a stream stands for.
pub(super) fn partition_of(stream: &str) -> i32 {
    stream.strip_prefix(STREAMS).and_then(|number| number.parse().ok()).unwrap()
}

const STREAMS: &str = "checked-";

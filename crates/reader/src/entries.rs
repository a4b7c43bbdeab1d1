//! Messages, as the entries of a shared log.

use sluicegate_records::first_message;
use sluicegate_shared_log::{ClusterLogs, Entry};

pub(crate) fn first_entry(messages: &[u8]) -> Option<Entry> {
    let (position, len) = first_message(messages)?;
    Some(Entry { position, len })
}

/// The most that is kept of an answer, in bytes.
pub(crate) fn max_kept(logs: &ClusterLogs) -> usize {
    MAX_KEPT.min(logs.max_bytes() / 4)
}

/// The most that is kept of an answer with large batches, in bytes: so that reads at random places do not decompress a
/// batch again and again.
pub(crate) fn max_expensive(logs: &ClusterLogs) -> usize {
    (logs.max_bytes() / 4).min(MAX_EXPENSIVE)
}

/// As much as the largest batch has decompressed.
const MAX_EXPENSIVE: usize = 32 * 1024 * 1024;

/// More than the largest batch that producers send by default, 1 MiB.
const MAX_KEPT: usize = 2 * 1024 * 1024;

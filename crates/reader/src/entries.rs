//! Messages, as the entries of a shared log.

use sluicegate_records::first_message;
use sluicegate_shared_log::{Chunk, ClusterLogs, Entry};

use crate::fetch::{Fetch, Fetched};

/// Whether a fetch waits for more records than these.
pub(crate) fn is_too_small(read: &Chunk, fetch: &Fetch<'_>) -> bool {
    read.is_too_small(fetch.min_bytes.min(fetch.max_bytes), fetch.max_records)
}

/// Whether a fetch that fills its result goes on after these. Half is enough: a copy to fill it would cost more than the next fetch.
pub(crate) fn is_half_empty(read: &Chunk, fetch: &Fetch<'_>) -> bool {
    fetch.fill && read.is_too_small(fetch.max_bytes / 2, fetch.max_records)
}

/// The first `max_records` of a chunk; 0: all.
pub(crate) fn fetched(chunk: Chunk, max_records: usize) -> Fetched {
    let Chunk { entries: messages, count, next: next_offset, ends, .. } =
        chunk.first_entries(max_records, first_entry);
    Fetched { messages, count, next_offset, ends }
}

pub(crate) fn first_entry(messages: &[u8]) -> Option<Entry> {
    let (position, len) = first_message(messages)?;
    Some(Entry { position, len })
}

/// The most that is kept of an answer, in bytes.
pub(crate) fn max_kept(logs: &ClusterLogs) -> usize {
    MAX_KEPT.min(logs.max_bytes() / 4)
}

/// The most that is kept of an answer with large batches, in bytes: so that reads at random places do not decompress a batch again and again.
pub(crate) fn max_expensive(logs: &ClusterLogs) -> usize {
    (logs.max_bytes() / 4).min(MAX_EXPENSIVE)
}

/// As much as the largest batch has decompressed.
const MAX_EXPENSIVE: usize = 32 * 1024 * 1024;

/// More than the largest batch that producers send by default, 1 MiB.
const MAX_KEPT: usize = 2 * 1024 * 1024;

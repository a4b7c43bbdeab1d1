//! Messages, as the entries of a shared log.

use bytes::Bytes;
use sluicegate_records::first_message;
use sluicegate_shared_log::{Chunk, ClusterLogs, Entry};

use crate::fetch::{Fetch, Fetched};

/// Whether a fetch waits for more records than these.
pub(crate) fn is_too_small(read: &Chunk, fetch: &Fetch<'_>) -> bool {
    let enough = fetch.min_bytes.min(fetch.max_bytes).max(1);
    let has_all = fetch.max_records > 0 && read.count >= fetch.max_records;
    read.entries.len() < enough && !has_all
}

/// The first `max_records` of a chunk; 0: all.
pub(crate) fn fetched(chunk: Chunk, max_records: usize) -> Fetched {
    let Chunk { entries: mut messages, mut count, next: mut next_offset, ends, .. } = chunk;
    if max_records > 0 && max_records < count {
        let mut end = 0_usize;
        for _ in 0..max_records {
            let Some(entry) = messages.get(end..).and_then(first_entry) else { break };
            (end, next_offset) = (end.saturating_add(entry.len), entry.position.saturating_add(1));
        }
        // A small answer must not hold a large chunk.
        messages = Bytes::copy_from_slice(messages.get(..end).unwrap_or_default());
        count = max_records;
    }
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

/// More than the largest batch that producers send by default, 1 MiB.
const MAX_KEPT: usize = 2 * 1024 * 1024;

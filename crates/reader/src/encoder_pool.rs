//! Encodes the batches of answers: small ones at once, large ones in turns.

use std::future::pending;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::available_parallelism;

use bytes::Bytes;
use sluicegate_fair_share::{Holder, Places};
use sluicegate_records::{AbortedTransaction, Encoded, Encoder, Limits, RecordsError, first_message};
use sluicegate_shared_log::{ClusterLogs, Entry};
use tokio::task::spawn_blocking;

use parking_lot::Mutex;

/// Encoders of all clusters.
///
/// A small batch can decompress to a large one, which takes a thread for tens of milliseconds. So what is larger than
/// 512 KiB, stored or decompressed, is encoded on half of the cores, and clusters and their clients take turns: no read
/// waits behind more than one of each other client. Memory of each turn: the decompressed batch of up to 32 MiB, as
/// much again for zstd, and the output.
#[derive(Debug, Clone)]
pub struct EncoderPool {
    /// Idle encoders, kept for their decompression buffers; at most [`MAX_IDLE`], each with a few MiB if batches are
    /// compressed.
    idle: Arc<Mutex<Vec<Encoder>>>,
    places: Arc<Places>,
}

/// The batches of an answer, and which of their records to encode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Encoding {
    pub(crate) records: Bytes,
    pub(crate) aborted: Vec<AbortedTransaction>,
    /// The offset of the first record.
    pub(crate) from: i64,
    pub(crate) limits: Limits,
    /// The output of a turn: what was expensive to encode is kept for longer reads. At least that of `limits`.
    pub(crate) max_kept: usize,
}

/// The encoded records of an answer.
pub(crate) type EncodedRecords = Result<(Encoded, Vec<u8>), RecordsError>;

impl EncoderPool {
    /// A pool that uses half of the cores, one at least.
    pub fn new() -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        Self { idle: Arc::default(), places: Places::new((cores / 2).max(1)) }
    }

    /// Encodes an answer for this client of this cluster.
    ///
    /// # Cancel safety
    /// A drop leaves the queue. An encoding that has begun keeps its place until it ends.
    pub(crate) async fn encode(&self, holder: Holder, encoding: Encoding) -> EncodedRecords {
        if let Some(encoded) = self.encode_small(&encoding, SMALL) {
            return encoded;
        }
        let place = self.places.acquire(holder).await;
        let pool = self.clone();
        let encoded = spawn_blocking(move || {
            let limits = Limits {
                max_bytes: encoding.limits.max_bytes.max(encoding.max_kept),
                max_batch_bytes: encoding.limits.max_batch_bytes.min(MAX_BATCH),
                ..encoding.limits
            };
            let encoded = pool.encode_now(&encoding, limits);
            drop(place);
            encoded
        });
        match encoded.await {
            Ok(encoded) => encoded,
            Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
            // The runtime ends, and this call with it.
            Err(_) => pending().await,
        }
    }

    /// Encodes an answer at once; `None` if it, or its first batch when decompressed, is larger than `small` bytes.
    pub(crate) fn encode_small(&self, encoding: &Encoding, small: usize) -> Option<EncodedRecords> {
        let max = encoding.limits.max_batch_bytes;
        if encoding.records.len() > small {
            return None;
        }
        match self.encode_now(encoding, Limits { max_batch_bytes: small.min(max), ..encoding.limits }) {
            Err(RecordsError::BatchTooLarge { .. }) if max > small => None,
            encoded => Some(encoded),
        }
    }

    pub(crate) fn encode_now(&self, encoding: &Encoding, limits: Limits) -> EncodedRecords {
        let Encoding { records, aborted, from, .. } = encoding;
        let idle = self.idle.lock().pop();
        let mut encoder = idle.unwrap_or_default();
        // Uncompressed records take a little more room in the result.
        let room = records.len().saturating_add(records.len() / 8).min(limits.max_bytes);
        let mut messages = Vec::with_capacity(room);
        let encoded = encoder.encode_committed(records, *from, &limits, aborted, &mut messages);
        let mut idle = self.idle.lock();
        if idle.len() < MAX_IDLE {
            idle.push(encoder);
        }
        Ok((encoded?, messages))
    }
}

impl Default for EncoderPool {
    fn default() -> Self {
        Self::new()
    }
}

/// The first of encoded messages, as the entry of a shared log.
pub fn first_entry(messages: &[u8]) -> Option<Entry> {
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
    (logs.max_bytes() / 4).min(MAX_BATCH)
}

/// More than the largest batch that producers send by default, 1 MiB.
const MAX_KEPT: usize = 2 * 1024 * 1024;

/// Answers and batches of so many bytes are encoded at once: within a millisecond or two.
const SMALL: usize = 512 * 1024;

/// The decompressed records of one batch, in bytes: Kafka's producers send at most 1 MiB by default, compressed.
const MAX_BATCH: usize = 32 * 1024 * 1024;

/// An encoder is in use only while a thread encodes: more idle ones than threads are of no use.
const MAX_IDLE: usize = 16;

#[cfg(test)]
mod tests;

//! Encodes the batches of a partition.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use crate::compression::{Codec, Decompressor, Failure};
use crate::cursor::Cursor;
use crate::entry::{Batch, Entry, OldMessage, Parsed};
use crate::message::Message;
use crate::record::Record;
use crate::{Corruption, RecordFault, RecordsError};

/// Encodes records, and keeps its buffers for decompression from call to call.
///
/// It holds at most 8 MiB between calls, and nothing before the first compressed batch. During a call it takes up to
/// twice [`Limits::max_batch_bytes`], and the codec's window: as much again for zstd, 12 MiB for lz4.
#[derive(Debug)]
pub struct Encoder {
    decompressor: Decompressor,
}

/// The limits of one [`Encoder::encode`], in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The output of one call. Soft: the first record is always encoded.
    pub max_bytes: usize,
    /// Key, value and headers of one record, with 32 extra bytes per header. Hard: a larger record is an error.
    pub max_record_bytes: usize,
    /// The decompressed records of one batch. Hard: a larger batch is an error, and decompression stops at the limit.
    pub max_batch_bytes: usize,
}

/// The result of one [`Encoder::encode`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoded {
    /// The number of appended records.
    pub count: usize,
    /// The offset for the next call, never below the requested one. It follows the last encoded record, or the last
    /// complete batch if that was read to its end, so that ranges without records are skipped.
    pub next_offset: i64,
    /// Whether [`Limits::max_bytes`] was reached before the last record.
    pub full: bool,
    /// Set if the last batch is truncated, as in Fetch responses: the bytes that it needs at least. The number comes
    /// from the batch, unchecked and up to 2 GiB: check it before a fetch of that size.
    pub truncated: Option<usize>,
}

impl Encoder {
    /// An encoder without buffers.
    pub fn new() -> Self {
        Self { decompressor: Decompressor::new() }
    }

    /// Appends the records from offset `from` on to `out`, as entries of `KafkaFetchResp.messages`.
    ///
    /// `records` are the batches of one partition from a Fetch response; the last one can be truncated. Control batches
    /// are skipped. Calls that continue at [`Encoded::next_offset`] neither skip nor repeat a record.
    ///
    /// # Errors
    /// The first requested record cannot be encoded; `out` is unchanged. If records precede the fault, they are the
    /// result, and the next call fails.
    pub fn encode(
        &mut self,
        records: &[u8],
        from: i64,
        limits: &Limits,
        out: &mut Vec<u8>,
    ) -> Result<Encoded, RecordsError> {
        self.encode_committed(records, from, limits, &[], out)
    }

    /// As [`Encoder::encode`], without the records of `aborted` transactions, which the same Fetch response lists
    /// (isolation level read_committed).
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    pub fn encode_committed(
        &mut self,
        records: &[u8],
        from: i64,
        limits: &Limits,
        aborted: &[AbortedTransaction],
        out: &mut Vec<u8>,
    ) -> Result<Encoded, RecordsError> {
        let encoded = Encoded { count: 0, next_offset: from, full: false, truncated: None };
        let mut answer = Answer { start: out.len(), out, limits, encoded };
        let walked = self.walk(records, Aborted::new(aborted), &mut answer);
        self.decompressor.release();
        match walked {
            Err(error) if answer.encoded.count == 0 => Err(error),
            Ok(()) | Err(_) => Ok(answer.encoded),
        }
    }

    fn walk(
        &mut self,
        mut rest: &[u8],
        mut aborted: Aborted,
        answer: &mut Answer<'_>,
    ) -> Result<(), RecordsError> {
        let mut min_offset = 0;
        while !rest.is_empty() {
            let (entry, after) = match Entry::parse(rest, min_offset)? {
                Parsed::Whole(entry, after) => (entry, after),
                Parsed::Truncated { needs } => {
                    answer.encoded.truncated = Some(needs);
                    return Ok(());
                }
            };
            rest = after;
            let batch = match entry {
                Entry::Batch(batch) => batch,
                Entry::Old(message) => {
                    min_offset = message.next_offset;
                    if message.next_offset > answer.encoded.next_offset {
                        return Err(old_format(message, rest));
                    }
                    continue;
                }
            };
            min_offset = batch.next_offset;
            let is_aborted = aborted.has(&batch);
            if batch.is_control() && is_aborted && self.is_abort(&batch, answer.limits)? {
                aborted.ended(batch.producer_id);
            }
            if batch.next_offset <= answer.encoded.next_offset {
                continue;
            }
            if !batch.is_control() && !is_aborted && self.encode_batch(&batch, answer)?.is_break() {
                answer.encoded.full = true;
                return Ok(());
            }
            answer.encoded.next_offset = batch.next_offset;
        }
        Ok(())
    }

    fn encode_batch(
        &mut self,
        batch: &Batch<'_>,
        answer: &mut Answer<'_>,
    ) -> Result<ControlFlow<()>, RecordsError> {
        let corrupt = |source| RecordsError::Corrupt { base_offset: batch.base_offset, source };
        let count = batch.record_count;
        let mut records = Cursor::new(self.decompress(batch, answer.limits.max_batch_bytes)?);
        let trailing = |left| corrupt(Corruption::Trailing { left, count });
        let mut min_delta = 0;
        for index in 0..count {
            let malformed = |fault| corrupt(Corruption::Record { index, count, fault });
            let record = Record::read(&mut records).map_err(malformed)?;
            // Offsets increase, so each record must leave room for those after it. A count that is too large thus fails
            // at the first record, not at one that no later call requests.
            let unread = count.saturating_sub(index).saturating_sub(1);
            let max = batch.last_offset_delta.saturating_sub(unread);
            let delta = record.offset_delta;
            if delta < min_delta || delta > max {
                return Err(malformed(RecordFault::Offset { delta, min: min_delta, max }));
            }
            min_delta = delta.saturating_add(1);
            // Before the last record, so that the next call fails as well.
            if unread == 0 && records.left() > 0 {
                return Err(trailing(records.left()));
            }
            // Cannot saturate: the batch's last offset is larger and has been computed.
            let offset = batch.base_offset.saturating_add(delta.into());
            if offset < answer.encoded.next_offset {
                continue;
            }
            if answer.append(offset, batch, &record)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        match records.left() {
            0 => Ok(ControlFlow::Continue(())),
            left => Err(trailing(left)),
        }
    }

    /// Whether a control batch aborts a transaction. Its only record has a key of two numbers: a version, and 0 for an
    /// abort. Compaction can leave none.
    fn is_abort(&mut self, batch: &Batch<'_>, limits: &Limits) -> Result<bool, RecordsError> {
        if batch.record_count == 0 {
            return Ok(false);
        }
        let corrupt = |source| RecordsError::Corrupt { base_offset: batch.base_offset, source };
        let malformed = |fault| corrupt(Corruption::Record { index: 0, count: batch.record_count, fault });
        let mut records = Cursor::new(self.decompress(batch, limits.max_batch_bytes)?);
        let record = Record::read(&mut records).map_err(malformed)?;
        Ok(record.key.is_some_and(|key| key.get(2..4) == Some(&[0, 0])))
    }

    fn decompress<'a>(&'a mut self, batch: &Batch<'a>, max: usize) -> Result<&'a [u8], RecordsError> {
        let Batch { base_offset, next_offset, records, .. } = *batch;
        let number = batch.codec();
        let codec = Codec::from_number(number)
            .ok_or(RecordsError::UnsupportedCodec { base_offset, codec: number })?;
        let len = records.len();
        self.decompressor.decompress(codec, records, max).map_err(|failure| match failure {
            Failure::TooLarge => RecordsError::BatchTooLarge { base_offset, next_offset, len, max },
            Failure::Invalid(source) => {
                let source = Corruption::Compression { codec: codec.name(), len, source };
                RecordsError::Corrupt { base_offset, source }
            }
        })
    }
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

/// The error for `first`, with the offset after all old messages at the front of `rest`.
fn old_format(first: OldMessage, mut rest: &[u8]) -> RecordsError {
    let OldMessage { offset, magic, mut next_offset } = first;
    while let Ok(Parsed::Whole(Entry::Old(message), after)) = Entry::parse(rest, next_offset) {
        (next_offset, rest) = (message.next_offset, after);
    }
    RecordsError::OldFormat { offset, magic, next_offset }
}

/// The output of one call.
struct Answer<'a> {
    out: &'a mut Vec<u8>,
    /// The length of `out` at the start of the call.
    start: usize,
    limits: &'a Limits,
    encoded: Encoded,
}

impl Answer<'_> {
    /// Breaks if the record does not fit.
    #[inline]
    fn append(
        &mut self,
        offset: i64,
        batch: &Batch<'_>,
        record: &Record<'_>,
    ) -> Result<ControlFlow<()>, RecordsError> {
        // Cannot saturate: there is a batch whose next offset is not smaller.
        let next_offset = offset.saturating_add(1);
        let (len, max) = (record.len(), self.limits.max_record_bytes);
        if len > max {
            return Err(RecordsError::RecordTooLarge { offset, next_offset, len, max });
        }
        let timestamp = batch.timestamp(record.timestamp_delta);
        let message = Message::new(offset, timestamp, batch.has_log_append_time(), record);
        let appended = self.out.len().saturating_sub(self.start).saturating_add(message.len());
        if self.encoded.count > 0 && appended > self.limits.max_bytes {
            return Ok(ControlFlow::Break(()));
        }
        message.write(self.out);
        self.encoded.count = self.encoded.count.saturating_add(1);
        self.encoded.next_offset = next_offset;
        Ok(ControlFlow::Continue(()))
    }
}

/// An aborted transaction, as Fetch responses list them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// The producer that aborted it.
    pub producer_id: i64,
    /// The offset of its first record.
    pub first_offset: i64,
}

/// The aborted transactions that are open at a position of the log.
#[derive(Debug)]
pub(crate) struct Aborted {
    /// Transactions that begin later, the last one first.
    coming: Vec<AbortedTransaction>,
    /// The producers of those that have begun and not ended.
    open: BTreeSet<i64>,
}

impl Aborted {
    pub(crate) fn new(transactions: &[AbortedTransaction]) -> Self {
        let mut coming = transactions.to_vec();
        coming.sort_unstable_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
        Self { coming, open: BTreeSet::new() }
    }

    /// Whether the next batch of the log belongs to an aborted transaction.
    pub(crate) fn has(&mut self, batch: &Batch<'_>) -> bool {
        while let Some(begun) = self.coming.pop_if(|coming| coming.first_offset < batch.next_offset) {
            self.open.insert(begun.producer_id);
        }
        batch.is_transactional() && self.open.contains(&batch.producer_id)
    }

    /// The producer's transaction has been aborted: its later records belong to another one.
    pub(crate) fn ended(&mut self, producer_id: i64) {
        self.open.remove(&producer_id);
    }
}

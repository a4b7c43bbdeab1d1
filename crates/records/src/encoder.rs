//! The walk over a partition's batches, and what it leaves behind.

use std::ops::ControlFlow;

use crate::{
    Corruption, RecordFault, RecordsError,
    batch::{Batch, Parsed},
    compression::{Codec, Decompressor, Failure},
    cursor::Cursor,
    message::Message,
    old::OldMessage,
    record::Record,
};

/// Encodes records, with buffers for decompression that it keeps from call to call.
///
/// Between calls it holds at most 8 MiB, and nothing before the first compressed batch. Within a call it takes up to
/// twice [`Limits::max_batch_bytes`] and the window of the codec: that much again for zstd, 12 MiB for lz4.
#[derive(Debug)]
pub struct Encoder {
    decompressor: Decompressor,
}

/// Bounds of one [`Encoder::encode`], all in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// What one call appends. Soft: the first record is always encoded.
    pub max_bytes: usize,
    /// Key, value and headers of one record, each header with 32 bytes more than it has. Hard: a larger one is an error.
    pub max_record_bytes: usize,
    /// The records of one compressed batch, decompressed. Hard: a batch of more is an error, and no more than that
    /// is ever decompressed.
    pub max_batch_bytes: usize,
}

/// What one [`Encoder::encode`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoded {
    /// Records appended.
    pub count: usize,
    /// Where to read on; never before the asked offset. After the last encoded record, or after the last whole batch
    /// where that was consumed to its end, so that ranges without a record of a user's are passed by.
    pub next_offset: i64,
    /// There are more records, but [`Limits::max_bytes`] is reached.
    pub full: bool,
    /// The bytes end inside a batch, as they may in a Fetch response; it needs at least so many. That is what the
    /// batch says about itself, unchecked and up to 2 GiB: bound it before fetching as much.
    pub truncated: Option<usize>,
}

impl Encoder {
    /// An encoder that has no buffer yet.
    pub fn new() -> Self {
        Self { decompressor: Decompressor::new() }
    }

    /// Appends each record at `from` or later to `out`, as an entry of `KafkaFetchResp.messages`.
    ///
    /// `records` is what a broker returned for one partition: whole batches, of which the last may be cut off.
    /// Control batches are passed by. Nothing is skipped and nothing repeated when the next call asks for
    /// [`Encoded::next_offset`].
    ///
    /// # Errors
    /// When the first record that is wanted cannot be had; `out` is then as before. Where records come before the
    /// fault they are the result, and the next call meets the fault.
    pub fn encode(
        &mut self,
        records: &[u8],
        from: i64,
        limits: &Limits,
        out: &mut Vec<u8>,
    ) -> Result<Encoded, RecordsError> {
        let encoded = Encoded { count: 0, next_offset: from, full: false, truncated: None };
        let mut answer = Answer { start: out.len(), out, limits, encoded };
        let walked = self.walk(records, &mut answer);
        self.decompressor.release();
        match walked {
            Err(error) if answer.encoded.count == 0 => Err(error),
            Ok(()) | Err(_) => Ok(answer.encoded),
        }
    }

    fn walk(&mut self, mut rest: &[u8], answer: &mut Answer<'_>) -> Result<(), RecordsError> {
        let mut min_offset = 0;
        while !rest.is_empty() {
            let batch = match Batch::parse(rest, min_offset)? {
                Parsed::Whole(batch, after) => {
                    rest = after;
                    batch
                }
                Parsed::Old(message, after) => {
                    rest = after;
                    min_offset = message.next_offset;
                    if message.next_offset > answer.encoded.next_offset {
                        return Err(old_format(message, rest));
                    }
                    continue;
                }
                Parsed::CutOff { needs } => {
                    answer.encoded.truncated = Some(needs);
                    return Ok(());
                }
            };
            min_offset = batch.next_offset;
            if batch.next_offset <= answer.encoded.next_offset {
                continue;
            }
            if !batch.is_control() && self.encode_batch(&batch, answer)?.is_break() {
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
            // As offsets increase, each record leaves room for those after it: a count that is too large is a fault of
            // the first record, not of one that nobody asks for again.
            let unread = count.saturating_sub(index).saturating_sub(1);
            let max = batch.last_offset_delta.saturating_sub(unread);
            let delta = record.offset_delta;
            if delta < min_delta || delta > max {
                return Err(malformed(RecordFault::Offset { delta, min: min_delta, max }));
            }
            min_delta = delta.saturating_add(1);
            // In front of the last record, so that the next call meets the fault as well.
            if unread == 0 && records.left() > 0 {
                return Err(trailing(records.left()));
            }
            // Cannot saturate: the batch's last offset is larger and has been computed.
            let offset = batch.base_offset.saturating_add(delta.into());
            if offset < answer.encoded.next_offset {
                continue;
            }
            if answer.append(offset, batch.timestamp(record.timestamp_delta), &record)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        match records.left() {
            0 => Ok(ControlFlow::Continue(())),
            left => Err(trailing(left)),
        }
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

/// The error of `first`, which names the offset after all old messages at the front of `rest`.
fn old_format(first: OldMessage, mut rest: &[u8]) -> RecordsError {
    let OldMessage { offset, magic, mut next_offset } = first;
    while let Ok(Parsed::Old(message, after)) = Batch::parse(rest, next_offset) {
        (next_offset, rest) = (message.next_offset, after);
    }
    RecordsError::OldFormat { offset, magic, next_offset }
}

/// The output of one call.
struct Answer<'a> {
    out: &'a mut Vec<u8>,
    /// Where this call began to append.
    start: usize,
    limits: &'a Limits,
    encoded: Encoded,
}

impl Answer<'_> {
    /// Breaks, without the record, when it no longer fits.
    #[inline]
    fn append(
        &mut self,
        offset: i64,
        timestamp: i64,
        record: &Record<'_>,
    ) -> Result<ControlFlow<()>, RecordsError> {
        // Cannot saturate: there is a batch whose next offset is not smaller.
        let next_offset = offset.saturating_add(1);
        let (len, max) = (record.len(), self.limits.max_record_bytes);
        if len > max {
            return Err(RecordsError::RecordTooLarge { offset, next_offset, len, max });
        }
        let message = Message::new(offset, timestamp, record);
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

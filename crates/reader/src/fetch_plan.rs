//! The requests of one fetch, as a value without sockets or a clock.

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use sluicegate_records::{Encoded, Limits, RecordsError};
use sluicegate_shared_log::{Chunk, Ends, Version};
use tokio::time::Instant;

use crate::api::FetchAnswer;
use crate::attempt::{Reply, Role};
use crate::encoder_pool::{EncodedRecords, Encoding};
use crate::error::{ConnectionError, ErrorCode, ReadError};
use crate::skip_cache::SkipCache;
use crate::topic_partition::TopicPartition;

/// One fetch. It requests records until there is one to deliver, the log ends, or [`MAX_SKIPPED`] bytes held none.
///
/// If messages of an old format come first, the error names the offset at which readable records follow.
pub(crate) struct FetchPlan<'a> {
    skip_cache: &'a SkipCache,
    target: TopicPartition<'a>,
    /// The offset of the caller.
    requested: i64,
    limits: Limits,
    /// As [`Encoding::max_kept`].
    max_kept: usize,
    /// The offset of the next request, `requested` or more.
    offset: i64,
    /// The log of the last answer, or of the range in the cache.
    version: Option<Version>,
    /// Whether the log has not been shorter than expected before.
    may_restart: bool,
    /// The size of the next answer.
    room: usize,
    /// Bytes of batches that held nothing to deliver.
    skipped: usize,
    /// Skipped bytes that were not taken by [`FetchPlan::take_skipped`].
    uncounted: usize,
    /// The ends of the log in the last answer.
    ends: Ends,
    /// Offset and format version of the first message of an old format.
    old: Option<(i64, i8)>,
}

/// A request for records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordsFrom {
    pub(crate) offset: i64,
    pub(crate) max_bytes: usize,
}

/// The next thing to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Request(RecordsFrom),
    /// Encode the records, and pass the result to [`FetchPlan::encoded`] with the answer.
    Encode(Encoding, FetchAnswer),
    /// A part of the log was skipped. Go on with [`FetchPlan::request`] once it is counted.
    Skipped,
    Done(Chunk),
}

impl<'a> FetchPlan<'a> {
    pub(crate) fn new(
        skip_cache: &'a SkipCache,
        target: TopicPartition<'a>,
        requested: i64,
        (asked, limits, max_kept): (usize, Limits, usize),
        now: Instant,
    ) -> Self {
        let mut plan = Self {
            skip_cache,
            target,
            requested,
            limits,
            max_kept,
            offset: requested,
            version: None,
            may_restart: true,
            room: asked.saturating_add(BATCH),
            skipped: 0,
            uncounted: 0,
            ends: Ends::UNKNOWN,
            old: None,
        };
        plan.catch_up(now);
        plan
    }

    /// Goes on after what other fetches have skipped meanwhile.
    pub(crate) fn catch_up(&mut self, now: Instant) {
        if let Some((end, version)) = self.skip_cache.get(self.target, self.offset, now)
            && self.version.is_none_or(|known| known == version)
        {
            (self.offset, self.version) = (end, Some(version));
        }
    }

    pub(crate) fn target(&self) -> TopicPartition<'a> {
        self.target
    }

    /// The version of the log in the last answer.
    pub(crate) fn version(&self) -> Option<Version> {
        self.version
    }

    /// The request for the records from the current offset on.
    pub(crate) fn request(&self) -> RecordsFrom {
        let max_bytes = self.room.min(self.max_records());
        RecordsFrom { offset: self.offset, max_bytes }
    }

    /// The step that follows the answer to a request.
    pub(crate) fn next(
        &mut self,
        answer: Result<(FetchAnswer, Version), ReadError>,
    ) -> Result<Step, ReadError> {
        let has_skipped = self.offset > self.requested;
        let (answer, version) = match answer {
            // The skipped batches were not of this log.
            Ok((_, version)) if has_skipped && self.version != Some(version) => {
                self.version = Some(version);
                return Ok(self.restart());
            }
            Ok(answer) => answer,
            // The log has become shorter since the batches were skipped.
            Err(error) if has_skipped && self.may_restart && is_out_of_range(&error) => {
                self.may_restart = false;
                return Ok(self.restart());
            }
            Err(error) => return Err(self.locate(error)),
        };
        (self.version, self.ends) = (Some(version), answer.ends());
        let encoding = Encoding {
            records: answer.records.clone(),
            aborted: answer.aborted.clone(),
            from: self.offset,
            limits: self.limits,
            max_kept: self.max_kept,
        };
        Ok(Step::Encode(encoding, answer))
    }

    /// The step that follows the encoding of an answer.
    pub(crate) fn encoded(
        &mut self,
        now: Instant,
        answer: &FetchAnswer,
        encoded: EncodedRecords,
    ) -> Result<Step, ReadError> {
        let (encoded, messages) = match encoded {
            // Whole segments can be in the old format: the error must name an offset that can be read.
            Err(RecordsError::OldFormat { offset, magic, next_offset }) => {
                let first = *self.old.get_or_insert((offset, magic));
                self.offset = next_offset;
                return if self.skip(answer.records.len(), now) {
                    Err(old_format(first, next_offset))
                } else {
                    Ok(self.go_on())
                };
            }
            encoded => encoded?,
        };
        if let Some(first) = self.old
            && (encoded.count > 0 || encoded.truncated.is_none())
        {
            return Err(old_format(first, self.offset));
        }
        if encoded.count > 0 {
            return Ok(Step::Done(self.chunk(messages, &encoded, answer.ends())));
        }
        if encoded.next_offset > self.offset {
            self.offset = encoded.next_offset;
            if self.skip(answer.records.len(), now) {
                return Ok(Step::Done(self.nothing(answer.ends())));
            }
            return Ok(self.go_on());
        }
        if let Some(needed) = encoded.truncated {
            self.room = self.room_for(needed)?;
            return Ok(Step::Request(self.request()));
        }
        if !answer.records.is_empty() {
            let (len, offset) = (answer.records.len(), self.offset);
            let detail = format!("{len} bytes of batches, all before offset {offset}");
            return Err(undeliverable(ResponseError::CorruptMessage, detail));
        }
        Ok(Step::Done(self.nothing(answer.ends())))
    }

    /// Skipped bytes that are to be counted to the client. Few ones are left out: they cost no more than a request.
    pub(crate) fn take_skipped(&mut self) -> usize {
        if self.uncounted < WORTH_A_RANGE { 0 } else { std::mem::take(&mut self.uncounted) }
    }

    /// The result of a fetch that ends before it has found anything; `None` if nothing was skipped.
    pub(crate) fn so_far(&self) -> Option<Result<Chunk, ReadError>> {
        let has_skipped = self.skipped > 0 && self.offset > self.requested;
        has_skipped.then(|| match self.old {
            Some(first) => Err(old_format(first, self.offset)),
            None => Ok(self.nothing(self.ends)),
        })
    }

    fn chunk(&self, mut messages: Vec<u8>, encoded: &Encoded, ends: Ends) -> Chunk {
        // A slow client can hold the result for long: give back what it does not use.
        if messages.len() < messages.capacity().saturating_sub(messages.capacity() / 8) {
            messages.shrink_to_fit();
        }
        let Encoded { count, next_offset, .. } = *encoded;
        let (base, messages, ends) = (self.requested, Bytes::from(messages), ends.reaching(next_offset));
        Chunk { base, messages, count, next_offset, ends }
    }

    /// All that was read has no record to deliver.
    fn nothing(&self, ends: Ends) -> Chunk {
        Chunk { next_offset: self.offset, ..Chunk::nothing(self.requested, ends) }
    }

    fn go_on(&self) -> Step {
        if self.uncounted < WORTH_A_RANGE { Step::Request(self.request()) } else { Step::Skipped }
    }

    /// Starts over at the offset of the caller.
    fn restart(&mut self) -> Step {
        self.skip_cache.forget(self.target);
        self.offset = self.requested;
        self.old = None;
        Step::Request(self.request())
    }

    /// Counts skipped bytes, and makes room for more of them in the next answer. Whether they have reached the limit.
    fn skip(&mut self, bytes: usize, now: Instant) -> bool {
        self.room = self.room.max(self.room.saturating_mul(2).min(MAX_ROOM));
        self.skipped = self.skipped.saturating_add(bytes);
        self.uncounted = self.uncounted.saturating_add(bytes);
        // Messages of an old format are told to each client.
        if self.old.is_none()
            && self.skipped >= WORTH_A_RANGE
            && let Some(version) = self.version
        {
            let skipped = (self.requested, self.offset);
            self.offset = self.skip_cache.insert(self.target, skipped, version, now);
        }
        self.skipped >= MAX_SKIPPED
    }

    /// The room for a batch that did not fit, as its header announces it.
    fn room_for(&self, needed: usize) -> Result<usize, ReadError> {
        let max = self.max_records();
        if self.room < needed && needed <= max {
            return Ok(needed);
        }
        let offset = self.offset;
        let detail = format!("batch of {needed} bytes at offset {offset} exceeds the limit of {max}");
        Err(undeliverable(ResponseError::RecordListTooLarge, detail))
    }

    /// The largest batch that a response can hold.
    fn max_records(&self) -> usize {
        self.limits.max_batch_bytes.saturating_sub(ENVELOPE)
    }

    /// Adds the offset to errors that concern one.
    fn locate(&self, error: ReadError) -> ReadError {
        let offset = self.offset;
        match error {
            ReadError::Broker { code, .. } if code.0 == ResponseError::OffsetOutOfRange => {
                let detail = format!("offset {offset} is not within {}", self.target);
                ReadError::Broker { code, detail }
            }
            // A broker answers with a whole batch, however small the requested size.
            ReadError::Unanswered { cause: ConnectionError::TooLong { len, max, .. }, .. } => {
                let detail = format!(
                    "response of {len} bytes with the batch at offset {offset} exceeds the limit \
                     (receive.message.max.bytes = {max})"
                );
                undeliverable(ResponseError::RecordListTooLarge, detail)
            }
            other => other,
        }
    }
}

/// The meaning of a fetch response to a request for `offset`.
pub(crate) fn reply(answer: FetchAnswer, role: Role, offset: i64) -> Reply<FetchAnswer> {
    match (answer.error, answer.preferred_read_replica, role) {
        (Some(code), _, _) => Reply::Error(code),
        (None, Some(node), Role::Leader | Role::LeaderOnly) if answer.records.is_empty() => {
            Reply::Redirect(node)
        }
        // The leader has shown this offset to the reader: the replica's log end is not the partition's.
        (None, _, Role::Replica) if answer.high_watermark < offset && answer.records.is_empty() => {
            Reply::Behind
        }
        (None, _, _) => Reply::Success(answer),
    }
}

fn old_format((offset, magic): (i64, i8), next_offset: i64) -> ReadError {
    RecordsError::OldFormat { offset, magic, next_offset }.into()
}

fn undeliverable(code: ResponseError, detail: String) -> ReadError {
    ReadError::Log { code: ErrorCode(code), detail, cause: None }
}

fn is_out_of_range(error: &ReadError) -> bool {
    matches!(error, ReadError::Broker { code, .. } if code.0 == ResponseError::OffsetOutOfRange)
}

/// Room for the part of the first batch that precedes the requested offset: most producers' batch size, and some.
const BATCH: usize = 32 * 1024;

/// Room for the fields of a response besides its records.
pub(crate) const ENVELOPE: usize = 1024;

/// The most that is asked for behind skipped batches, in bytes: others often follow, and each request costs more than
/// its bytes.
const MAX_ROOM: usize = 1024 * 1024;

/// Bytes of batches without a record to deliver that are cached and counted. Fewer, such as the marker of a
/// transaction, cost no more than a request.
const WORTH_A_RANGE: usize = 64 * 1024;

/// Bytes of batches without a record to deliver that one fetch reads.
const MAX_SKIPPED: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests;

//! One fetch, from the first question to the answer's bytes.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use sluicegate_records::{Encoded, Limits, RecordsError};
use tokio::time::{Instant, sleep};

use crate::api::{FetchAnswer, FetchRequest};
use crate::ask::{Role, Source, Verdict, Whom, ask};
use crate::cluster::Cluster;
use crate::encoders::Encoders;
use crate::error::ErrorCode;
use crate::progress::Progress;
use crate::target::Target;
use crate::{ConnectionError, Fetched, ReadError};

/// A fetch under way.
pub(crate) struct Fetching<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) progress: &'a Progress,
    pub(crate) encoders: &'a Encoders,
    pub(crate) target: Target<'a>,
    /// The offset that was asked for.
    pub(crate) asked: i64,
    pub(crate) max_bytes: usize,
    /// Whether to wait without looking first.
    pub(crate) at_end: bool,
    /// Until when to wait for a first record.
    pub(crate) wait_until: Instant,
    /// Until when to have an answer.
    pub(crate) deadline: Instant,
}

impl Fetching<'_> {
    /// Reads on until there is a record to deliver, the log ends, or [`MAX_LOOK`] bytes held nothing. If records of an old format
    /// come first, the error says where the others begin.
    pub(crate) async fn run(self) -> Result<Fetched, ReadError> {
        let (mut offset, mut topic_id) = self.progress.get(self.target, self.asked, Instant::now());
        let mut may_restart = true;
        let mut room = self.max_bytes.saturating_add(BATCH);
        let mut looked: usize = 0;
        let mut old = None;
        let mut wait = if self.at_end { self.wait_left() } else { Duration::ZERO };
        loop {
            let passed_over = offset > self.asked;
            let answer = match self.ask(offset, room, wait).await {
                Ok(answer) if passed_over && answer.topic_id != topic_id => {
                    // Another topic has that name: what was passed over was not of this one.
                    topic_id = answer.topic_id;
                    (offset, wait, old) = (self.restart(), Duration::ZERO, None);
                    continue;
                }
                Ok(answer) => answer,
                Err(error) if passed_over && may_restart && is_out_of_range(&error) => {
                    // The log has become shorter since nothing was found up to here.
                    may_restart = false;
                    (offset, wait, old) = (self.restart(), Duration::ZERO, None);
                    continue;
                }
                Err(error) => return Err(self.locate(offset, error)),
            };
            topic_id = answer.topic_id;
            let mut messages = Vec::new();
            let encoded = match self.encode(&answer.records, offset, &mut messages) {
                // There are segments full of them: the error is to name an offset that can be read.
                Err(RecordsError::OldFormat { offset: first, magic, next_offset }) => {
                    let (first, magic) = *old.get_or_insert((first, magic));
                    (offset, wait) = (next_offset, Duration::ZERO);
                    looked = looked.saturating_add(answer.records.len());
                    if looked >= MAX_LOOK {
                        return Err(RecordsError::OldFormat { offset: first, magic, next_offset }.into());
                    }
                    continue;
                }
                encoded => encoded?,
            };
            if let Some((first, magic)) = old
                && (encoded.count > 0 || encoded.truncated.is_none())
            {
                return Err(RecordsError::OldFormat { offset: first, magic, next_offset: offset }.into());
            }
            if encoded.count > 0 {
                // An answer may be kept for as long as its client takes: let it be no larger than it has to.
                if messages.len() < messages.capacity() / 2 {
                    messages.shrink_to_fit();
                }
                let (count, next_offset) = (encoded.count, encoded.next_offset);
                return Ok(Fetched { messages: Bytes::from(messages), count, next_offset });
            }
            wait = Duration::ZERO;
            if encoded.next_offset > offset {
                offset = encoded.next_offset;
                looked = looked.saturating_add(answer.records.len());
                if looked >= MAX_LOOK {
                    self.progress.note(self.target, self.asked, (offset, topic_id), Instant::now());
                    return Ok(nothing(offset));
                }
            } else if let Some(needs) = encoded.truncated {
                room = self.room_for(offset, needs, room)?;
            } else if !answer.records.is_empty() {
                let detail = format!("{} bytes of batches, all before offset {offset}", answer.records.len());
                return Err(undeliverable(ResponseError::CorruptMessage, detail));
            } else {
                wait = self.wait_left();
                if wait.is_zero() {
                    return Ok(nothing(offset));
                }
            }
        }
    }

    async fn ask(&self, offset: i64, room: usize, wait: Duration) -> Result<FetchAnswer, ReadError> {
        let config = self.cluster.config();
        let max_bytes = room.min(config.max_response_bytes.saturating_sub(ENVELOPE));
        let request = |source: &Source, wait: Duration| FetchRequest {
            topic: self.target.topic(),
            topic_id: source.topic_id,
            partition: self.target.partition(),
            leader_epoch: source.leader_epoch,
            offset,
            max_bytes: i32::try_from(max_bytes).unwrap_or(i32::MAX),
            max_wait: i32::try_from(wait.as_millis()).unwrap_or(i32::MAX),
            rack: (source.role != Role::LeaderOnly).then(|| config.rack.clone()),
        };
        let put = |source: Source| async move {
            let broker = &source.broker;
            if !wait.is_zero() {
                let wait = self.wait_left();
                if let Some(answer) = broker.call_waiting(&request(&source, wait), wait).await? {
                    return Ok(answer);
                }
                // It cannot wait at the broker: look again a little later instead.
                sleep(wait.min(POLL)).await;
            }
            source.call(&request(&source, Duration::ZERO)).await
        };
        let judge = |answer: &FetchAnswer, role| judge(answer, role, offset);
        ask(self.cluster, self.target, Whom::Nearest, self.deadline, put, judge).await
    }

    /// The offset that was asked for, to look at everything from there again.
    fn restart(&self) -> i64 {
        self.progress.forget(self.target, self.asked);
        self.asked
    }

    fn wait_left(&self) -> Duration {
        self.wait_until.saturating_duration_since(Instant::now())
    }

    fn encode(&self, records: &[u8], offset: i64, messages: &mut Vec<u8>) -> Result<Encoded, RecordsError> {
        let config = self.cluster.config();
        let limits = Limits {
            max_bytes: self.max_bytes,
            max_record_bytes: config.max_record_bytes,
            max_batch_bytes: config.max_response_bytes,
        };
        // What is stored uncompressed takes about as much room in the answer.
        messages.reserve(records.len().min(self.max_bytes));
        self.encoders.with(|encoder| encoder.encode(records, offset, &limits, messages))
    }

    /// The room for a batch that did not fit, as much as it says it needs.
    fn room_for(&self, offset: i64, needs: usize, room: usize) -> Result<usize, ReadError> {
        let max = self.cluster.config().max_response_bytes.saturating_sub(ENVELOPE);
        if room < needs && needs <= max {
            return Ok(needs);
        }
        let detail = format!("batch of {needs} bytes at offset {offset} exceeds the limit of {max}");
        Err(undeliverable(ResponseError::RecordListTooLarge, detail))
    }

    /// Says where, in errors that are about an offset.
    fn locate(&self, offset: i64, error: ReadError) -> ReadError {
        match error {
            ReadError::Broker { code, .. } if code.0 == ResponseError::OffsetOutOfRange => {
                let detail = format!("offset {offset} is not within {}", self.target);
                ReadError::Broker { code, detail }
            }
            // A broker answers with a whole batch, however little was asked for.
            ReadError::Unanswered { cause: ConnectionError::TooLong { len, max, .. }, .. } => {
                let detail = format!(
                    "batch at offset {offset} comes in an answer of {len} bytes, which exceeds the limit of {max}"
                );
                undeliverable(ResponseError::RecordListTooLarge, detail)
            }
            other => other,
        }
    }
}

fn nothing(next_offset: i64) -> Fetched {
    Fetched { messages: Bytes::new(), count: 0, next_offset }
}

fn undeliverable(code: ResponseError, detail: String) -> ReadError {
    ReadError::Log { code: ErrorCode(code), detail, cause: None }
}

fn judge(answer: &FetchAnswer, role: Role, offset: i64) -> Verdict {
    match (answer.error, answer.nearer, role) {
        (Some(code), _, _) => Verdict::Refused(code),
        (None, Some(node), Role::Leader) if answer.records.is_empty() => Verdict::Elsewhere(node),
        // What a reader has seen of the leader is not yet here: this is no log end.
        (None, _, Role::Nearer) if answer.high_watermark < offset && answer.records.is_empty() => {
            Verdict::Behind
        }
        (None, _, _) => Verdict::Final,
    }
}

fn is_out_of_range(error: &ReadError) -> bool {
    matches!(error, ReadError::Broker { code, .. } if code.0 == ResponseError::OffsetOutOfRange)
}

/// Room for the part in front of the asked offset of the batch that holds it: most producers' default size, and some.
const BATCH: usize = 32 * 1024;

/// Room for what is around the records in a response.
const ENVELOPE: usize = 1024;

/// Bytes of batches without a record to deliver that one call looks through.
const MAX_LOOK: usize = 16 * 1024 * 1024;

/// How often a fetch looks that cannot wait at the broker.
const POLL: Duration = Duration::from_millis(100);

//! Messages that follow the last one of their subject: those of clients' producers, which a subject has once, however often
//! their commands are repeated, and those whose sequence must ascend.
//!
//! A header of the last message of a subject tells which producer has written it, and how it counted it. The next one is
//! written on condition that this is still the last one; whoever loses asks again. So bridges need not remember anything. On
//! a subject with messages of others, the message id has to do: the stream recognizes it for a while. Each message has both,
//! since others can write to the subject later. A sequence of its clients' own is in another header, and ascends in the same way.

use std::str::from_utf8;
use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::{HeaderName, HeaderValue, NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MESSAGE_ID};
use bytes::Bytes;
use sluicegate_backend::accounts::{Accounts, Claim, Kept, Known, Lives, Refusal, Step, Told, contended};
use sluicegate_backend::command::{Record, STREAM_SEQ};
use sluicegate_backend::delivery_reports::DeliveryReports;
use sluicegate_backend::write_queue::WriteTicket;
use sluicegate_backend::{Account, CommandError, Dedup, Fault, Written};
use sluicegate_fair_share::ClientKey;
use sluicegate_protocol::KafkaMessage;
use tokio::time::{Instant, sleep};

use super::batch::Batch;
use super::message::{Own, PRODUCER};
use super::{Enqueued, Writer, error};
use crate::api::{Api, Intake, MessageQuery};
use crate::error::{Incidents, printable};
use crate::stream_name::StreamName;
use crate::streams::StreamId;

/// A producer on a subject of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// None: messages without one.
    id: Option<i64>,
    stream: StreamId,
    /// As the stream has it.
    subject: String,
}

/// The last message of a subject, which is the producer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Last {
    epoch: i16,
    sequence: i32,
    /// Its sequence in the stream.
    at: i64,
}

/// The messages of one command.
struct Once {
    api: Arc<Api>,
    incidents: Arc<Incidents>,
    intake: Arc<Intake>,
    producers: Arc<Accounts<Key, Last>>,
    key: Key,
    /// None: their sequence alone counts.
    claim: Option<Claim>,
    /// The `Stream-Seq` of each, if it must ascend.
    sequence: Option<Bytes>,
    kept: Arc<Kept<Last>>,
    batch: Batch,
    count: usize,
    /// The number of messages whose report is known.
    done: usize,
}

/// The last message of a subject, of any writer.
struct Newest {
    /// Its sequence in the stream; 0: there is none. None: nobody can tell.
    at: Option<i64>,
    /// None: it is not the producer's, or does not tell.
    own: Option<Last>,
    /// Its `Stream-Seq`.
    sequence: Option<Bytes>,
}

impl Writer {
    /// See [`Backend::enqueue_once`](sluicegate_backend::Backend::enqueue_once) for an account, and
    /// [`Backend::enqueue_after`](sluicegate_backend::Backend::enqueue_after) for messages that ascend.
    ///
    /// # Cancel safety
    /// As [`Writer::enqueue`].
    pub(crate) async fn enqueue_once(
        &self,
        source: ClientKey,
        records: &[Record],
        account: Option<&Account>,
        ascends: bool,
    ) -> Result<Enqueued, CommandError> {
        let claim = account.map(|account| Claim::of(account, records.len())).transpose()?;
        let own = Own { producer: claim.is_some(), sequence: ascends };
        let ready = self.ready(records, &vec![None; records.len()]).await?;
        let accepted =
            records.iter().enumerate().map(|(index, record)| self.accept(source, index, record, &ready, own));
        let messages = accepted.collect::<Result<Vec<_>, _>>()?;
        let count = messages.len();
        let reports = DeliveryReports::new(count);
        let ids = messages.iter().map(|message| message.has_id).collect();
        let enqueued = Enqueued { reports: Arc::clone(&reports), ids, queued: count };
        let Some(record) = records.first() else { return Ok(enqueued) };
        let (message, stream) = self.message(record, &ready, own)?;
        let given = message.subject.as_str();
        let subject = ready.mapped.get(given).map_or(given, String::as_str).to_owned();
        let key = Key { id: account.map(|account| account.id), stream: stream.id.clone(), subject };
        let state = self.state.lock();
        if state.is_closed {
            return Err(CommandError::shutting_down());
        }
        let kept = self.producers.of(key.clone());
        let ticket = kept.sequencer.lock().issue();
        let once = Once {
            api: Arc::clone(&self.api),
            incidents: Arc::clone(&self.incidents),
            intake: Arc::clone(&stream.info.intake),
            producers: Arc::clone(&self.producers),
            key,
            claim,
            sequence: ascends.then(|| record.header(STREAM_SEQ).unwrap_or_default()),
            kept,
            batch: self.batch(messages, reports),
            count,
            done: 0,
        };
        self.tasks.spawn(once.write(ticket));
        Ok(enqueued)
    }
}

impl Once {
    async fn write(mut self, mut ticket: WriteTicket) {
        ticket.wait().await;
        let ended = self.run().await;
        drop(ticket);
        let Self { producers, key, kept, mut batch, .. } = self;
        producers.release(&key, kept);
        if let Err(error) = ended {
            batch.settle_all(|_| error.clone());
        }
    }

    /// Writes the messages, or finds them there.
    ///
    /// # Errors
    /// Those without a report are not written.
    async fn run(&mut self) -> Result<(), CommandError> {
        // Old knowledge does no harm to the next message: it is written on condition that it still holds.
        let remembered = self.kept.known.lock().take().filter(|_| self.sequence.is_none());
        let mut newest =
            remembered.filter(|last| self.step(Some(*last)) == Some(NEXT)).map(Newest::of_producer);
        for tries in 0..MAX_TRIES {
            sleep(PAUSE.saturating_mul(tries)).await;
            let last = match newest.take() {
                Some(newest) => newest,
                None => self.ask().await?,
            };
            let is_shared = last.own.is_none() && last.at != Some(0);
            match self.step(last.own) {
                None => {}
                Some(_) if is_shared && self.is_older_than(self.shared_window()) => {
                    return Err(self.refused(Refusal::Expired(None), true));
                }
                Some(_) if is_shared => {}
                Some(Step::Send { skip, .. }) => self.found(skip, last.own),
                Some(Step::Duplicate) => {
                    self.found(self.count, last.own);
                    return Ok(());
                }
                Some(Step::Refuse(refusal)) => return Err(self.refused(refusal, false)),
                Some(Step::Ask | Step::LookBack { .. }) => continue,
            }
            self.check_order(&last)?;
            // Messages of others may come between those of a producer that have ids.
            let after = last.at.filter(|_| !is_shared || self.sequence.is_some());
            if self.publish(after, !is_shared).await? {
                return Ok(());
            }
        }
        Err(match self.claim {
            Some(_) => contended(),
            None => error::overtaken(),
        })
    }

    /// Writes the messages without a report one after the other: the first one after the one with this sequence, if that is
    /// still the subject's last one. None: with their ids alone. False: it was not. `is_own`: the subject has no messages of
    /// others.
    ///
    /// # Errors
    /// One has failed, and those behind it are not written.
    async fn publish(&mut self, mut after: Option<i64>, is_own: bool) -> Result<bool, CommandError> {
        while self.done < self.count {
            let session = self.api.connection.session(self.batch.deadline()).await;
            let session = session.map_err(|error| error.into_command_error(&self.incidents))?;
            match self.batch.try_one(&session, self.done, self.headers(after)?).await {
                Ok(written) => {
                    after = after.map(|_| written.offset);
                    let last = self.claim.filter(|_| after.is_some()).map(|claim| Last {
                        epoch: claim.epoch,
                        sequence: self.sequence_in(claim),
                        at: written.offset,
                    });
                    *self.kept.known.lock() = last;
                    self.settle(written, is_own);
                }
                Err(error) => {
                    *self.kept.known.lock() = None;
                    if error::is_overtaken(&error) {
                        return Ok(false);
                    }
                    self.batch.settle(self.done, Err(error));
                    return Err(error::behind_another());
                }
            }
        }
        Ok(true)
    }

    /// Checks that the messages ascend after the subject's last one.
    ///
    /// # Errors
    /// They do not, or nobody can tell.
    fn check_order(&self, newest: &Newest) -> Result<(), CommandError> {
        let Some(given) = &self.sequence else { return Ok(()) };
        let refused = |message: String| Err(CommandError::new(Fault::OutOfOrder, 0, message));
        match (newest.at, &newest.sequence) {
            (Some(0), _) => Ok(()),
            (Some(_), Some(last)) if last < given => Ok(()),
            // The rest of a command follows its beginning.
            (Some(_), Some(last)) if last == given && self.done > 0 => Ok(()),
            (Some(_), Some(last)) => {
                let last = printable(&String::from_utf8_lossy(last));
                refused(format!("{STREAM_SEQ}: expected one after {last}, in the order of bytes"))
            }
            (Some(_), None) => refused(format!(
                "{STREAM_SEQ}: the last message of the subject has none: expected a subject all of whose messages have one"
            )),
            (None, _) => {
                let message = "the stream keeps no last message of each subject as it was written";
                Err(CommandError::new(Fault::Invalid, 0, format!("{STREAM_SEQ}: {message}")))
            }
        }
    }

    /// The next step of a producer if this is the subject's last message.
    fn step(&self, last: Option<Last>) -> Option<Step> {
        let claim = self.claim?;
        let claim = Claim { first: self.sequence_in(claim), ..claim };
        let known = |Last { epoch, sequence, .. }| Known { epoch, last: sequence, until: Instant::now() };
        let told = last.map_or(Told::Missing, |last| Told::Known(known(last)));
        Some(match claim.told(told, None, self.own_lives()) {
            // A message that the stream keeps for longer would be there.
            Step::LookBack { is_missing } => claim.looked_back(true, is_missing),
            step => step,
        })
    }

    fn is_older_than(&self, window: Duration) -> bool {
        self.claim.is_some_and(|claim| claim.age >= window)
    }

    /// The subject's last message, as the stream's leader has it now.
    async fn ask(&self) -> Result<Newest, CommandError> {
        let Key { id, stream, subject } = &self.key;
        if self.intake.last_kept.is_none() {
            return Ok(Newest { at: None, own: None, sequence: None });
        }
        let asked = async {
            self.api.message(StreamName::parse(&stream.name)?, MessageQuery::last_of(subject)).await
        };
        let message = asked.await.map_err(|error| error.into_error_of(&stream.name, &self.incidents))?;
        Ok(message.map_or(Newest { at: Some(0), own: None, sequence: None }, |message| Newest {
            at: Some(message.offset),
            own: id.and_then(|id| Last::of(&message, id)),
            sequence: own_header(&message, STREAM_SEQ).map(Bytes::copy_from_slice),
        }))
    }

    /// Reports that the next `count` messages are there. The last one is the subject's last one, if it is known to be.
    fn found(&mut self, count: usize, last: Option<Last>) {
        for _ in 0..count.min(self.count.saturating_sub(self.done)) {
            let sequence = self.claim.map(|claim| self.sequence_in(claim));
            let at = last.filter(|last| Some(last.sequence) == sequence).map_or(-1, |last| last.at);
            let last = last.map(|last| last.sequence).or(sequence);
            let dedup = Dedup { is_duplicate: true, window: self.own_window(), in_order: true, last };
            self.report(Written { offset: at, timestamp: -1, dedup: Some(dedup), ..Written::default() });
        }
    }

    /// Reports that the next message is written.
    fn settle(&mut self, written: Written, is_own: bool) {
        let dedup = self.claim.map_or(written.dedup, |claim| {
            let window = if is_own { self.own_window() } else { self.shared_window() };
            let is_duplicate = written.dedup.is_some_and(|dedup| dedup.is_duplicate);
            Some(Dedup { is_duplicate, window, in_order: is_own, last: Some(self.sequence_in(claim)) })
        });
        self.report(Written { dedup, ..written });
    }

    fn report(&mut self, written: Written) {
        self.batch.settle(self.done, Ok(written));
        self.done = self.done.saturating_add(1);
    }

    /// The producer's sequence of the next message.
    fn sequence_in(&self, claim: Claim) -> i32 {
        claim.first.saturating_add(i32::try_from(self.done).unwrap_or(i32::MAX))
    }

    /// The time after its first try for which a repeat is recognized by the subject's last message.
    fn own_window(&self) -> Duration {
        self.own_lives().kept().min(Dedup::UNLIMITED)
    }

    fn own_lives(&self) -> Lives {
        Lives::of(self.intake.last_kept.unwrap_or_default())
    }

    /// The same by its message id.
    fn shared_window(&self) -> Duration {
        Lives::of(self.intake.duplicate_window).kept()
    }

    fn refused(&self, refusal: Refusal, is_shared: bool) -> CommandError {
        refusal.into_error(|| match is_shared {
            true => format!(
                "the subject has messages of others, where a repeat is recognized for {:?}: nobody can tell whether an earlier \
                 try was written",
                self.shared_window()
            ),
            false => "the subject has no message of the producer: it has written none before this one, or the stream has \
                      removed it; begin with sequence 0, with messages that were never sent before"
                .to_owned(),
        })
    }

    /// The headers of the next message: with a condition and its producer if it is to follow the one with this sequence.
    fn headers(&self, after: Option<i64>) -> Result<HeaderMap, CommandError> {
        let Key { id, stream, subject } = &self.key;
        let mut headers = Vec::new();
        if let (Some(id), Some(claim)) = (id, self.claim) {
            let (epoch, sequence) = (claim.epoch, self.sequence_in(claim));
            headers.push((NATS_MESSAGE_ID, format!("{id:x}:{epoch}:{sequence}:{}:{subject}", stream.name)));
            if after.is_some() {
                headers.push((HeaderName::from_static(PRODUCER), format!("{id:x}.{epoch}.{sequence}")));
            }
        }
        headers.extend(after.map(|after| (NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, after.to_string())));
        let parsed = headers.into_iter().map(|(name, value)| Ok((name, value.parse::<HeaderValue>()?)));
        let parsed: Result<HeaderMap, async_nats::header::ParseHeaderValueError> = parsed.collect();
        // Subjects have no line breaks.
        parsed.map_err(|error| CommandError::new(Fault::Invalid, 0, error.to_string()))
    }
}

impl Newest {
    /// A message that is remembered.
    fn of_producer(last: Last) -> Self {
        Self { at: Some(last.at), own: Some(last), sequence: None }
    }
}

impl Last {
    /// None: the message is not the producer's, or comes from another stream.
    fn of(message: &KafkaMessage, id: i64) -> Option<Self> {
        let mut parts = from_utf8(own_header(message, PRODUCER)?).ok()?.split('.');
        if parts.next()? != format!("{id:x}") {
            return None;
        }
        let (epoch, sequence) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(Self { epoch, sequence, at: message.offset })
    }
}

/// A header of a message. None: it has none, or comes from another stream.
fn own_header<'a>(message: &'a KafkaMessage, name: &str) -> Option<&'a [u8]> {
    let value = |name: &str| message.headers.iter().find(|header| header.key.eq_ignore_ascii_case(name));
    if value(SOURCE).is_some() { None } else { value(name)?.value.as_deref() }
}

/// Servers add it to messages of another stream.
const SOURCE: &str = "Nats-Stream-Source";
const NEXT: Step = Step::Send { skip: 0, is_repeat: false, is_new: false };
/// Questions for one command.
const MAX_TRIES: u32 = 6;
/// The first pause after a lost race.
const PAUSE: Duration = Duration::from_millis(5);

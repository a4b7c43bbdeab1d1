//! Messages of clients' producers, which a subject has once, however often their commands are repeated.
//!
//! A header of the last message of a subject tells which producer has written it, and how it counted it. The next one is
//! written on condition that this is still the last one; whoever loses asks again. So bridges need not remember anything. On
//! a subject with messages of others, the message id has to do: the stream recognizes it for a while. Each message has both,
//! since others can write to the subject later.

use std::str::from_utf8;
use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::{HeaderName, HeaderValue, NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MESSAGE_ID};
use sluicegate_backend::accounts::{Claim, Kept, Known, Lives, Refusal, Step, Told, contended};
use sluicegate_backend::command::Record;
use sluicegate_backend::delivery_reports::DeliveryReports;
use sluicegate_backend::write_queue::WriteTicket;
use sluicegate_backend::{Account, CommandError, Dedup, Fault, Written};
use sluicegate_fair_share::ClientKey;
use sluicegate_protocol::KafkaMessage;
use tokio::time::{Instant, sleep};

use super::batch::Batch;
use super::message::PRODUCER;
use super::{Enqueued, Writer, error};
use crate::api::{Api, Intake, MessageQuery};
use crate::error::Incidents;
use crate::stream_name::StreamName;
use crate::streams::StreamId;

/// A producer on a subject of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    id: i64,
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
    key: Key,
    claim: Claim,
    kept: Arc<Kept<Last>>,
    batch: Batch,
    count: usize,
    /// The number of messages whose report is known.
    done: usize,
}

/// The last message of the subject.
enum Place {
    /// The producer's; None: there is no message at all.
    Own(Option<Last>),
    /// A message of others, or one that does not tell.
    Shared,
}

impl Writer {
    /// See [`Backend::enqueue_once`](sluicegate_backend::Backend::enqueue_once).
    ///
    /// # Cancel safety
    /// As [`Writer::enqueue`].
    pub(crate) async fn enqueue_once(
        &self,
        source: ClientKey,
        records: &[Record],
        account: &Account,
    ) -> Result<Enqueued, CommandError> {
        let claim = Claim::of(account, records.len())?;
        let ready = self.ready(records, &vec![None; records.len()]).await?;
        let accepted = records
            .iter()
            .enumerate()
            .map(|(index, record)| self.accept(source, index, record, &ready, true));
        let messages = accepted.collect::<Result<Vec<_>, _>>()?;
        let count = messages.len();
        let reports = DeliveryReports::new(count);
        let enqueued = Enqueued { reports: Arc::clone(&reports), ids: vec![true; count], queued: count };
        let Some(record) = records.first() else { return Ok(enqueued) };
        let (message, stream) = self.message(record, &ready, true)?;
        let given = message.subject.as_str();
        let subject = ready.mapped.get(given).map_or(given, String::as_str).to_owned();
        let key = Key { id: account.id, stream: stream.id.clone(), subject };
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
            key,
            claim,
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
        if let Err(error) = ended {
            self.batch.settle_all(|_| error.clone());
        }
    }

    /// Writes the messages, or finds them there.
    ///
    /// # Errors
    /// Those without a report are not written.
    async fn run(&mut self) -> Result<(), CommandError> {
        // Old knowledge does no harm to the next message: it is written on condition that it still holds.
        let remembered = self.kept.known.lock().take();
        let mut place = remembered.map(Some).filter(|last| self.step(*last) == NEXT).map(Place::Own);
        for tries in 0..MAX_TRIES {
            sleep(PAUSE.saturating_mul(tries)).await;
            let last = match place.take() {
                Some(place) => place,
                None => self.ask().await?,
            };
            let after = match last {
                Place::Shared if self.claim.age < self.shared_window() => None,
                Place::Shared => return Err(self.refused(Refusal::Expired(None), true)),
                Place::Own(last) => match self.step(last) {
                    Step::Send { skip, .. } => {
                        self.found(skip, last);
                        Some(last.map_or(0, |last| last.at))
                    }
                    Step::Duplicate => {
                        self.found(self.count, last);
                        return Ok(());
                    }
                    Step::Refuse(refusal) => return Err(self.refused(refusal, false)),
                    Step::Ask | Step::LookBack { .. } => continue,
                },
            };
            if self.publish(after).await? {
                return Ok(());
            }
        }
        Err(contended())
    }

    /// Writes the messages without a report one after the other: the first one after the one with this sequence, if that is
    /// still the subject's last one. None: with their ids alone. False: it was not.
    ///
    /// # Errors
    /// One has failed, and those behind it are not written.
    async fn publish(&mut self, mut after: Option<i64>) -> Result<bool, CommandError> {
        while self.done < self.count {
            let sequence = self.sequence();
            let session = self.api.connection.session(self.batch.deadline()).await;
            let session = session.map_err(|error| error.into_command_error(&self.incidents))?;
            match self.batch.try_one(&session, self.done, self.headers(sequence, after)?).await {
                Ok(written) => {
                    let last = Last { epoch: self.claim.epoch, sequence, at: written.offset };
                    after = after.map(|_| last.at);
                    *self.kept.known.lock() = after.map(|_| last);
                    let is_duplicate = written.dedup.is_some_and(|dedup| dedup.is_duplicate);
                    self.settle(last.at, is_duplicate, after.is_some(), sequence);
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

    /// The next step if this is the subject's last message.
    fn step(&self, last: Option<Last>) -> Step {
        let claim = Claim { first: self.sequence(), ..self.claim };
        let known = |Last { epoch, sequence, .. }| Known { epoch, last: sequence, until: Instant::now() };
        let told = last.map_or(Told::Missing, |last| Told::Known(known(last)));
        match claim.told(told, None, self.own_lives()) {
            // A message that the stream keeps for longer would be there.
            Step::LookBack { is_missing } => claim.looked_back(true, is_missing),
            step => step,
        }
    }

    /// The subject's last message, as the stream's leader has it now.
    async fn ask(&self) -> Result<Place, CommandError> {
        let Key { id, stream, subject } = &self.key;
        if self.intake.last_kept.is_none() {
            return Ok(Place::Shared);
        }
        let asked = async {
            self.api.message(StreamName::parse(&stream.name)?, MessageQuery::last_of(subject)).await
        };
        let message = asked.await.map_err(|error| error.into_error_of(&stream.name, &self.incidents))?;
        Ok(match message.map(|message| Last::of(&message, *id)) {
            None => Place::Own(None),
            Some(Some(last)) => Place::Own(Some(last)),
            Some(None) => Place::Shared,
        })
    }

    /// Reports that the next `count` messages are there. The last one is the subject's last one, if it is known to be.
    fn found(&mut self, count: usize, last: Option<Last>) {
        for _ in 0..count.min(self.count.saturating_sub(self.done)) {
            let sequence = self.sequence();
            let at = last.filter(|last| last.sequence == sequence).map_or(-1, |last| last.at);
            self.settle(at, true, true, last.map_or(sequence, |last| last.sequence));
        }
    }

    fn settle(&mut self, offset: i64, is_duplicate: bool, in_order: bool, last: i32) {
        let window = if in_order { self.own_window() } else { self.shared_window() };
        let dedup = Some(Dedup { is_duplicate, window, in_order, last: Some(last) });
        self.batch.settle(self.done, Ok(Written { offset, timestamp: -1, dedup, ..Written::default() }));
        self.done = self.done.saturating_add(1);
    }

    /// The producer's sequence of the next message.
    fn sequence(&self) -> i32 {
        self.claim.first.saturating_add(i32::try_from(self.done).unwrap_or(i32::MAX))
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

    /// The headers of a message: with a condition if it is to follow the one with this sequence.
    fn headers(&self, sequence: i32, after: Option<i64>) -> Result<HeaderMap, CommandError> {
        let Key { id, stream, subject } = &self.key;
        let Claim { epoch, .. } = self.claim;
        let message_id = format!("{id:x}:{epoch}:{sequence}:{}:{subject}", stream.name);
        let mut headers = vec![(NATS_MESSAGE_ID, message_id)];
        if let Some(after) = after {
            headers.push((HeaderName::from_static(PRODUCER), format!("{id:x}.{epoch}.{sequence}")));
            headers.push((NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, after.to_string()));
        }
        let parsed = headers.into_iter().map(|(name, value)| Ok((name, value.parse::<HeaderValue>()?)));
        let parsed: Result<HeaderMap, async_nats::header::ParseHeaderValueError> = parsed.collect();
        // Subjects have no line breaks.
        parsed.map_err(|error| CommandError::new(Fault::Invalid, 0, error.to_string()))
    }
}

impl Last {
    /// None: the message is not the producer's, or comes from another stream.
    fn of(message: &KafkaMessage, id: i64) -> Option<Self> {
        let value = |name: &str| message.headers.iter().find(|header| header.key.eq_ignore_ascii_case(name));
        if value(SOURCE).is_some() {
            return None;
        }
        let mut parts = from_utf8(value(PRODUCER)?.value.as_deref()?).ok()?.split('.');
        if parts.next()? != format!("{id:x}") {
            return None;
        }
        let (epoch, sequence) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(Self { epoch, sequence, at: message.offset })
    }
}

/// Servers add it to messages of another stream.
const SOURCE: &str = "Nats-Stream-Source";
const NEXT: Step = Step::Send { skip: 0, is_repeat: false, is_new: false };
/// Questions for one command.
const MAX_TRIES: u32 = 6;
/// The first pause after a lost race.
const PAUSE: Duration = Duration::from_millis(5);

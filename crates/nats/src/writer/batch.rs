//! The messages of one command, from the queue to their acknowledgements.

use std::sync::Arc;

use async_nats::HeaderMap;
use sluicegate_backend::delivery_reports::DeliveryReports;
use sluicegate_backend::write_queue::{QueuePermit, WriteTicket};
use sluicegate_backend::{CommandError, Dedup, DeliveryReport, Written};
use sluicegate_telemetry::metrics::{WriteFailure, WriteMetrics};
use tokio::time::{Instant, timeout_at};

use super::answer::{self, Answer};
use super::error::{self, LOST, SILENT, SLOW};
use super::message::Message;
use crate::api::Intake;
use crate::error::{Incidents, ReadError};
use crate::session::{self, Acknowledgements, Session};

/// Messages, in the order in which they are published.
pub(super) struct Batch {
    /// `None` if its report is known.
    messages: Vec<Option<Queued>>,
    /// The number of missing reports.
    missing: usize,
    context: Context,
}

/// The state that all messages of a batch share.
pub(super) struct Context {
    pub(super) reports: Arc<DeliveryReports<CommandError>>,
    /// When messages must be published and acknowledged.
    pub(super) deadline: Instant,
    /// The domain of their streams, if it is configured.
    pub(super) domain: Option<String>,
    pub(super) metrics: WriteMetrics,
    pub(super) incidents: Arc<Incidents>,
}

/// A message whose report is not known yet.
pub(super) struct Queued {
    /// The place of its report.
    pub(super) index: usize,
    pub(super) stream: Arc<str>,
    pub(super) intake: Arc<Intake>,
    /// `None` once it is published.
    pub(super) message: Option<Message>,
    /// Whether it has a message id, of its client or its producer.
    pub(super) has_id: bool,
    /// Whether another stream has stored it.
    pub(super) is_elsewhere: bool,
    /// The size of subject and payload.
    pub(super) bytes: usize,
    pub(super) since: Instant,
    /// Its room in the queue.
    pub(super) _permit: QueuePermit,
}

impl Queued {
    /// The error of a message that was sent and not acknowledged.
    fn unacknowledged(&self, cause: &str) -> CommandError {
        match self.is_elsewhere {
            true => error::elsewhere(&self.stream),
            false => error::unknown_outcome(0, cause, self.has_id),
        }
    }
}

impl Batch {
    pub(super) fn new(messages: Vec<Queued>, context: Context) -> Self {
        for _ in &messages {
            context.metrics.queued.inc();
        }
        Self { missing: messages.len(), messages: messages.into_iter().map(Some).collect(), context }
    }

    /// When messages must be published and acknowledged.
    pub(super) fn deadline(&self) -> Instant {
        self.context.deadline
    }

    /// Publishes the messages when it is their turn, and waits for their acknowledgements.
    pub(super) async fn write(mut self, session: Arc<Session>, mut turn: WriteTicket) {
        turn.wait().await;
        let acknowledgements = self.publish(&session).await;
        drop(turn);
        self.receive(acknowledgements).await;
    }

    /// Publishes all messages. If one cannot be sent, those after it are not sent either: they must not overtake.
    async fn publish(&mut self, session: &Arc<Session>) -> Acknowledgements {
        let mut publisher = session.publisher();
        for position in 0..self.messages.len() {
            let queued = self.messages.get_mut(position).and_then(Option::as_mut);
            let Some(message) = queued.and_then(|queued| queued.message.take()) else { continue };
            let Message { subject, headers, payload, .. } = message;
            let sent = publisher.send(position, subject, headers, payload);
            let cause = match timeout_at(self.context.deadline, sent).await {
                Ok(Ok(())) => continue,
                Ok(Err(_)) => LOST,
                Err(_) => SLOW,
            };
            for position in position..self.messages.len() {
                self.settle(position, Err(error::not_sent(cause)));
            }
        }
        publisher.into_acknowledgements()
    }

    async fn receive(&mut self, mut acknowledgements: Acknowledgements) {
        while self.missing > 0 {
            match self.next_report(&mut acknowledgements).await {
                Ok((position, report)) => self.settle(position, report),
                Err(cause) => self.settle_all(|queued| queued.unacknowledged(cause)),
            }
        }
    }

    /// Publishes one message with these headers of ours, before anything else of the batch, and waits for its report. It can be
    /// published again.
    pub(super) async fn try_one(
        &mut self,
        session: &Arc<Session>,
        position: usize,
        own: HeaderMap,
    ) -> DeliveryReport {
        let message = self.messages.get(position).and_then(Option::as_ref);
        let message = message.and_then(|queued| queued.message.clone()).ok_or_else(error::behind_another)?;
        let Message { subject, mut headers, payload, .. } = message;
        for (name, values) in own.iter() {
            values.iter().for_each(|value| headers.append(name.clone(), value.clone()));
        }
        let mut publisher = session.publisher();
        match timeout_at(self.context.deadline, publisher.send(position, subject, headers, payload)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(error::not_sent(LOST)),
            Err(_) => return Err(error::not_sent(SLOW)),
        }
        let mut acknowledgements = publisher.into_acknowledgements();
        match self.next_report(&mut acknowledgements).await {
            Ok((_, report)) => report,
            Err(cause) => {
                let queued = self.messages.get(position).and_then(Option::as_ref);
                Err(queued.map_or_else(error::behind_another, |queued| queued.unacknowledged(cause)))
            }
        }
    }

    /// The next report, and which message it is about; or why there will be none.
    async fn next_report(
        &mut self,
        acknowledgements: &mut Acknowledgements,
    ) -> Result<(usize, DeliveryReport), &'static str> {
        loop {
            match timeout_at(self.context.deadline, acknowledgements.next()).await {
                Ok(Some((position, answer))) => {
                    if let Some(report) = self.report(position, answer) {
                        acknowledgements.done(position);
                        return Ok((position, report));
                    }
                }
                Ok(None) => return Err(LOST),
                Err(_) => return Err(SILENT),
            }
        }
    }

    /// The result of a message in an answer; `None` if it has none.
    fn report(&mut self, position: usize, answer: session::Answer) -> Option<DeliveryReport> {
        let Queued { stream, intake, has_id, is_elsewhere, .. } =
            self.messages.get_mut(position)?.as_mut()?;
        let message = match answer {
            Ok(message) => message,
            // One cause for each stream: clients choose subjects, and each cause is logged.
            Err(ReadError::Denied { .. }) => {
                let denied = ReadError::Denied { subject: format!("a subject of stream {stream}") };
                return Some(Err(denied.into_command_error(&self.context.incidents)));
            }
            Err(error) => return Some(Err(error.into_command_error(&self.context.incidents))),
        };
        Some(match answer::parse(&message, stream, self.context.domain.as_deref())? {
            Answer::Stored { sequence, is_duplicate } => {
                let dedup = has_id.then_some(Dedup {
                    is_duplicate,
                    window: intake.duplicate_window,
                    in_order: false,
                    last: None,
                });
                Ok(Written { offset: sequence, timestamp: -1, dedup, ..Written::default() })
            }
            // Its own stream can have it too: that of another domain, or somebody who answers for it.
            Answer::Elsewhere => {
                *is_elsewhere = true;
                return None;
            }
            Answer::Refused(error) => Err(error::refused(&error, *has_id)),
            Answer::NoResponder => Err(error::no_responder()),
        })
    }

    /// Reports what became of messages that have no report.
    pub(super) fn settle_all(&mut self, error: impl Fn(&Queued) -> CommandError) {
        for position in 0..self.messages.len() {
            if let Some(Some(queued)) = self.messages.get(position) {
                let error = error(queued);
                self.settle(position, Err(error));
            }
        }
    }

    /// Reports what became of a message, unless that was reported before.
    pub(super) fn settle(&mut self, position: usize, report: DeliveryReport) {
        let Some(queued) = self.messages.get_mut(position).and_then(Option::take) else { return };
        let Context { reports, metrics, .. } = &self.context;
        self.missing = self.missing.saturating_sub(1);
        metrics.queued.dec();
        match &report {
            Ok(_) => metrics.written(queued.bytes, queued.since.elapsed()),
            Err(error) => metrics.failed(WriteFailure::of(error.fault)),
        }
        let index = queued.index;
        // Its room is free when the client learns of it.
        drop(queued);
        reports.settle(index, report);
    }
}

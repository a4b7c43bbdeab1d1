//! Writes for clients whose records were rejected: one command at a time, over a producer of its own, so that no batch
//! holds records of two commands.
//!
//! A broker rejects batches as a whole. A client that writes invalid records without pause would otherwise make
//! everybody's records of its partitions fail.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join_all, maybe_done};
use futures_util::poll;
use sluicegate_backend::command::Record;
use sluicegate_backend::write_queue::Queue;
use sluicegate_fair_share::{ClientKey, Places};
use sluicegate_telemetry::metrics::WriteMetrics;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;

use super::error::WriteError;
use super::producer::ReportTarget;
use super::slot::Slot;

/// Writes commands one after the other. Clients take turns.
pub(super) struct Apart {
    pub(super) slot: Slot,
    queue: Arc<Queue>,
    metrics: WriteMetrics,
    turns: Arc<Places>,
    commands: TaskTracker,
}

/// A record that has its room in the queue.
pub(super) type Accepted = (Record, ReportTarget);

impl Apart {
    pub(super) fn new(slot: Slot, queue: Arc<Queue>, metrics: WriteMetrics) -> Self {
        Self { slot, queue, metrics, turns: Places::new(1), commands: TaskTracker::new() }
    }

    /// Queues the records of a command. They are written in the client's turn, once its records in shared batches have
    /// their reports: its commands keep their order.
    pub(super) async fn enqueue(self: &Arc<Self>, source: ClientKey, records: Vec<Accepted>) {
        let (apart, turns) = (Arc::clone(self), Arc::clone(&self.turns));
        let mut turn = Box::pin(maybe_done(async move { turns.acquire(source.into()).await }));
        // Enters the queue at once: tasks can start in another order than they were spawned.
        let _entered = poll!(turn.as_mut());
        self.commands.spawn(async move {
            turn.as_mut().await;
            let _settled = timeout(MAX_TURN, apart.queue.shared_settled(source)).await;
            apart.write(records).await;
        });
    }

    /// Writes records one by one, so that each gets a report of its own, and the rest together once [`ONE_BY_ONE`] is
    /// over.
    async fn write(&self, records: Vec<Accepted>) {
        let (mut until, mut open, mut full) = (None, Vec::new(), false);
        for (record, mut target) in records {
            let (reports, index) = (Arc::clone(&target.reports), target.index);
            let (settled, mut report) = oneshot::channel();
            target.settled = Some(settled);
            let sent = match full {
                true => Err(WriteError::queue_full()),
                false => self.send(&record, target).await,
            };
            if let Err(error) = sent {
                full |= error.is_queue_full();
                self.metrics.failed(error.failure());
                reports.settle(index, Err(error));
                continue;
            }
            // A new producer takes half a second, or more on a busy machine, for its first record.
            let patience =
                until.map_or(MAX_TURN, |until: Instant| until.saturating_duration_since(Instant::now()));
            if patience.is_zero() || timeout(patience, &mut report).await.is_err() {
                open.push(report);
            }
            until = until.or_else(|| Instant::now().checked_add(ONE_BY_ONE));
        }
        let _reports = timeout(MAX_TURN, join_all(open)).await;
    }

    async fn send(&self, record: &Record, target: ReportTarget) -> Result<(), WriteError> {
        let state = self.slot.producer().await?;
        let producer = state.working().ok_or_else(WriteError::queue_full)?;
        super::send(producer, record, target)
    }

    /// See [`Writer::close`](super::Writer::close).
    pub(super) async fn close(&self, by: Instant) {
        self.commands.close();
        let flush_at = by.checked_sub(FLUSH).unwrap_or(by);
        let _written = timeout_at(flush_at, self.commands.wait()).await;
        self.slot.close(by).await;
    }
}

/// The part of a command's turn, after its first report, in which each record waits for the one before.
const ONE_BY_ONE: Duration = Duration::from_millis(250);
/// The longest that others wait for a command's reports. Its later records could share a batch with theirs, but a
/// partition without a leader does not hold up the others.
const MAX_TURN: Duration = Duration::from_secs(3);
/// The time at shutdown for records that were handed to librdkafka.
const FLUSH: Duration = Duration::from_secs(1);

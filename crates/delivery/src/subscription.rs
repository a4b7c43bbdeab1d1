//! The runtime of a subscription's cursors: it performs their effects, and decides nothing.

mod requests;

use std::sync::Arc;
use std::time::SystemTime;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use sluicegate_backend::{CommandError, Log};
use sluicegate_telemetry::metrics::{Kind, OpenSubscription, RouteMetrics};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep_until};

use super::cursor::{Answer, Cursor, Event, Moment};
use super::cursors::{Cursors, Effect, Turn};
use super::item::Item;
use super::lag::Progress;
use super::subscribe::Subscribe;
use crate::cluster::{Cluster, Partitions};
use crate::grant::{Held, Standing};
use crate::quota::Usage;

/// A client's positions in logs. It reads with [`Subscription::ready`], and moves on with [`Subscription::take`].
pub struct Subscription {
    cluster: Arc<Cluster>,
    cursors: Cursors,
    standing: Arc<Standing>,
    /// The rights that the cursors know.
    held: Arc<Held>,
    /// Each gives an event. A cursor without a turn has one of its own.
    waits: FuturesUnordered<BoxFuture<'static, Wake>>,
    /// The counters of the client's route.
    metrics: Arc<RouteMetrics>,
    /// The positions as samples of the lag see them.
    progress: Arc<Progress>,
    /// The person's use of the route's quota.
    usage: Option<Arc<Usage>>,
    _place: Option<OwnedSemaphorePermit>,
    _counted: OpenSubscription,
}

/// The end of a wait.
enum Wake {
    /// An event of the cursor with this index.
    Cursor(usize, Event),
    /// The question of this cursor is answered.
    Answered(usize, Answer),
    /// The question of this cursor is not answered yet.
    Unanswered(usize, BoxFuture<'static, Wake>),
    /// The topic may have new partitions.
    Grown(Arc<str>, watch::Receiver<Partitions>),
    /// Positions that have moved without a delivery must be told.
    Progress,
}

impl Subscription {
    /// Finds where each partition begins. The first item says so.
    ///
    /// # Errors
    /// One of the topics cannot be read now, or is not there; or there are too many partitions.
    ///
    /// # Cancel safety
    /// A drop abandons the reads.
    pub(crate) async fn open(
        cluster: &Arc<Cluster>,
        metrics: &Arc<RouteMetrics>,
        standing: &Arc<Standing>,
        mut subscribe: Subscribe,
    ) -> Result<Self, CommandError> {
        let resolved = cluster.measured(Kind::Subscribe, subscribe.resolve(cluster)).await?;
        let waits = FuturesUnordered::new();
        for (source, resolved) in std::mem::take(&mut subscribe.sources).iter().zip(&resolved) {
            // A stream stays one partition.
            if source.is_whole() && cluster.system.has_partitions {
                let known = resolved.partitions.iter().map(|(partition, _)| *partition).collect();
                let watched = cluster.watch_partitions(&resolved.topic, known);
                waits.push(grown(Arc::clone(&resolved.topic), watched).boxed());
            }
        }
        let mut cursors = Cursors::new(subscribe, cluster.system, Arc::clone(&cluster.selections));
        cursors.add(resolved);
        let held = standing.held();
        cursors.client.grant(held.rights.read.as_ref());
        let progress = Arc::<Progress>::default();
        progress.add(cursors.all().iter().map(Cursor::position));
        cluster.subscriptions.add(&progress);
        Ok(Self {
            cluster: Arc::clone(cluster),
            cursors,
            standing: Arc::clone(standing),
            held,
            waits,
            metrics: Arc::clone(metrics),
            progress,
            usage: None,
            _place: None,
            _counted: cluster.metrics.subscription(),
        })
    }

    /// This subscription, whose deliveries are counted to a person, and which has one of the person's places.
    pub(crate) fn counted_to(self, usage: Option<Arc<Usage>>, place: Option<OwnedSemaphorePermit>) -> Self {
        Self { usage, _place: place, ..self }
    }

    /// The positions as others see them.
    pub(crate) fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// The number of partitions.
    pub fn partitions(&self) -> usize {
        self.cursors.all().len()
    }

    /// Waits for something to tell: at most `max_bytes` of records, but at least one, of the partition whose turn it
    /// is.
    ///
    /// # Cancel safety
    /// A drop has no effect.
    pub async fn ready(&mut self, max_bytes: usize) {
        if let Some((client, work)) = self.cursors.client.uncounted() {
            self.cluster.scans().take(client, work).await;
            self.cursors.client.counted();
        }
        if let Some(usage) = self.usage.clone().filter(|usage| !self.has_items() && !usage.delivers_now()) {
            // Records do not wait in memory for their client's quota.
            self.put_back();
            usage.may_deliver().await;
        }
        loop {
            // An answer of a broker can wake many.
            while let Some(Some(wake)) = self.waits.next().now_or_never() {
                self.wake(wake);
            }
            while let Some(turn) = self.cursors.next_turn(max_bytes, moment()) {
                self.read(turn);
            }
            if self.cursors.is_ready() {
                return;
            }
            match self.waits.next().await {
                Some(wake) => self.wake(wake),
                None => std::future::pending().await,
            }
        }
    }

    /// The records that [`Subscription::take`] gives, at most: their bytes and their number.
    pub fn in_hand(&self) -> (usize, usize) {
        self.cursors.in_hand().map_or((0, 0), |(_, read)| (read.messages.len(), read.count))
    }

    /// Whether there is something to tell that needs no credit.
    pub fn has_items(&self) -> bool {
        !self.cursors.client.items.is_empty()
    }

    /// Drops what was read: it is read again when the client has room.
    pub fn put_back(&mut self) {
        self.cursors.put_back(moment());
    }

    /// The next item, if [`Subscription::ready`] has found one. None if there is nothing to tell after all.
    pub fn take(&mut self) -> Option<Item> {
        self.follow_rights();
        let log = self.cursors.in_hand().map(|(log, _)| log);
        let version = log.map(|log| self.cluster.backend().version(log)).unwrap_or_default();
        let item = self.cursors.take(version, moment());
        self.perform();
        item
    }

    /// Lets the cursors know the rights as they are now: a renewal can have replaced them.
    fn follow_rights(&mut self) {
        let held = self.standing.held();
        if !Arc::ptr_eq(&held, &self.held) {
            self.cursors.client.grant(held.rights.read.as_ref());
            self.held = held;
        }
    }

    /// Looks for records that are known without a question.
    fn read(&mut self, Turn { index, fetch }: Turn) {
        let Some(log) = self.log(index) else { return };
        let backend = self.cluster.backend();
        let (version, recent) = (backend.version(log), backend.recent(log, fetch));
        self.handle(index, Event::Turn { fetch, version, recent });
    }

    fn log(&self, index: usize) -> Option<Log<'_>> {
        Some(self.cursors.all().get(index)?.log())
    }

    fn wake(&mut self, wake: Wake) {
        match wake {
            Wake::Cursor(index, event) => self.handle(index, event),
            Wake::Answered(index, answer) => {
                let version = self.log(index).map(|log| self.cluster.backend().version(log));
                self.handle(index, Event::Answered(answer, version.unwrap_or_default()));
            }
            Wake::Unanswered(index, answer) => {
                self.waits.push(answer);
                self.handle(index, Event::Unanswered);
            }
            Wake::Grown(topic, mut watched) => {
                let known = self.partitions();
                self.cursors.grow(&topic, &watched.borrow_and_update());
                self.progress.add(self.cursors.all().iter().skip(known).map(Cursor::position));
                self.waits.push(grown(topic, watched).boxed());
            }
            Wake::Progress => self.cursors.tell_progress(),
        }
    }

    fn handle(&mut self, index: usize, event: Event) {
        self.cursors.handle(index, event, moment());
        self.perform();
    }

    fn perform(&mut self) {
        while let Some(effect) = self.cursors.next_effect() {
            match effect {
                Effect::Ask { index, question, slow } => self.ask(index, question, slow),
                Effect::WaitAtEnd { index, until, lingers } => self.wait_at_end(index, until, lingers),
                Effect::Sleep { index, until } => {
                    let due = sleep_until(until).map(move |()| Wake::Cursor(index, Event::Due));
                    self.waits.push(due.boxed());
                }
                Effect::SleepBeforeProgress { until } => {
                    self.waits.push(sleep_until(until).map(|()| Wake::Progress).boxed());
                }
                Effect::Moved { index } => {
                    if let Some(cursor) = self.cursors.all().get(index) {
                        self.progress.set(index, cursor.next, cursor.end);
                    }
                }
                Effect::Delivered { records, bytes } => {
                    self.metrics.delivered(records, bytes);
                    self.usage.iter().for_each(|usage| usage.delivered(bytes));
                }
            }
        }
    }
}

fn moment() -> Moment {
    Moment { at: Instant::now(), date: SystemTime::now(), jitter: fastrand::f64() }
}

async fn grown(topic: Arc<str>, mut watched: watch::Receiver<Partitions>) -> Wake {
    if watched.changed().await.is_err() {
        // The cluster is gone.
        std::future::pending::<()>().await;
    }
    Wake::Grown(topic, watched)
}

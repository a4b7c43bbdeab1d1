//! The runtime of a subscription's cursors: it performs their steps, and decides nothing.

mod begin;
mod group;
mod requests;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use sluicegate_backend::{CommandError, Fault, Log, Version};
use sluicegate_telemetry::metrics::{Kind, OpenSubscription, Outcome, RouteMetrics};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep_until};

use self::begin::{Begun, begin, begin_again};
use self::group::{place, regrouped};
use super::cursor::{Answer, Cursor, Event, Moment, Step};
use super::cursors::{Cursors, Turn};
use super::item::{Item, Place};
use super::lag::Progress;
use super::membership::Membership;
use super::snapshot::{Snapshot, Stop};
use super::subscribe::Subscribe;
use crate::cluster::{Cluster, Partitions, UsedTable};
use crate::grant::{Held, Standing};
use crate::quota::Usage;

/// A client's positions in logs. It reads with [`Subscription::ready`], and moves on with [`Subscription::take`].
pub struct Subscription {
    cluster: Arc<Cluster>,
    cursors: Cursors,
    /// The part before the records of the cursors. None: it is complete, or there is none.
    snapshot: Option<Snapshot>,
    /// The tables that it had its snapshot from. They stay for its next one as long as there is room.
    tables: Vec<UsedTable>,
    /// A table, or the share of a member of a group, begins anew.
    restart: Option<BoxFuture<'static, Result<Begun, CommandError>>>,
    /// The membership in a group that gives and takes its logs.
    membership: Option<Box<Membership>>,
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
    /// One of the topics must not be read, or is not there; no broker tells of it now; or there are too many partitions.
    ///
    /// # Cancel safety
    /// A drop abandons the reads.
    pub(crate) async fn open(
        cluster: &Arc<Cluster>,
        metrics: &Arc<RouteMetrics>,
        standing: &Arc<Standing>,
        subscribe: Subscribe,
    ) -> Result<Self, CommandError> {
        let held = standing.held();
        let progress = Progress::new(subscribe.filters.count(subscribe.table.is_some()), None);
        // Boxed, as the compiler gives up on nested types.
        let begun = begin(Arc::clone(cluster), subscribe.clone(), Arc::clone(&held), false).boxed();
        let (begun, restart) = match cluster.measured(Kind::Subscribe, begun).await {
            Err(error) if subscribe.waits && subscribe.table.is_some() && error.fault == Fault::Transient => {
                let begun = Begun::later(cluster, subscribe.clone(), error);
                (begun, Some(begin_again(Arc::clone(cluster), subscribe, Arc::clone(&held))))
            }
            begun => (begun?, None),
        };
        Ok(Self { restart, ..Self::new(cluster, metrics, standing, (begun, held), progress) })
    }

    /// A subscription whose group gives its logs. The first item tells its topics.
    pub(crate) fn of_member(
        cluster: &Arc<Cluster>,
        metrics: &Arc<RouteMetrics>,
        standing: &Arc<Standing>,
        membership: Membership,
    ) -> Self {
        let begun = Begun::of_member(cluster, membership.subscribe());
        let filters = membership.subscribe().filters.count(false);
        let progress =
            Progress::new(filters, Some((membership.member().group().into(), Arc::clone(metrics))));
        cluster.metrics.answered(Kind::Subscribe, Outcome::Answered);
        let of_group = Self::new(cluster, metrics, standing, (begun, standing.held()), progress);
        Self { membership: Some(Box::new(membership)), ..of_group }
    }

    fn new(
        cluster: &Arc<Cluster>,
        metrics: &Arc<RouteMetrics>,
        standing: &Arc<Standing>,
        (begun, held): (Begun, Arc<Held>),
        progress: Progress,
    ) -> Self {
        let Begun { cursors, waits, snapshot } = begun;
        let progress = Arc::new(progress);
        progress.add(cursors.all().iter().map(Cursor::position));
        cluster.subscriptions.add(&progress);
        Self {
            cluster: Arc::clone(cluster),
            cursors,
            snapshot,
            tables: Vec::new(),
            restart: None,
            membership: None,
            standing: Arc::clone(standing),
            held,
            waits,
            metrics: Arc::clone(metrics),
            progress,
            usage: None,
            _place: None,
            _counted: cluster.metrics.subscription(),
        }
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

    /// The time since the client of a table had all that was in the logs, as far as the bridge has asked.
    pub fn behind(&self) -> Duration {
        self.cursors.current_at().map_or(Duration::ZERO, |current| current.elapsed())
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
            tokio::select! {
                biased;
                () = regrouped(self.membership.as_deref()) => return,
                () = usage.may_deliver() => {}
            }
        }
        self.ready_within(max_bytes).await;
        if let Some(membership) = self.membership.as_mut().filter(|_| self.cursors.in_hand().is_some()) {
            membership.waits();
        }
    }

    async fn ready_within(&mut self, max_bytes: usize) {
        let standing = Arc::clone(&self.standing);
        loop {
            let (renewed, regrouped) = (standing.renewed(), regrouped(self.membership.as_deref()));
            if self.begin_anew().await || self.snapshot_is_ready(max_bytes).await {
                return;
            }
            // An answer of a broker can wake many.
            while let Some(Some(wake)) = self.waits.next().now_or_never() {
                self.wake(wake);
            }
            while let Some(turn) = self.cursors.next_turn(max_bytes) {
                self.read(turn);
            }
            if self.cursors.client.is_lost {
                continue;
            }
            if self.cursors.is_ready() {
                return;
            }
            tokio::select! {
                biased;
                Some(wake) = self.waits.next() => self.wake(wake),
                () = renewed => {}
                () = regrouped => {}
            }
        }
    }

    /// Lets a table, or the share of a group, begin anew if it has to. Whether there can be something to tell about it.
    async fn begin_anew(&mut self) -> bool {
        self.follow_rights();
        self.follow_group();
        if std::mem::take(&mut self.cursors.client.is_lost) {
            self.put_back();
            (self.snapshot, self.tables, self.waits) = (None, Vec::new(), FuturesUnordered::new());
            let request = self.cursors.client.request.anew();
            let begun = begin_again(Arc::clone(&self.cluster), request, Arc::clone(&self.held));
            self.restart = Some(begun);
            // It is told at once: a client that leaves now must not go on from where it was.
            self.cursors.lose();
            return true;
        }
        let is_told = self.has_items();
        let Some(restart) = &mut self.restart else { return false };
        if is_told {
            return true;
        }
        let begun = tokio::select! {
            biased;
            () = regrouped(self.membership.as_deref()) => return true,
            begun = restart => begun,
        };
        self.restart = None;
        match begun {
            Ok(Begun { cursors, waits, snapshot }) => {
                (self.cursors, self.waits, self.snapshot) = (cursors, waits, snapshot);
                if let Some(membership) = &mut self.membership {
                    membership.assigned();
                    // They can have been renewed meanwhile.
                    self.cursors.client.grant(self.held.rights.read.as_ref());
                }
                self.progress.clear();
                self.progress.add(self.cursors.all().iter().map(Cursor::position));
            }
            Err(error) => self.end(error),
        }
        true
    }

    /// Whether the snapshot has something to tell.
    async fn snapshot_is_ready(&mut self, max_bytes: usize) -> bool {
        let Some(snapshot) = &mut self.snapshot else { return false };
        match snapshot.ready(&mut self.cursors.client, max_bytes).await {
            Ok(true) => return true,
            Ok(false) => {
                if let Some((began, ends)) = self.snapshot.take().map(Snapshot::into_ends) {
                    self.cursors.are_current_at(began);
                    let (tables, known): (_, Vec<_>) =
                        ends.into_iter().map(|end| (end.table, (end.place, end.epoch, end.seen))).unzip();
                    self.tables = tables;
                    self.cursors.know(known.into_iter());
                }
            }
            Err(Stop::Outdated) => self.cursors.client.is_lost = true,
            // Another topic of the same name can have fewer partitions.
            Err(Stop::Failed(place, error))
                if error.fault == Fault::NotFound && self.is_other_topic(&place.topic) =>
            {
                self.cursors.client.is_lost = true;
            }
            Err(Stop::Failed(place, error)) => {
                self.snapshot = None;
                self.cursors.client.items.push_back(Item::Ended { place, error });
                return true;
            }
        }
        false
    }

    /// Whether a topic is known to be another one than at the beginning.
    fn is_other_topic(&mut self, topic: &str) -> bool {
        let backend = self.cluster.backend();
        let of_topic = self.cursors.all().iter().filter(|cursor| &*cursor.topic == topic);
        let ids: Vec<_> = of_topic.map(|cursor| backend.version(cursor.log()).topic_id).collect();
        ids.into_iter().any(|id| self.cursors.client.is_other_topic(topic, id))
    }

    /// Ends at the first partition.
    fn end(&mut self, error: CommandError) {
        let of_group = || self.membership.as_ref().map(|membership| place(membership.subscribe()));
        let place = self.cursors.all().first().map(Cursor::place).or_else(of_group);
        let place = place.unwrap_or_else(|| Place { topic: Arc::from(""), partition: 0, offset: 0 });
        self.cursors.client.items.push_back(Item::Ended { place, error });
    }

    /// The records that [`Subscription::take`] gives, at most: their bytes and their number.
    pub fn in_hand(&self) -> (usize, usize) {
        match &self.snapshot {
            Some(snapshot) => snapshot.in_hand(),
            None => self.cursors.in_hand().map_or((0, 0), |(_, read)| (read.messages.len(), read.count)),
        }
    }

    /// Whether there is something to tell that needs no credit.
    pub fn has_items(&self) -> bool {
        !self.cursors.client.items.is_empty()
    }

    /// Drops what was read: it is read again when the client has room.
    pub fn put_back(&mut self) {
        match &mut self.snapshot {
            Some(snapshot) => snapshot.put_back(),
            None => self.cursors.put_back(),
        }
    }

    /// The next item, if [`Subscription::ready`] has found one. None if there is nothing to tell after all.
    pub fn take(&mut self) -> Option<Item> {
        self.follow_rights();
        self.follow_group();
        if self.cursors.client.is_lost {
            return None;
        }
        if self.restart.is_some() {
            return self.cursors.client.items.pop_front();
        }
        if self.in_hand().1 > 0 {
            // Also if its rows and filters leave out all of them.
            self.membership.iter_mut().for_each(|membership| membership.taken());
        }
        let taken = match &mut self.snapshot {
            Some(snapshot) => snapshot.take(&mut self.cursors.client),
            None => self.take_from_cursors(),
        };
        if let Some(selection) = self.cursors.client.take_selection() {
            self.progress.count(&selection, SystemTime::now());
            self.metrics.hidden(selection.hidden_by_rows.saturating_add(selection.hidden_by_filters));
        }
        let (item, records) = taken?;
        if records > 0 {
            self.metrics.delivered(records, item.records_len());
            self.usage.iter().for_each(|usage| usage.delivered(item.records_len()));
        }
        Some(item)
    }

    fn take_from_cursors(&mut self) -> Option<(Item, usize)> {
        let Some((index, _)) = self.cursors.in_hand() else {
            return self.cursors.take(Version::default(), moment());
        };
        let item = self.cursors.take(self.version(index), moment());
        self.perform(index);
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
        // A cursor that has not begun has no offset.
        let recent = if fetch.offset < 0 { None } else { backend.recent(log, fetch) };
        let version = backend.version(log);
        self.handle(index, Event::Turn { fetch, version, recent });
    }

    fn log(&self, index: usize) -> Option<Log<'_>> {
        Some(self.cursors.all().get(index)?.log())
    }

    /// The known version of a cursor's log.
    fn version(&self, index: usize) -> Version {
        self.log(index).map(|log| self.cluster.backend().version(log)).unwrap_or_default()
    }

    /// Whether a cursor's log is known to be of another topic than the client's.
    fn is_of_another_topic(&mut self, index: usize) -> bool {
        let Some(Place { topic, partition, .. }) = self.cursors.all().get(index).map(Cursor::place) else {
            return false;
        };
        let known = self.cluster.backend().version(Log { topic: &topic, partition });
        self.cursors.client.is_other_topic(&topic, known.topic_id)
    }

    fn wake(&mut self, wake: Wake) {
        match wake {
            // These are the ends of another topic: the next read tells.
            Wake::Cursor(index, Event::StillAtEnd { .. }) if self.is_of_another_topic(index) => {
                self.handle(index, Event::Woken { end: None });
            }
            Wake::Cursor(index, event) => self.handle(index, event),
            Wake::Answered(index, answer) => {
                self.handle(index, Event::Answered(answer, self.version(index)));
            }
            Wake::Unanswered(index, answer) => {
                self.waits.push(answer);
                self.handle(index, Event::Unanswered);
            }
            Wake::Grown(topic, mut watched) => {
                let known = self.partitions();
                let Partitions { topic_id, numbers } = watched.borrow_and_update().clone();
                self.cursors.grow(&topic, topic_id, &numbers);
                self.progress.add(self.cursors.all().iter().skip(known).map(Cursor::position));
                self.waits.push(grown(topic, watched).boxed());
            }
            Wake::Progress => self.cursors.tell_progress(),
        }
    }

    fn handle(&mut self, index: usize, event: Event) {
        self.cursors.handle(index, event, moment());
        self.perform(index);
    }

    /// Performs the steps after an event of this cursor, whose position can have changed.
    fn perform(&mut self, index: usize) {
        if let Some(cursor) = self.cursors.all().get(index) {
            self.progress.set(index, cursor.next, cursor.end);
        }
        if let Some(due) = self.cursors.progress_due(index, moment()) {
            self.waits.push(sleep_until(due).map(|()| Wake::Progress).boxed());
        }
        while let Some((index, step)) = self.cursors.next_step() {
            match step {
                Step::Ask(question) => self.ask(index, question),
                Step::WaitAtEnd { until, seen } => self.wait_at_end(index, until, seen),
                Step::Sleep { until } => {
                    let due = sleep_until(until).map(move |()| Wake::Cursor(index, Event::Due));
                    self.waits.push(due.boxed());
                }
                // Taken by the cursors.
                Step::Turn
                | Step::FirstTurn
                | Step::TurnForKept
                | Step::TurnFor(_)
                | Step::Hold(_)
                | Step::End => {}
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

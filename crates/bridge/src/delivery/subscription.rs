//! A client's positions in many logs, and what is read there.

mod questions;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use self::questions::Answer;
use super::cursor::{Cursor, Outage};
use super::item::{Item, Place, SkipCause};
use super::lag::Progress;
use super::subscribe::{MAX_PARTITIONS, Subscribe, SubscribedTopic, too_many_partitions};
use crate::backend::{CommandError, Fault, Fetch, Fetched, Log, Version};
use crate::cluster::{Cluster, Partitions};
use crate::metrics::{Kind, OpenSubscription, RouteMetrics};

/// A client's positions in logs. It reads with [`Subscription::ready`], and moves on with [`Subscription::take`].
pub(crate) struct Subscription {
    cluster: Arc<Cluster>,
    subscribe: Subscribe,
    topics: BTreeMap<Arc<str>, Topic>,
    cursors: Vec<Cursor>,
    /// Cursors to be read, in turn.
    turns: VecDeque<usize>,
    /// What was read by the cursor whose turn it was.
    in_hand: Option<(usize, Fetched)>,
    /// What was read by cursors whose turn will come, and is not kept for all clients.
    spare: VecDeque<(usize, Fetched)>,
    /// Sent before records.
    items: VecDeque<Item>,
    /// Questions to the messaging system under way.
    asked: usize,
    /// Cursors that have to ask, once there are fewer questions.
    unasked: VecDeque<usize>,
    /// Bytes that filters have left out since they were counted to the client.
    scanned: usize,
    /// Whether the records of the last answer are kept for all clients.
    is_kept: bool,
    /// One for each cursor without a turn, and others.
    waits: FuturesUnordered<BoxFuture<'static, Wake>>,
    /// Whether a wake for [`Wake::Progress`] is under way.
    tells_progress: bool,
    /// The cursor whose outage the client knows of.
    told_outage: Option<usize>,
    /// The counters of the client's route.
    metrics: Arc<RouteMetrics>,
    /// The positions as samples of the lag see them.
    progress: Arc<Progress>,
    _counted: OpenSubscription,
}

struct Topic {
    id: Option<u128>,
    partitions: BTreeSet<i32>,
}

/// What a wait was for.
enum Wake {
    /// This cursor may have something to read.
    Cursor(usize),
    /// The question of this cursor is answered.
    Answered(usize, Answer),
    /// The question of this cursor is not answered yet.
    Unanswered(usize, BoxFuture<'static, Answer>),
    /// This cursor is still where it was, and the log has this end.
    Blocked(usize, i64),
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
        mut subscribe: Subscribe,
    ) -> Result<Self, CommandError> {
        let resolved = cluster.measured(Kind::Subscribe, subscribe.resolve(cluster)).await?;
        let sources = std::mem::take(&mut subscribe.sources);
        let mut subscription = Self {
            cluster: Arc::clone(cluster),
            topics: BTreeMap::new(),
            cursors: Vec::new(),
            turns: VecDeque::new(),
            in_hand: None,
            spare: VecDeque::new(),
            asked: 0,
            unasked: VecDeque::new(),
            scanned: 0,
            is_kept: true,
            items: VecDeque::new(),
            waits: FuturesUnordered::new(),
            tells_progress: false,
            told_outage: None,
            subscribe,
            metrics: Arc::clone(metrics),
            progress: Arc::default(),
            _counted: cluster.metrics.subscription(),
        };
        for (source, SubscribedTopic { topic, topic_id, partitions }) in sources.iter().zip(&resolved) {
            let numbers: Vec<i32> = partitions.iter().map(|(partition, _)| *partition).collect();
            // A stream stays one partition.
            if source.is_whole() && cluster.system.has_partitions {
                let watched = cluster.watch_partitions(topic, numbers.as_slice().into());
                subscription.waits.push(grown(Arc::clone(topic), watched).boxed());
            }
            let known = Topic { id: *topic_id, partitions: numbers.into_iter().collect() };
            subscription.topics.insert(Arc::clone(topic), known);
            for (partition, offset) in partitions {
                subscription.add(topic, *partition, *offset);
            }
        }
        subscription.items.push_back(Item::Subscribed(resolved));
        cluster.subscriptions.add(&subscription.progress);
        Ok(subscription)
    }

    /// The number of partitions.
    pub(crate) fn partitions(&self) -> usize {
        self.cursors.len()
    }

    /// Waits for something to tell: at most `max_bytes` of records, but at least one, of the partition whose turn it is.
    ///
    /// # Cancel safety
    /// A drop has no effect.
    pub(crate) async fn ready(&mut self, max_bytes: usize) {
        if self.items.is_empty() && !self.subscribe.filters.is_empty() {
            let work = self.subscribe.filters.work(self.scanned);
            self.cluster.scans().take(self.subscribe.client, work).await;
            self.scanned = 0;
        }
        loop {
            // An answer of a broker can wake many.
            while let Some(Some(wake)) = self.waits.next().now_or_never() {
                self.wake(wake);
            }
            while self.items.is_empty()
                && self.in_hand.is_none()
                && let Some(index) = self.next_turn()
            {
                self.read(index, max_bytes);
            }
            if !self.items.is_empty() || self.in_hand.is_some() {
                return;
            }
            match self.waits.next().await {
                Some(wake) => self.wake(wake),
                None => std::future::pending().await,
            }
        }
    }

    /// The records that [`Subscription::take`] gives, at most: their bytes and their number.
    pub(crate) fn in_hand(&self) -> (usize, usize) {
        let in_hand = self.in_hand.as_ref().filter(|_| self.items.is_empty());
        in_hand.map_or((0, 0), |(_, read)| (read.messages.len(), read.count))
    }

    /// Whether there is something to tell that needs no credit.
    pub(crate) fn has_items(&self) -> bool {
        !self.items.is_empty()
    }

    /// Drops what was read: it is read again when the client has room.
    pub(crate) fn put_back(&mut self) {
        self.spare.clear();
        if let Some((index, _)) = self.in_hand.take() {
            self.turns.push_front(index);
        }
    }

    /// The next item, if [`Subscription::ready`] has found one. None if there is nothing to tell after all.
    pub(crate) fn take(&mut self) -> Option<Item> {
        if let Some(item) = self.items.pop_front() {
            return Some(item);
        }
        let (index, fetched) = self.in_hand.take()?;
        self.advance(index, fetched)
    }

    /// A cursor to be read: one that has to ask, only if it may.
    fn next_turn(&mut self) -> Option<usize> {
        let may_ask = self.may_ask();
        let unasked = &mut self.unasked;
        self.turns.pop_front().or_else(|| may_ask.then(|| unasked.pop_front()).flatten())
    }

    /// Takes what was read of a log before. If there is nothing, it waits at the end of the log, or asks for what there is.
    fn read(&mut self, index: usize, max_bytes: usize) {
        if let Some((_, spare)) = self.take_spare(index)
            && (spare.count <= 1 || spare.messages.len() <= max_bytes)
        {
            self.in_hand = Some((index, spare));
            return;
        }
        let Some(cursor) = self.cursors.get_mut(index) else { return };
        let epoch = self.cluster.backend().version(cursor.log()).leader_epoch;
        let is_same_leader = epoch.is_none() || cursor.epoch.is_none() || cursor.epoch == epoch;
        if is_same_leader {
            cursor.epoch = cursor.epoch.or(epoch);
            let Some(cursor) = self.cursors.get(index) else { return };
            if let Some(fetched) = self.cluster.backend().recent(cursor.log(), self.fetch(cursor, max_bytes))
            {
                self.in_hand = Some((index, fetched));
                return;
            }
            if cursor.is_at_end && !cursor.is_behind {
                // New records wake the cursor.
                return self.rest(index);
            }
        }
        match self.may_ask() {
            false => self.unasked.push_back(index),
            true if is_same_leader => self.look(index, max_bytes),
            true => self.verify(index),
        }
    }

    fn take_spare(&mut self, index: usize) -> Option<(usize, Fetched)> {
        let at = self.spare.iter().position(|(of, _)| *of == index)?;
        self.spare.remove(at)
    }

    fn version(&self, index: usize) -> Version {
        let cursor = self.cursors.get(index);
        cursor.map(|cursor| self.cluster.backend().version(cursor.log())).unwrap_or_default()
    }

    fn fetch(&self, cursor: &Cursor, max_bytes: usize) -> Fetch {
        Fetch {
            offset: cursor.next,
            max_bytes: max_bytes.min(self.subscribe.max_bytes),
            wait: Duration::ZERO,
            min_bytes: 0,
            max_records: self.subscribe.max_records,
            fill: false,
            committed: self.subscribe.committed,
            source: self.subscribe.client,
        }
    }

    fn add(&mut self, topic: &Arc<str>, partition: i32, offset: i64) {
        let cursor = Cursor::new(Arc::clone(topic), partition, offset);
        self.progress.add(&cursor);
        self.turns.push_back(self.cursors.len());
        self.cursors.push(cursor);
    }

    fn wake(&mut self, wake: Wake) {
        match wake {
            Wake::Cursor(index) => {
                if let Some(cursor) = self.cursors.get_mut(index) {
                    cursor.is_at_end = false;
                }
                self.turns.push_back(index);
            }
            Wake::Answered(index, answer) => self.answered(index, answer),
            Wake::Unanswered(index, answer) => self.unanswered(index, answer),
            Wake::Blocked(index, end) => {
                if let Some(cursor) = self.cursors.get_mut(index) {
                    cursor.end = cursor.end.max(end);
                    cursor.is_behind |= !cursor.is_blocked && cursor.end > cursor.next;
                }
                self.rest(index);
            }
            Wake::Grown(topic, mut watched) => {
                let now = Arc::clone(&watched.borrow_and_update());
                self.grow(&topic, &now);
                self.waits.push(grown(topic, watched).boxed());
            }
            Wake::Progress => {
                self.tells_progress = false;
                for cursor in self.cursors.iter_mut().filter(|cursor| cursor.has_moved) {
                    cursor.has_moved = false;
                    self.items.push_back(progress(cursor));
                }
            }
        }
    }

    /// Adds a topic's new partitions.
    fn grow(&mut self, topic: &Arc<str>, now: &[i32]) {
        let Some(known) = self.topics.get_mut(topic) else { return };
        let added: Vec<(i32, i64)> = now
            .iter()
            .filter(|partition| known.partitions.insert(**partition))
            .map(|new| (*new, 0))
            .collect();
        if added.is_empty() {
            return;
        }
        if self.cursors.len().saturating_add(added.len()) > MAX_PARTITIONS {
            let (partition, offset) = added.first().copied().unwrap_or_default();
            let place = Place { topic: Arc::clone(topic), partition, offset };
            return self.items.push_back(Item::Ended { place, error: too_many_partitions() });
        }
        let topic_id = known.id;
        for (partition, offset) in &added {
            self.add(topic, *partition, *offset);
        }
        let topic = Arc::clone(topic);
        self.items.push_back(Item::Subscribed(vec![SubscribedTopic { topic, topic_id, partitions: added }]));
    }

    /// Takes what was read.
    fn advance(&mut self, index: usize, fetched: Fetched) -> Option<Item> {
        let Version { topic_id, leader_epoch: epoch } = self.version(index);
        if self.is_other_topic(index, topic_id) {
            self.ask_version(index);
            return None;
        }
        let Self { subscribe, cursors, items, metrics, progress, .. } = self;
        let cursor = cursors.get_mut(index)?;
        match (cursor.epoch, epoch) {
            (Some(before), Some(now)) if before != now => {
                // The records are read again when the new leader is known to have those before them.
                self.turns.push_front(index);
                return None;
            }
            (Some(_), None) => {
                // The leader of these records is not known. They are read again when it is.
                self.ask_version(index);
                return None;
            }
            _ => {}
        }
        if cursor.outage.take().is_some() {
            cursor.is_behind = true;
            self.told_outage = self.told_outage.filter(|told| *told != index);
        }
        let Fetched { messages, count, next_offset, ends } = fetched;
        let limit = if subscribe.committed { ends.stable } else { ends.end };
        let has_moved = next_offset > cursor.next;
        cursor.has_moved |= has_moved;
        cursor.next = next_offset.max(cursor.next);
        cursor.is_blocked &= !has_moved;
        cursor.end = ends.end.max(cursor.end);
        cursor.is_at_end = count == 0 && next_offset >= limit || limit >= 0 && cursor.next >= limit;
        let read = messages.len();
        let (messages, matching) = subscribe.filters.matching(messages, count);
        self.scanned = self.scanned.saturating_add(read.saturating_sub(messages.len()));
        let delivery = (!messages.is_empty()).then(|| {
            metrics.delivered(matching, messages.len());
            cursor.has_moved = false;
            Item::Delivery { next: cursor.place(), messages, end: cursor.end }
        });
        if !cursor.is_at_end {
            cursor.is_behind = true;
            if subscribe.skips && limit > cursor.next {
                let from = std::mem::replace(&mut cursor.next, limit);
                items.push_back(Item::Skipped { from, to: cursor.place(), cause: SkipCause::Lag });
                (cursor.has_moved, cursor.is_at_end) = (false, true);
            }
        }
        progress.set(index, cursor);
        if cursor.has_moved && !std::mem::replace(&mut self.tells_progress, true) {
            self.waits.push(sleep(PROGRESS).map(|()| Wake::Progress).boxed());
        }
        match cursor.is_at_end {
            // At the end for the first time, it looks again before it says so.
            true if !cursor.is_behind || count == 0 && !has_moved => self.rest(index),
            _ if count > 0 || has_moved => self.turns.push_back(index),
            // The replica is behind its leader: try again soon.
            _ => self.pause(index),
        }
        delivery
    }

    /// Whether the cursor's topic seems to be another one than before: offsets would mean other records.
    fn is_other_topic(&mut self, index: usize, topic_id: Option<u128>) -> bool {
        let Self { cursors, topics, .. } = self;
        let (Some(cursor), Some(now)) = (cursors.get(index), topic_id) else { return false };
        topics.get_mut(&cursor.topic).is_some_and(|topic| *topic.id.get_or_insert(now) != now)
    }

    /// Waits for records at the end of a log.
    fn rest(&mut self, index: usize) {
        let Some(cursor) = self.cursors.get_mut(index) else { return };
        let Subscribe { committed, linger, .. } = self.subscribe;
        if std::mem::take(&mut cursor.is_behind) {
            cursor.has_moved = false;
            cursor.is_blocked = committed && cursor.end > cursor.next;
            let blocked_until = cursor.is_blocked.then_some(cursor.end);
            self.items.push_back(Item::CaughtUp { place: cursor.place(), blocked_until });
        }
        let (cluster, place) = (Arc::clone(&self.cluster), cursor.place());
        // A transaction can begin after the end was reached.
        let until = (committed && !cursor.is_blocked).then(|| Instant::now().checked_add(BLOCKED)).flatten();
        let wait = async move {
            let log = Log { topic: &place.topic, partition: place.partition };
            if let Some(ends) = cluster.wait_for_records(log, place.offset, committed, until).await {
                return Wake::Blocked(index, ends.end);
            }
            // A record that has come waits for others; a failure is told at once.
            let has_come = || cluster.backend().known_end(log).is_some_and(|end| end > place.offset);
            if !linger.is_zero() && has_come() {
                sleep(linger).await;
            }
            Wake::Cursor(index)
        };
        self.waits.push(wait.boxed());
    }

    /// Reacts to a failed read: goes on after what was deleted, tries again, or ends.
    fn fail(&mut self, index: usize, error: CommandError) {
        if self.is_other_topic(index, self.version(index).topic_id) {
            return self.ask_version(index);
        }
        let Some(cursor) = self.cursors.get_mut(index) else { return };
        if let Some((start, _)) = error.ends.filter(|(start, _)| *start > cursor.next) {
            let from = std::mem::replace(&mut cursor.next, start);
            (cursor.has_moved, cursor.is_behind) = (false, true);
            let (to, cause) = (cursor.place(), SkipCause::Deleted);
            self.items.push_back(Item::Skipped { from, to, cause });
            // A log that discards what is read must not be asked without a pause.
            return self.pause(index);
        }
        self.retry(index, error);
    }

    fn pause(&mut self, index: usize) {
        self.waits.push(sleep(PAUSE).map(move |()| Wake::Cursor(index)).boxed());
    }

    /// Tries again later, or ends.
    fn retry(&mut self, index: usize, error: CommandError) {
        let Some(cursor) = self.cursors.get_mut(index) else { return };
        let outage = cursor.outage.get_or_insert_with(Outage::new);
        let is_missing = matches!(error.fault, Fault::NotFound | Fault::OffsetOutOfRange);
        let is_passing = if is_missing {
            !outage.is_missing_for_long()
        } else {
            outage.is_not_missing();
            error.fault.is_retriable()
        };
        if !is_passing {
            return self.items.push_back(Item::Ended { place: cursor.place(), error });
        }
        let mut wait = outage.back_off(error.retry_after);
        if is_missing {
            wait = wait.min(MISSING);
        }
        self.waits.push(sleep(wait).map(move |()| Wake::Cursor(index)).boxed());
        self.tell_outage(index, error);
    }

    /// Tells the client that the cursor cannot be read. One outage is reported at a time. When it ends, the next cursor that fails
    /// reports its own.
    fn tell_outage(&mut self, index: usize, error: CommandError) {
        let Some(cursor) = self.cursors.get_mut(index) else { return };
        let since = cursor.outage.get_or_insert_with(Outage::new).since;
        if self.told_outage.is_none() {
            self.told_outage = Some(index);
            self.items.push_back(Item::Retrying { place: cursor.place(), error, since });
        }
    }
}

async fn grown(topic: Arc<str>, mut watched: watch::Receiver<Partitions>) -> Wake {
    if watched.changed().await.is_err() {
        // The cluster is gone.
        std::future::pending::<()>().await;
    }
    Wake::Grown(topic, watched)
}

fn progress(cursor: &Cursor) -> Item {
    Item::Delivery { next: cursor.place(), messages: bytes::Bytes::new(), end: cursor.end }
}

/// How long a position can move without a message to the client.
const PROGRESS: Duration = Duration::from_millis(900);

/// How long the end of a log may be out of date while only committed records are read.
const BLOCKED: Duration = Duration::from_secs(5);

/// How long at most until the next look for a log that was deleted, and may be created again.
const MISSING: Duration = Duration::from_secs(1);

/// How long to wait after an answer that says nothing.
const PAUSE: Duration = Duration::from_millis(100);

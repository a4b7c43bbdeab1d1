//! Waits at the ends of logs: a few fetches per broker serve all callers.

mod ends_news;
mod leaders;
mod long_polls;
mod task;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use sluicegate_shared_log::{Chunk, ClusterLogs, Counted, Ends, Event, LogKey, SeenEnds};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use self::ends_news::EndsNews;
pub(crate) use self::leaders::{Waiting, place};
use self::long_polls::{LongPollRequest, LongPolls};
use crate::address::Address;
use crate::api::{FetchAnswer, FetchPartition, FetchRequest};
use crate::attempt::Role;
use crate::brokers::Brokers;
use crate::encoder_pool::{EncoderPool, Encoding, first_entry, max_kept};
use crate::fetch_plan::ENVELOPE;
use crate::topic_partition::TopicPartition;

/// The logs at whose ends callers wait, by the broker that is read from.
pub(crate) struct Tails {
    brokers: Arc<Brokers>,
    encoders: EncoderPool,
    logs: Arc<ClusterLogs>,
    /// Entries with callers or with a request under way.
    by_key: Mutex<HashMap<TailKey, Tail>>,
    /// Whether a task looks for other leaders. Changes only while `by_key` is locked.
    has_lookout: AtomicBool,
    /// The tasks of all tails. They end with this value.
    tasks: Mutex<JoinSet<()>>,
}

/// A broker, the role in which it is read from, and what is read.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TailKey {
    pub(crate) address: Address,
    pub(crate) role: Role,
    /// Whether records of open and aborted transactions are left out.
    pub(crate) committed: bool,
}

#[derive(Debug, Default)]
struct Tail {
    long_polls: LongPolls<LogKey>,
    logs: HashMap<LogKey, AwaitedLog>,
}

/// A log that callers wait for.
#[derive(Debug)]
struct AwaitedLog {
    leader_epoch: i32,
    event: watch::Sender<Option<Told>>,
    /// The same without records, for callers that can be suspended: what they wait for must not stay in memory with
    /// them.
    notice: watch::Sender<Option<Told>>,
    empty: watch::Sender<Empty>,
    ends: EndsNews,
    _counted: Counted,
}

/// The news of a log.
#[derive(Debug, Clone)]
enum Told {
    Event(Event),
    /// The log ends before the offset of some callers: it has lost records, or is another one by now. They would wait for
    /// records that others have.
    End(i64),
    /// The log has no new record, but these ends.
    Ends(Ends),
}

/// The last answer that had no record.
#[derive(Debug, Clone, Copy)]
struct Empty {
    /// The number of its request.
    request: u64,
    offset: i64,
    ends: Ends,
}

/// The news that a caller gets.
#[derive(Debug, Clone, Copy)]
enum WakeKind {
    Records,
    Notice { seen: SeenEnds },
}

/// The requests that a task sends.
#[derive(Debug, Clone, Copy)]
enum TailTask {
    /// The requests of this long poll.
    LongPoll(usize),
    Probes,
}

/// The wait of one caller. Dropping it ends the wait.
struct Caller<'a> {
    tails: &'a Arc<Tails>,
    key: &'a TailKey,
    log: &'a LogKey,
    offset: i64,
    seen: SeenEnds,
    number: u64,
    event: watch::Receiver<Option<Told>>,
    empty: watch::Receiver<Empty>,
    _counted: Counted,
}

impl Tails {
    pub(crate) fn new(brokers: Arc<Brokers>, encoders: EncoderPool, logs: Arc<ClusterLogs>) -> Arc<Self> {
        Arc::new(Self {
            brokers,
            encoders,
            logs,
            by_key: Mutex::default(),
            has_lookout: AtomicBool::default(),
            tasks: Mutex::default(),
        })
    }

    /// Waits for a record at `offset` or after it, until `due` if that is set: then a request proves that there is
    /// none. Without it, the caller has seen that itself, and knows when to stop.
    pub(crate) async fn wait(
        self: &Arc<Self>,
        key: &TailKey,
        log: &LogKey,
        leader_epoch: i32,
        offset: i64,
        due: Option<Instant>,
    ) -> Event {
        self.join(key, log, leader_epoch, offset, due, WakeKind::Records).wait(due).await
    }

    /// Waits as [`Tails::wait`], and gives [`Event::Read`] in place of records, and [`Event::End`] if the log begins after
    /// what was `seen`, or has had records after that for some seconds that wait for a transaction.
    pub(crate) async fn wait_for_notice(
        self: &Arc<Self>,
        key: &TailKey,
        log: &LogKey,
        leader_epoch: i32,
        offset: i64,
        due: Option<Instant>,
        seen: SeenEnds,
    ) -> Event {
        self.join(key, log, leader_epoch, offset, due, WakeKind::Notice { seen }).wait(due).await
    }

    /// As [`LongPolls::is_watched`].
    pub(crate) fn is_watched(&self, key: &TailKey, log: &LogKey, offset: i64) -> bool {
        self.by_key
            .lock()
            .get(key)
            .is_some_and(|tail| tail.long_polls.is_watched(log, offset, Instant::now().into()))
    }

    fn join<'a>(
        self: &'a Arc<Self>,
        key: &'a TailKey,
        log: &'a LogKey,
        leader_epoch: i32,
        offset: i64,
        due: Option<Instant>,
        wakes: WakeKind,
    ) -> Caller<'a> {
        let mut tails = self.by_key.lock();
        let tail = tails.entry(key.clone()).or_default();
        let (number, start) = tail.long_polls.join(log, offset, due.map(Instant::into));
        if let Some(index) = start {
            self.start(key, TailTask::LongPoll(index));
        }
        if !self.has_lookout.swap(true, Ordering::Relaxed) {
            self.spawn(leaders::look(Arc::downgrade(self)));
        }
        let entry = tail.logs.entry(log.clone()).or_insert_with(|| AwaitedLog {
            leader_epoch,
            event: watch::channel(None).0,
            notice: watch::channel(None).0,
            empty: watch::channel(NO_ANSWER).0,
            ends: EndsNews::default(),
            _counted: self.logs.tail(),
        });
        entry.leader_epoch = entry.leader_epoch.max(leader_epoch);
        let (event, seen) = match wakes {
            WakeKind::Records => (entry.event.subscribe(), SeenEnds::ALL),
            WakeKind::Notice { seen } => (entry.notice.subscribe(), seen),
        };
        entry.ends.want(seen);
        let empty = entry.empty.subscribe();
        Caller { tails: self, key, log, offset, seen, number, event, empty, _counted: self.logs.waiter() }
    }

    fn start(self: &Arc<Self>, key: &TailKey, task: TailTask) {
        let broker = self.brokers.at(&key.address);
        self.spawn(task::run(Arc::downgrade(self), broker, key.clone(), task));
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    /// The next request, with the leader epochs of its logs.
    fn next(&self, key: &TailKey, task: TailTask) -> Option<(LongPollRequest<LogKey>, Vec<i32>)> {
        let mut tails = self.by_key.lock();
        let tail = tails.get_mut(key)?;
        let now = Instant::now().into();
        let next = match task {
            TailTask::LongPoll(index) => tail.long_polls.next(index, now),
            TailTask::Probes => tail.long_polls.next_probe(now),
        };
        let Some(mut request) = next else {
            if tail.long_polls.is_idle() {
                tails.remove(key);
            }
            return None;
        };
        request.wait = request.wait.min(self.brokers.config().max_fetch_wait);
        let epoch = |(log, _): &(LogKey, i64)| tail.logs.get(log).map_or(-1, |log| log.leader_epoch);
        let epochs = request.logs.iter().map(epoch).collect();
        Some((request, epochs))
    }

    fn request<'a>(
        &self,
        key: &TailKey,
        request: &'a LongPollRequest<LogKey>,
        epochs: &[i32],
    ) -> FetchRequest<'a> {
        let max_bytes = self.max_bytes(request.logs.len());
        let partition = |((log, offset), leader_epoch): (&'a (LogKey, i64), &i32)| FetchPartition {
            topic: &log.topic,
            topic_id: Some(log.incarnation).filter(|id| *id != 0),
            partition: log.partition,
            leader_epoch: *leader_epoch,
            offset: *offset,
            max_bytes: max_bytes.min(i32::try_from(PART_BYTES).unwrap_or(i32::MAX)),
        };
        FetchRequest {
            partitions: request.logs.iter().zip(epochs).map(partition).collect(),
            max_bytes,
            max_wait: i32::try_from(request.wait.as_millis()).unwrap_or(i32::MAX),
            committed: key.committed,
            rack: self.brokers.rack(key.role),
        }
    }

    /// The size of the records in a response for so many logs.
    fn max_bytes(&self, logs: usize) -> i32 {
        let fields = logs.saturating_mul(LOG_FIELDS).saturating_add(ENVELOPE);
        let room = self.brokers.config().max_response_bytes.saturating_sub(fields);
        i32::try_from(room).unwrap_or(i32::MAX).clamp(1, MAX_BYTES)
    }

    /// Notes that a log had no record.
    fn note_empty(&self, key: &TailKey, log: &LogKey, empty: Empty) {
        let mut tails = self.by_key.lock();
        let Some(tail) = tails.get_mut(key) else { return };
        let (highest, Some(log)) = (tail.long_polls.highest(log), tail.logs.get_mut(log)) else { return };
        let end = empty.ends.end;
        // A replica can be behind for long.
        if key.role != Role::Replica && end >= 0 && highest.is_some_and(|offset| offset > end) {
            for news in [&log.event, &log.notice] {
                news.send_if_modified(|told| {
                    let is_new = !matches!(told, Some(Told::End(known)) if *known == end);
                    *told = Some(Told::End(end));
                    is_new
                });
            }
        } else if let Some(ends) = log.ends.news(empty.ends, Instant::now()) {
            log.notice.send_replace(Some(Told::Ends(ends)));
        }
        log.empty.send_if_modified(|known| {
            let is_newer = known.request < empty.request;
            if is_newer {
                *known = empty;
            }
            is_newer
        });
    }

    /// Notifies the callers of a log.
    fn notify(&self, key: &TailKey, log: &LogKey, event: Event) {
        let mut tails = self.by_key.lock();
        let Some(tail) = tails.get_mut(key) else { return };
        // Another long poll has notified those who waited for these records.
        if let Event::Records(chunk) = &event
            && tail.long_polls.lowest(log).is_some_and(|offset| offset >= chunk.next_offset)
        {
            tail.long_polls.probe_again(log, Instant::now().into());
            return;
        }
        tail.long_polls.remove(log);
        if let Some(log) = tail.logs.remove(log) {
            log.notice.send_replace(Some(Told::Event(match &event {
                Event::Records(_) => Event::Read,
                other => other.clone(),
            })));
            log.event.send_replace(Some(Told::Event(event)));
        }
    }

    /// The meaning of an answer for those who wait for a record at `offset`; `None`: go on waiting. `room` is left for
    /// records of the whole response, in bytes.
    fn event(
        &self,
        role: Role,
        (log, offset): &(LogKey, i64),
        (leader_epoch, answer): (i32, &FetchAnswer),
        room: &mut usize,
    ) -> Option<Event> {
        let offset = *offset;
        if answer.error.is_some() {
            return Some(Event::Failed);
        }
        if let Some(node) = answer.preferred_read_replica
            && answer.records.is_empty()
            && let Some(target) = TopicPartition::of(log)
        {
            self.brokers.redirected(target, role, node);
            return Some(Event::Read);
        }
        let ends = answer.ends();
        // Other logs have filled the answer, or the replica is behind its leader.
        let is_left_out = offset < ends.visible(log.committed);
        let is_behind = role == Role::Replica && ends.end < offset;
        let mut needs_look = is_left_out || is_behind;
        let mut chunk = Chunk::nothing(offset, ends);
        if !answer.records.is_empty() {
            // A broker answers with a whole batch, if it is a large one.
            let limits = self.brokers.config().record_limits(PART_BYTES.max(max_kept(&self.logs)));
            let FetchAnswer { records, aborted, .. } = answer;
            let (records, aborted) = (records.clone(), aborted.clone());
            let encoding = Encoding { records, aborted, from: offset, limits, max_kept: limits.max_bytes };
            let encoded = self.encoders.encode_small(&encoding, MAX_BATCH.min(*room));
            let used = encoded
                .as_ref()
                .and_then(|encoded| encoded.as_ref().ok())
                .filter(|(encoded, _)| encoded.count > 0);
            let used = used.map(|(_, messages)| messages.len());
            *room = room.saturating_sub(used.unwrap_or(MAX_BATCH));
            match encoded {
                Some(Ok((encoded, mut messages))) if encoded.count > 0 => {
                    messages.shrink_to_fit();
                    let (count, next_offset) = (encoded.count, encoded.next_offset);
                    let (messages, ends) = (messages.into(), ends.reaching(next_offset));
                    chunk = Chunk { base: offset, messages, count, next_offset, ends };
                }
                // A fetch of this log alone skips what has no records, asks for room, waits for its turn to encode, or
                // says what is wrong.
                Some(Ok(_) | Err(_)) | None => needs_look = true,
            }
        }
        let now = Instant::now().into();
        let first = self.logs.insert_parts(log, leader_epoch.into(), chunk, PART_BYTES, first_entry, now);
        match first.count {
            0 => needs_look.then_some(Event::Read),
            _ => Some(Event::Records(first)),
        }
    }
}

impl Told {
    /// Whether a caller that waits at this offset, and has seen these ends, has to know.
    fn concerns(&self, offset: i64, seen: SeenEnds) -> bool {
        match self {
            Self::Event(_) => true,
            Self::End(end) => *end < offset,
            Self::Ends(ends) => ends.is_beyond(seen),
        }
    }
}

impl Caller<'_> {
    async fn wait(&mut self, due: Option<Instant>) -> Event {
        let Some(due) = due else { return self.event().await };
        match timeout_at(due, self.event()).await {
            Ok(event) => event,
            // Not in the memory of each wait.
            Err(_) => Box::pin(self.prove()).await,
        }
    }

    async fn event(&mut self) -> Event {
        let (offset, seen) = (self.offset, self.seen);
        let concerns = |told: &Option<Told>| told.as_ref().is_some_and(|told| told.concerns(offset, seen));
        match self.event.wait_for(concerns).await.ok().and_then(|told| told.clone()) {
            Some(Told::Event(event)) => event,
            // A caller that joins late can be behind those who were told.
            Some(Told::Ends(ends)) if ends.stable > offset => Event::Read,
            Some(Told::Ends(ends)) => Event::End(ends),
            Some(Told::End(_)) | None => Event::Failed,
        }
    }

    /// Waits for an answer to a request that was sent after the caller joined.
    async fn prove(&mut self) -> Event {
        let number = self.number;
        if self.empty.borrow().request < number {
            let mut tails = self.tails.by_key.lock();
            if let Some(tail) = tails.get_mut(self.key)
                && tail.long_polls.prove(self.log, number, Instant::now().into())
            {
                self.tails.start(self.key, TailTask::Probes);
            }
        }
        let offset = self.offset;
        let mut empty = self.empty.clone();
        tokio::select! {
            biased;
            event = timeout(PATIENCE, self.event()) => event.unwrap_or(Event::Read),
            empty = empty.wait_for(|empty| empty.request > number) => match empty {
                Ok(empty) if empty.offset == offset => Event::End(empty.ends),
                Ok(_) | Err(_) => Event::Read,
            },
        }
    }
}

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        let mut tails = self.tails.by_key.lock();
        let Some(tail) = tails.get_mut(self.key) else { return };
        // Not a later entry for the same log: the callers of this one were notified.
        let is_of = |log: &AwaitedLog| {
            [&log.event, &log.notice].iter().any(|told| told.subscribe().same_channel(&self.event))
        };
        if tail.logs.get(self.log).is_some_and(is_of) {
            tail.long_polls.leave(self.log, self.offset);
            if !tail.long_polls.has_callers(self.log) {
                tail.logs.remove(self.log);
            }
        }
    }
}

/// Before the first answer: callers have greater numbers.
const NO_ANSWER: Empty = Empty { request: 0, offset: 0, ends: Ends::UNKNOWN };

/// The wait of a caller for a probe before it reads the log itself.
const PATIENCE: Duration = Duration::from_millis(500);

/// The size of a response in bytes.
const MAX_BYTES: i32 = 1024 * 1024;

/// The size of one log's records in a response, and of the parts that are kept of them, in bytes.
const PART_BYTES: usize = 256 * 1024;

/// A batch of so many bytes is encoded for all callers at once: twice the largest that producers send by default. A
/// larger one is read by its callers, which wait for their turn.
const MAX_BATCH: usize = 2 * 1024 * 1024;

/// Records of one response that are encoded for all callers, in bytes: within some milliseconds.
const ENCODED_AT_ONCE: usize = 8 * 1024 * 1024;

/// Room for the fields of one log besides its records.
const LOG_FIELDS: usize = 128;

//! Waits at the ends of streams: one consumer per stream serves all that wait there.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryFutureExt;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use parking_lot::Mutex;
use sluicegate_shared_log::ClusterLogs;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::api::{Api, MessageQuery};
use super::consumer::{Consumer, NextMessages, ROOM, SILENCE, nanoseconds};
use super::entries::{Entries, first_entry};
use super::error::ReadError;
use super::stream_name::StreamName;
use super::streams::{STALLING, Stream, StreamId, Streams};

/// The streams at whose ends callers wait.
pub(super) struct Tails {
    shared: Arc<Shared>,
    /// One for each tail. They end with this value.
    tasks: Mutex<JoinSet<()>>,
}

struct Shared {
    api: Arc<Api>,
    streams: Arc<Streams>,
    logs: Arc<ClusterLogs>,
    tails: Mutex<HashMap<StreamId, watch::Sender<Progress>>>,
}

/// The progress of a tail.
#[derive(Debug, Clone, Copy)]
struct Progress {
    /// The sequence to come: callers that wait for a lower one have something to read.
    next: i64,
    /// Whether a message at `next` will be noticed.
    is_live: bool,
    /// The tail has ended: callers must read the stream.
    is_over: bool,
}

/// Reads what arrives at the end of a stream.
struct Tail {
    shared: Arc<Shared>,
    stream: Stream,
    progress: watch::Sender<Progress>,
    /// Since when nobody waits.
    idle: Option<Instant>,
}

impl Tails {
    pub(super) fn new(api: Arc<Api>, streams: Arc<Streams>, logs: Arc<ClusterLogs>) -> Self {
        let shared = Shared { api, streams, logs, tails: Mutex::default() };
        Self { shared: Arc::new(shared), tasks: Mutex::default() }
    }

    /// Waits until the stream may have a message at `offset` or after it.
    pub(super) async fn wait(&self, name: StreamName<'_>, offset: i64) {
        let Ok(stream) = self.stream(name).await else { return sleep(PAUSE).await };
        let _counted = self.shared.logs.waiter();
        let id = stream.id.clone();
        let mut progress = self.join(stream);
        if !self.shared.streams.has_reached(&id, offset) {
            // Perhaps another stream of this name, which a read tells.
            let reached = progress.wait_for(|progress| progress.is_over || progress.next >= offset);
            if timeout(PAUSE, reached).await.is_err() {
                return;
            }
        }
        let told = progress.wait_for(|progress| progress.is_over || progress.next > offset).await;
        let is_over = told.map_or(true, |progress| progress.is_over);
        if is_over {
            sleep(PAUSE).await;
        }
    }

    /// Whether a caller that waits at this offset will be told of a message there.
    pub(super) fn is_watched(&self, id: &StreamId, offset: i64) -> bool {
        self.progress(id).is_some_and(|progress| progress.is_live && progress.next == offset)
    }

    /// The cached state of a stream, if it still holds. A tail learns at once that its stream is deleted.
    pub(super) fn current(&self, name: StreamName<'_>) -> Option<Stream> {
        let (stream, age) = self.shared.streams.known(name)?;
        let is_live = || self.progress(&stream.id).is_some_and(|progress| progress.is_live);
        (age < FRESH || is_live()).then_some(stream)
    }

    /// The same, or what the leader of the stream says now.
    pub(super) async fn stream(&self, name: StreamName<'_>) -> Result<Stream, ReadError> {
        match self.current(name) {
            Some(stream) => Ok(stream),
            None => self.shared.streams.ask(name).await,
        }
    }

    fn progress(&self, id: &StreamId) -> Option<Progress> {
        self.shared.tails.lock().get(id).map(|progress| *progress.borrow())
    }

    fn join(&self, stream: Stream) -> watch::Receiver<Progress> {
        let mut tails = self.shared.tails.lock();
        if let Some(progress) = tails.get(&stream.id) {
            return progress.subscribe();
        }
        let start = Progress { next: stream.info.end, is_live: false, is_over: false };
        let (progress, receiver) = watch::channel(start);
        tails.insert(stream.id.clone(), progress.clone());
        let tail = Tail { shared: Arc::clone(&self.shared), stream, progress, idle: None };
        let mut tasks = self.tasks.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(tail.run());
        receiver
    }
}

impl Tail {
    async fn run(mut self) {
        let _counted = self.shared.logs.tail();
        let ended = match self.consumer().await {
            Ok(Some(consumer)) => self.follow(consumer).await,
            Ok(None) => self.poll().await,
            Err(error) => Err(error),
        };
        // Callers see the error when they read the stream. Those that join from now on start another tail.
        if ended.is_err() {
            self.shared.tails.lock().remove(&self.stream.id);
            self.progress.send_modify(|progress| (progress.is_live, progress.is_over) = (false, true));
        }
    }

    /// A consumer of the messages to come. `None` if there can be none: the account or the stream may already have all
    /// its consumers, or may not let the bridge create one.
    async fn consumer(&self) -> Result<Option<Consumer>, ReadError> {
        if !self.can_follow() {
            return Ok(None);
        }
        let stream = Arc::clone(&self.stream.id.name);
        let name = StreamName::parse(&stream)?;
        let created = timeout(SILENCE, Consumer::create(&self.shared.api, name, self.next())).await;
        match created {
            Ok(Ok(consumer)) => Ok(Some(consumer)),
            Err(_)
            | Ok(Err(ReadError::Refused(_) | ReadError::Denied { .. } | ReadError::Unanswered { .. })) => {
                Ok(None)
            }
            Ok(Err(error)) => Err(error),
        }
    }

    /// A consumer is interest in messages, which other streams than those with limits keep or drop by that.
    fn can_follow(&self) -> bool {
        let is_one_of_few = self.shared.tails.lock().len() <= MAX_CONSUMERS;
        let Stream { info, is_distrusted, is_stalling, .. } = &self.stream;
        info.is_limited && !is_distrusted && !is_stalling && is_one_of_few
    }

    /// Takes messages from a consumer until nobody waits. Whatever is wrong ends the tail: those that wait read the
    /// stream.
    async fn follow(&mut self, mut consumer: Consumer) -> Result<(), ReadError> {
        let shared = Arc::clone(&self.shared);
        let stream = Arc::clone(&self.stream.id.name);
        let name = StreamName::parse(&stream)?;
        // The consumer is of this stream: the stream was the same before and after.
        self.ask(name).await?;
        let request = NextMessages {
            batch: MAX_BATCH,
            max_bytes: consumer.max_payload().saturating_add(ROOM),
            expires: nanoseconds(EXPIRES),
            idle_heartbeat: nanoseconds(HEARTBEAT),
            no_wait: false,
        };
        self.progress.send_modify(|progress| progress.is_live = true);
        let mut compared = Instant::now();
        while !self.is_unused() {
            if consumer.left() == 0 {
                shared.logs.count_tail_request();
                consumer.ask(&request).await?;
            }
            if self.take(name, &mut consumer).await? {
                compared = Instant::now();
            } else if compared.elapsed() >= self.compared_every() {
                self.compare(name, &mut consumer).await?;
                compared = Instant::now();
            }
        }
        Ok(())
    }

    /// Waits for a sign of life of the consumer, and keeps what has come with it. False: no message.
    async fn take(&mut self, name: StreamName<'_>, consumer: &mut Consumer) -> Result<bool, ReadError> {
        let mut messages = Entries::default();
        let result = consumer.take(&mut messages, |messages| messages.len() >= PART_BYTES).await;
        let has_messages = !messages.is_empty();
        self.keep(name, messages).await?;
        result.map(|()| has_messages)
    }

    /// Asks the leader of the stream for what it knows now.
    async fn ask(&mut self, name: StreamName<'_>) -> Result<(), ReadError> {
        let now = timeout(SILENCE, self.shared.streams.ask(name)).await;
        let now = now.map_err(|_| self.silence("STREAM.INFO", name))??;
        self.update(now)
    }

    fn update(&mut self, now: Stream) -> Result<(), ReadError> {
        if now.id != self.stream.id {
            return Err(ReadError::Recreated);
        }
        self.stream.info = now.info;
        Ok(())
    }

    /// Fails if the stream has messages that the consumer does not deliver: others can pause it or change it.
    async fn compare(&mut self, name: StreamName<'_>, consumer: &mut Consumer) -> Result<(), ReadError> {
        self.ask(name).await?;
        let end = self.stream.info.end;
        let rest = async {
            while self.next() < end {
                self.take(name, consumer).await?;
            }
            Ok(())
        };
        if let Ok(caught_up) = timeout(ON_THE_WAY, rest).await {
            return caught_up;
        }
        if self.message(name, self.next()).await?.is_some_and(|found| found < end) {
            self.shared.streams.stalled(name);
        }
        // Otherwise all of them were discarded: callers are told when they read.
        Err(ReadError::Stalled)
    }

    /// The sequence of the first message from `sequence` on, as the leader says.
    async fn message(&self, name: StreamName<'_>, sequence: i64) -> Result<Option<i64>, ReadError> {
        let asked = self.shared.api.message(name, MessageQuery::from(sequence));
        let found = timeout(SILENCE, asked).await.map_err(|_| self.silence("STREAM.MSG.GET", name))??;
        Ok(found.map(|message| message.offset))
    }

    /// The interval at which a tail without messages is compared with its stream.
    fn compared_every(&self) -> Duration {
        let tails = u32::try_from(self.shared.tails.lock().len()).unwrap_or(u32::MAX);
        COMPARED_EVERY.max(COMPARED_SHARE.saturating_mul(tails))
    }

    /// Asks the leader of the stream for its end again and again.
    async fn poll(&mut self) -> Result<(), ReadError> {
        let stream = Arc::clone(&self.stream.id.name);
        let (name, begun) = (StreamName::parse(&stream)?, Instant::now());
        while !self.is_unused() {
            if self.stream.is_stalling && begun.elapsed() >= STALLING {
                // Another tail has a consumer again.
                return Err(ReadError::Stalled);
            }
            let tails = u32::try_from(self.shared.tails.lock().len()).unwrap_or(u32::MAX);
            sleep(POLL.max(POLL_SHARE.saturating_mul(tails)).min(MAX_POLL)).await;
            self.shared.logs.count_tail_request();
            self.ask(name).await?;
            let end = self.stream.info.end;
            self.progress.send_if_modified(|progress| {
                let is_news = !progress.is_live || progress.next < end;
                *progress = Progress { next: progress.next.max(end), is_live: true, ..*progress };
                is_news
            });
        }
        Ok(())
    }

    /// Keeps messages, and tells callers of them.
    async fn keep(&mut self, name: StreamName<'_>, messages: Entries) -> Result<(), ReadError> {
        if messages.is_empty() {
            return Ok(());
        }
        if messages.first() < self.next() {
            return Err(ReadError::Recreated);
        }
        let (base, next) = (self.next(), messages.last().saturating_add(1));
        self.shared.logs.count_received(messages.len());
        if messages.doubtful_gaps(base, next, self.stream.info.first).next().is_some() {
            self.doubt(name, base, &messages).await?;
        }
        let Shared { logs, streams, .. } = &*self.shared;
        let id = &self.stream.id;
        for chunk in messages.into_chunks(base..base, self.stream.ends()) {
            let now = Instant::now().into();
            logs.insert_parts(&id.key(), id.generation, chunk, PART_BYTES, first_entry, now);
        }
        streams.observe_end(id, next);
        self.progress.send_modify(|progress| progress.next = next);
        Ok(())
    }

    /// Learns what the stream has discarded. Fails if it has a message that the consumer has left out: others can
    /// change what that delivers.
    async fn doubt(&mut self, name: StreamName<'_>, base: i64, messages: &Entries) -> Result<(), ReadError> {
        // A stream that discards without a break is asked now and then.
        sleep(DOUBT).await;
        let next = messages.last().saturating_add(1);
        let asked = self.shared.streams.ask_after(name, &self.stream.id, messages);
        let now = timeout(SILENCE, asked).await.map_err(|_| self.silence("STREAM.INFO", name))??;
        self.update(now)?;
        let first = self.stream.info.first;
        let left: Vec<_> = messages.doubtful_gaps(base, next, first).collect();
        if left.is_empty() {
            return Ok(());
        }
        let left_out = |(from, to): (i64, i64)| {
            let asked = self.message(name, from.max(first));
            asked.map_ok(move |found| found.is_some_and(|found| found < to))
        };
        if left.len() > MAX_GAPS {
            // A read of the stream costs less.
            return Err(ReadError::Stalled);
        }
        let is_left_out = stream::iter(left).then(left_out).try_any(|is_left_out| async move { is_left_out });
        let is_left_out = timeout(SILENCE, is_left_out).await;
        if is_left_out.map_err(|_| self.silence("STREAM.MSG.GET", name))?? {
            return Err(ReadError::Stalled);
        }
        // Messages can have been discarded before these answers.
        self.ask(name).await
    }

    fn silence(&self, call: &str, name: StreamName<'_>) -> ReadError {
        self.shared.api.silence(&format!("{call}.{name}"))
    }

    fn next(&self) -> i64 {
        self.progress.borrow().next
    }

    /// Whether nobody has waited for a while: nobody can join then.
    fn is_unused(&mut self) -> bool {
        let mut tails = self.shared.tails.lock();
        if self.progress.receiver_count() > 0 {
            self.idle = None;
            return false;
        }
        let is_unused = self.idle.get_or_insert_with(Instant::now).elapsed() >= LINGER;
        if is_unused {
            tails.remove(&self.stream.id);
        }
        is_unused
    }
}

/// The time for which the answer of a leader holds. Kept messages of a deleted stream are served no longer.
const FRESH: Duration = Duration::from_secs(1);
/// The pause of a caller before it reads a stream whose tail has ended.
const PAUSE: Duration = Duration::from_millis(100);
/// The time for which a tail goes on without callers: those that read what has arrived come back.
const LINGER: Duration = Duration::from_secs(5);
/// The interval at which a stream without a consumer of ours is asked for its end.
const POLL: Duration = Duration::from_millis(100);
/// The same for each tail, if there are many: all of them make at most 1,000 requests a second.
const POLL_SHARE: Duration = Duration::from_millis(1);
/// The longest time between two of these requests.
const MAX_POLL: Duration = Duration::from_secs(2);
/// Consumers at the same time. Each costs the servers memory and a timer.
const MAX_CONSUMERS: usize = 1_000;
/// Messages of one request to a consumer.
const MAX_BATCH: u32 = 500;
/// The size of the parts that are kept, in bytes.
const PART_BYTES: usize = 64 * 1024;
const EXPIRES: Duration = Duration::from_secs(30);
const HEARTBEAT: Duration = Duration::from_secs(1);
/// The interval at which a tail without messages is compared with the end of its stream.
const COMPARED_EVERY: Duration = Duration::from_secs(3);
/// The same for each tail, if there are many.
const COMPARED_SHARE: Duration = Duration::from_millis(5);
/// The wait of messages before the leader is asked about the gaps between them.
const DOUBT: Duration = Duration::from_millis(50);
/// Gaps of one batch that the leader is asked about.
const MAX_GAPS: usize = 16;
/// The time that a consumer can take for messages that the stream has.
const ON_THE_WAY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use sluicegate_shared_log::{Limits, SharedLog};

    use super::*;
    use crate::streams::tests::{learn, without_a_server};

    #[tokio::test]
    async fn stream_beyond_the_consumers_is_polled() {
        let (api, streams) = without_a_server();
        let log = SharedLog::new(Limits { max_bytes: 1, max_age: FRESH });
        let tails = Tails::new(api, Arc::clone(&streams), Arc::new(log.add_cluster()));
        let can_follow = |name: &str| {
            let stream = learn(&streams, name, 1);
            let receiver = tails.join(stream.clone());
            let (progress, _) = watch::channel(*receiver.borrow());
            Tail { shared: Arc::clone(&tails.shared), stream, progress, idle: None }.can_follow()
        };
        for number in 1..MAX_CONSUMERS {
            assert!(can_follow(&format!("s{number}")));
        }
        assert_eq!([can_follow("last"), can_follow("beyond")], [true, false]);
    }
}

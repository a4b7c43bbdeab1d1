//! Reads ahead of clients that read a stream in order, through a consumer: a message costs a fraction of what it costs
//! by direct get.
//!
//! A read that continues where messages were read a moment ago begins a walk. The walk takes what follows on a task of
//! its own, and is parked until a read comes there. Whatever is wrong with it ends it: reads take direct gets then.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use sluicegate_fair_share::{ClientKey, Ledger, Permit, Permits};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::api::Api;
use super::consumer::{Consumer, NextMessages, ROOM};
use super::entries::Entries;
use super::error::ReadError;
use super::stream_name::StreamName;
use super::streams::{Stream, StreamId, Streams};

/// The walks of a cluster.
pub(super) struct Walks {
    api: Arc<Api>,
    streams: Arc<Streams>,
    state: Arc<Mutex<State>>,
    permits: Arc<Permits>,
}

#[derive(Default)]
struct State {
    /// By the sequence that they go on at.
    parked: HashMap<(StreamId, i64), Walk>,
    /// When the last walk of a stream has failed.
    failed: HashMap<StreamId, Instant>,
    /// Whether a task drops walks that nobody continues.
    is_swept: bool,
}

/// The origin of a read's walk.
pub(super) enum Start {
    Parked(Walk),
    New(Permit),
}

pub(super) struct Walk {
    /// The task that takes the messages of the next read.
    step: AbortOnDropHandle<Result<Step, ReadError>>,
    /// When it was parked.
    since: Instant,
    permit: Permit,
}

/// The messages of a read, and the consumer that has those after them.
struct Step {
    consumer: Consumer,
    messages: Entries,
}

impl Walks {
    pub(super) fn new(api: Arc<Api>, streams: Arc<Streams>) -> Self {
        let permits = Permits::new(Ledger::of_one_cluster(MAX_WALKS));
        Self { api, streams, state: Arc::default(), permits }
    }

    /// The walk that has asked for the messages from `offset` on, or a new one if the read `continues` another one and
    /// its client has room for a walk.
    pub(super) fn at(
        &self,
        source: ClientKey,
        stream: &Stream,
        offset: i64,
        continues: impl FnOnce() -> bool,
    ) -> Option<Start> {
        let parked = self.lock().parked.remove(&(stream.id.clone(), offset));
        match parked {
            Some(walk) => Some(Start::Parked(walk)),
            None if self.is_worthwhile(stream, offset) && continues() => {
                self.permits.try_acquire(source.into(), 1).map(Start::New)
            }
            None => None,
        }
    }

    /// The messages from `offset` on. `None` if they must be read otherwise.
    ///
    /// # Cancel safety
    /// A drop ends the walk.
    pub(super) async fn read(
        &self,
        name: StreamName<'_>,
        stream: &Stream,
        offset: i64,
        start: Start,
    ) -> Option<Entries> {
        let read = async {
            let (Step { consumer, messages }, permit) = match start {
                Start::Parked(Walk { step, permit, .. }) => {
                    (step.await.map_err(|_ended| ReadError::Lost)??, permit)
                }
                Start::New(permit) => (advance(self.begin(name, stream, offset).await?).await?, permit),
            };
            let next = messages.last().saturating_add(1);
            if !messages.is_empty() && is_far(stream, next) {
                self.park(stream, next, consumer, permit);
            }
            Ok::<_, ReadError>(messages)
        };
        // The rest of the time is for a direct get.
        match timeout(self.api.timeout() / 4, read).await {
            Ok(Ok(messages)) if !messages.is_empty() && messages.first() >= offset => Some(messages),
            _ => {
                self.failed(stream);
                None
            }
        }
    }

    /// Lets the stream be read without walks for a while, and drops those that are parked.
    pub(super) fn failed(&self, stream: &Stream) {
        let mut state = self.lock();
        state.parked.retain(|(id, _), _| *id != stream.id);
        state.failed.retain(|_, at| at.elapsed() < FAILED);
        if state.failed.len() < MAX_FAILED {
            state.failed.insert(stream.id.clone(), Instant::now());
        }
    }

    /// Whether a new walk could be better than direct gets.
    fn is_worthwhile(&self, stream: &Stream, offset: i64) -> bool {
        // A consumer is interest in messages, which other streams than those with limits keep or drop by that.
        let is_possible =
            stream.info.is_limited && !stream.is_distrusted && !stream.is_stalling && offset > 0;
        let is_small = stream.info.average <= MAX_AVERAGE;
        let has_failed = || self.lock().failed.get(&stream.id).is_some_and(|at| at.elapsed() < FAILED);
        is_possible && is_small && is_far(stream, offset) && !has_failed()
    }

    async fn begin(&self, name: StreamName<'_>, stream: &Stream, offset: i64) -> Result<Consumer, ReadError> {
        let mut consumer = Consumer::create(&self.api, name, offset).await?;
        // The consumer is of this stream: the stream was the same before and after.
        if self.streams.ask(name).await?.id != stream.id {
            return Err(ReadError::Recreated);
        }
        consumer.ask(&REQUEST).await?;
        Ok(consumer)
    }

    fn park(&self, stream: &Stream, next: i64, consumer: Consumer, permit: Permit) {
        let step = AbortOnDropHandle::new(tokio::spawn(advance(consumer)));
        let mut state = self.lock();
        state.parked.insert((stream.id.clone(), next), Walk { step, since: Instant::now(), permit });
        if !state.is_swept {
            state.is_swept = true;
            tokio::spawn(sweep(Arc::downgrade(&self.state)));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// Takes the messages of one read, while the server sends those of the next.
async fn advance(mut consumer: Consumer) -> Result<Step, ReadError> {
    if consumer.left() <= REQUEST.batch {
        consumer.ask(&REQUEST).await?;
    }
    let mut messages = Entries::default();
    while consumer.left() > 0 && !is_enough(&messages) {
        consumer.take(&mut messages, is_enough).await?;
    }
    Ok(Step { consumer, messages })
}

/// Drops walks that nobody continues, until there is none.
async fn sweep(state: Weak<Mutex<State>>) {
    loop {
        sleep(IDLE).await;
        let Some(state) = state.upgrade() else { return };
        let mut state = lock(&state);
        state.parked.retain(|_, walk| walk.since.elapsed() < IDLE);
        if state.parked.is_empty() {
            state.is_swept = false;
            return;
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock()
}

fn is_enough(messages: &Entries) -> bool {
    messages.count() >= REQUEST.batch as usize || messages.len() >= REQUEST.max_bytes
}

/// Whether a walk from here on pays for its consumer, and has what two requests ask for.
fn is_far(stream: &Stream, offset: i64) -> bool {
    stream.info.end.saturating_sub(offset) > FAR
}

/// The messages that a walk reads at a time. It fits the largest message of a server with default settings.
const REQUEST: NextMessages = NextMessages {
    batch: 2_000,
    max_bytes: 1024 * 1024 + ROOM,
    expires: 0,
    idle_heartbeat: 0,
    no_wait: true,
};
/// Walks at the same time, shared by the clients that began them. Each costs the servers a consumer, and the bridge at
/// most twice what [`REQUEST`] asks for, besides the answer on its way.
const MAX_WALKS: usize = 16;
/// Larger messages cost the same by direct get, in bytes.
const MAX_AVERAGE: usize = 16 * 1024;
/// Messages from the end of the stream.
const FAR: i64 = 5_000;
/// The wait of a walk for the next read, about.
const IDLE: Duration = Duration::from_secs(5);
/// The time for which a stream is read without walks after one has failed: its consumers may be denied, or too many.
const FAILED: Duration = Duration::from_secs(60);
const MAX_FAILED: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::tests::{learn, without_a_server};

    #[tokio::test]
    async fn client_with_many_walks_leaves_some_to_others() {
        let (api, streams) = without_a_server();
        let stream = learn(&streams, "s", 100_000);
        let walks = Walks::new(api, streams);
        let begin = |from: &str| walks.at(ClientKey::parse(from.as_bytes()), &stream, 1, || true);
        let greedy: Vec<_> = (0..MAX_WALKS).map_while(|_| begin("192.0.2.1")).collect();
        assert_eq!(greedy.len(), MAX_WALKS * 3 / 4);
        assert!(matches!(begin("192.0.2.2"), Some(Start::New(_))));
    }
}

//! Requests records, keeps them for other readers of the log, and reads what follows an answer while it is on its way to a
//! client that reads a log in order.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use kafka_protocol::error::ResponseError;
use parking_lot::Mutex;
use sluicegate_fair_share::{ClientKey, Ledger, Permit, Permits};
use sluicegate_shared_log::{AnswerSize, Chunk, ClusterLogs, Fetch, LogKey, RawReads, assemble};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{FetchKey, Inner, LogReads, Reader};
use crate::backoff::in_future;
use crate::broker_failures::BrokerFailures;
use crate::encoder_pool::{first_entry, max_expensive, max_kept};
use crate::error::ReadError;
use crate::fetch_plan::FetchPlan;
use crate::leader_call::fetch_call;
use crate::topic_partition::TopicPartition;

/// Counts the bytes that fetches skip to the clients that cause them, so that a client which skips without pause waits
/// for its own turn. `()` counts nothing.
pub trait SkipMeter: fmt::Debug + Send + Sync {
    /// Counts so many bytes to this client. Ready when it may read on: no request of the fetch is in flight until then.
    ///
    /// A fetch drops the wait after a second, and ends without records.
    fn skipped(&self, source: ClientKey, bytes: usize) -> BoxFuture<'_, ()>;
}

impl SkipMeter for () {
    fn skipped(&self, _: ClientKey, _: usize) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }
}

impl LogReads<'_> {
    /// Records that were read before, or else read by requests that were sent after this call began.
    ///
    /// After each part of the log that is skipped, the call waits for its client's turn. Others who want the same do
    /// not wait for it.
    pub(super) async fn kept_or_requested(&self, offset: i64, size: AnswerSize) -> Result<Chunk, ReadError> {
        let Inner { brokers, fetches, .. } = &*self.reader.inner;
        let known = || self.kept(offset, size).map(|chunk| Ok(Some(chunk)));
        let key = self.fetch_key(offset);
        let near = |(log, from): &FetchKey| *log == key.0 && offset.saturating_sub(*from) < NEAR;
        let (turn_ends, deadline) = (in_future(MAX_TURN), in_future(brokers.config().request_timeout));
        let mut plan = None;
        loop {
            let read = fetches.run(key.clone(), near, known, || self.request(offset, size.bytes, &mut plan));
            let read = timeout_at(deadline, read).await;
            // Of requests that this call has sent. Those of others are counted to them.
            let skipped = plan.as_mut().map_or(0, FetchPlan::take_skipped);
            let may_go_on =
                skipped == 0 || timeout_at(turn_ends, self.skips.skipped(self.source, skipped)).await.is_ok();
            match read {
                // It can be more than this call wants.
                Ok(Ok(Some(read))) if read.count > 0 => {
                    return Ok(assemble(&[read], offset, size, first_entry));
                }
                Ok(Ok(Some(nothing))) => return Ok(nothing),
                Ok(Err(error)) => return Err(error),
                Ok(Ok(None)) if may_go_on => {}
                Ok(Ok(None)) | Err(_) => {
                    let so_far = plan.as_ref().and_then(FetchPlan::so_far);
                    return so_far.unwrap_or_else(|| Err(brokers.unreachable(BrokerFailures::default())));
                }
            }
        }
    }

    /// Requests the records from an offset on, and keeps what came; `None` if a part of the log was skipped. `plan` is
    /// that of the same call before.
    pub(super) async fn request<'a>(
        &'a self,
        offset: i64,
        max_bytes: usize,
        plan: &mut Option<FetchPlan<'a>>,
    ) -> Result<Option<Chunk>, ReadError> {
        let Self { reader, target, committed, source, .. } = *self;
        let Inner { brokers, skip_caches, encoders, logs, .. } = &*reader.inner;
        let config = brokers.config();
        // From when it is sent: others can share the request.
        let (now, deadline) = (Instant::now(), in_future(config.request_timeout));
        let asked = max_bytes.max(MIN_REQUEST);
        let plan = plan.get_or_insert_with(|| {
            logs.count_miss();
            // A broker answers with whole batches: what came is kept, so that no batch is fetched again for each part
            // of it.
            let limits = config.record_limits(asked.max(max_kept(logs)));
            let skip_cache = if committed { &skip_caches.committed } else { &skip_caches.all };
            FetchPlan::new(skip_cache, target, offset, (asked, limits, max_expensive(logs)), now)
        });
        plan.catch_up(now);
        let read = fetch_call(brokers, (logs, encoders), plan, (committed, source), deadline).await;
        if let Err(ReadError::Broker { code, .. }) = &read
            && code.0 == ResponseError::OffsetOutOfRange
            && let Some(version) = self.version()
        {
            logs.invalidate(&self.key(version).0, offset);
        }
        let Some(chunk) = read? else { return Ok(None) };
        let Some(version) = plan.version() else { return Ok(Some(chunk)) };
        let ((key, version), now) = (self.key(version), Instant::now().into());
        Ok(Some(logs.insert_parts(&key, version, chunk, asked, first_entry, now)))
    }

    pub(super) fn fetch_key(&self, offset: i64) -> FetchKey {
        (self.target.key(None, self.committed), offset)
    }
}

/// The least that a request for records asks for, in bytes: others can want what follows.
pub(super) const MIN_REQUEST: usize = 64 * 1024;

/// The range that a request in flight probably reads.
const NEAR: i64 = 256;

/// When a call that skips no longer waits for its client's turn: its caller learns how far it came.
const MAX_TURN: Duration = Duration::from_secs(1);

/// The reads ahead of each client in each log.
pub(super) struct ReadAhead {
    walks: Mutex<BTreeMap<(ClientKey, LogKey), Walk>>,
    permits: Arc<Permits>,
}

/// One client's reads ahead in one log: one at a time.
struct Walk {
    last: JoinHandle<()>,
    /// The offset that the last one reads from.
    from: i64,
    /// When it was begun.
    at: Instant,
    _permit: Permit,
}

impl Default for ReadAhead {
    fn default() -> Self {
        Self { walks: Mutex::default(), permits: Permits::new(Ledger::of_one_cluster(MAX_WALKS)) }
    }
}

impl ReadAhead {
    /// Spawns `read`, unless the same or the walk's last one is under way, or there are too many other walks.
    fn begin(
        &self,
        source: ClientKey,
        (log, from): (LogKey, i64),
        read: impl Future<Output = ()> + Send + 'static,
    ) {
        let at = Instant::now();
        let mut walks = self.walks.lock();
        walks.retain(|_, walk| at.saturating_duration_since(walk.at) < LIFE || !walk.last.is_finished());
        // Of clients that read the same, one reads ahead.
        if walks.iter().any(|((_, of), walk)| *of == log && walk.from == from && !walk.last.is_finished()) {
            return;
        }
        match walks.entry((source, log)) {
            Entry::Occupied(mut walk) => {
                let walk = walk.get_mut();
                if walk.last.is_finished() {
                    (walk.last, walk.from, walk.at) = (tokio::spawn(read), from, at);
                }
            }
            Entry::Vacant(place) => {
                if let Some(permit) = self.permits.try_acquire(source.into(), 1) {
                    place.insert(Walk { last: tokio::spawn(read), from, at, _permit: permit });
                }
            }
        }
    }
}

impl LogReads<'_> {
    /// Begins to read what follows an answer, if memory has the record before it but less than [`enough`] after it, and
    /// the log goes on for as long. A client that reads on finds it there.
    pub(super) fn read_ahead(&self, fetch: Fetch, read: &Chunk) {
        let Inner { logs, read_ahead, .. } = &*self.reader.inner;
        let end = read.ends.visible(self.committed);
        let has_more = |from: i64| {
            read.count > 0 && end.saturating_sub(from) >= i64::try_from(read.count).unwrap_or(i64::MAX)
        };
        // A request brings several small answers.
        if fetch.max_bytes < MIN_REQUEST || !has_more(read.next_offset) {
            return;
        }
        let Some(version) = self.version() else { return };
        let ((key, version), now) = (self.key(version), Instant::now().into());
        let enough = enough(logs);
        let before = fetch.offset.saturating_sub(1);
        if logs.covers(&key, version, before, now)
            && let Some(from) = logs.edge(&key, version, read.next_offset, enough, now)
            && has_more(from)
        {
            let fetch = Fetch { offset: from, max_bytes: fetch.max_bytes.min(enough), ..fetch };
            let (reader, of) = (self.reader.clone(), key.clone());
            let read = async move {
                let has_found = read_into_memory(&reader, &of, fetch).await;
                drop(reader);
                if !has_found {
                    // The same would be tried again after each answer.
                    sleep(LIFE).await;
                }
            };
            read_ahead.begin(self.source, (key, from), read);
        }
    }
}

/// Reads a part of a log. Whether there are records in memory then: its client learns of errors if it reads on.
async fn read_into_memory(reader: &Reader, key: &LogKey, fetch: Fetch) -> bool {
    let Fetch { offset, max_bytes, committed, source, .. } = fetch;
    let Some(target) = TopicPartition::of(key) else { return false };
    let reads = LogReads { reader, target, committed, source, skips: &() };
    let known = || reads.kept(offset, AnswerSize::of_bytes(1)).map(|kept| Ok(Some(kept)));
    let mut plan = None;
    let read = reader.inner.fetches.run(
        reads.fetch_key(offset),
        |_| false,
        known,
        || reads.request(offset, max_bytes, &mut plan),
    );
    matches!(timeout(PATIENCE, read).await, Ok(Ok(Some(chunk))) if chunk.count > 0)
}

/// The bytes in memory after a client's place that make a read ahead needless.
fn enough(logs: &ClusterLogs) -> usize {
    // With as much again from the last read of each walk, about half of the memory is left to others.
    ENOUGH.min(logs.max_bytes() / (4 * MAX_WALKS))
}

/// The largest batch that producers send by default: while a client takes its first part, the next one is read.
const ENOUGH: usize = 1024 * 1024;

/// Walks with reads ahead, shared by the clients that they are for.
const MAX_WALKS: usize = 16;

/// The time for which a walk without a further read ahead keeps its place, and for which nothing is read ahead of a
/// place where nothing was found.
const LIFE: Duration = Duration::from_secs(2);

/// The time for a read ahead: others who want the same wait for it.
const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn client_that_reads_many_logs_ahead_leaves_places_to_others() {
        let ahead = ReadAhead::default();
        let begin = |source: &str, partition, from| {
            let source = ClientKey::parse(source.as_bytes());
            let log = LogKey { topic: "t".into(), incarnation: 1, partition, committed: false };
            ahead.begin(source, (log, from), std::future::ready(()));
            ahead.walks.lock().keys().filter(|(other, _)| *other == source).count()
        };
        for partition in 0..100 {
            begin("192.0.2.1", partition, 0);
        }
        assert_eq!(begin("192.0.2.1", 0, 1), MAX_WALKS * 3 / 4);
        assert_eq!(begin("192.0.2.2", 0, 0), 0, "the same is under way");
        assert_eq!(begin("192.0.2.2", 0, 1), 1);
        // All are done, and nobody has gone on.
        tokio::task::yield_now().await;
        tokio::time::advance(LIFE).await;
        assert_eq!((begin("192.0.2.3", 0, 0), ahead.permits.used()), (1, 1));
    }
}

//! A messaging system with one topic, whose logs a test writes, breaks and mends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, pending, ready};
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use prost::Message;
use sluicegate_backend::rate::ClusterRate;
use sluicegate_backend::{
    AnswerReservation, Backend, CommandError, Description, Enqueued, Fault, Fetch, Fetched, LOG_START,
    ListedOffset, Log, Partition, System, Unready, Version,
};
use sluicegate_fair_share::ClientKey;
use sluicegate_protocol::{KafkaFetchResp, KafkaMessage};
use sluicegate_shared_log::{Ends, SeenEnds};
use sluicegate_telemetry::metrics::{Metrics, TableMetrics};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::TABLE_BYTES;
use crate::cluster::{Cluster, Parts, Rates, Reads, TableLimits};

/// The partitions of the topic at first.
pub const PARTITIONS: i32 = 4;

/// The logs. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Logs(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Start and end.
    logs: BTreeMap<i32, (i64, i64)>,
    errors: BTreeMap<i32, CommandError>,
    silent: Option<i32>,
    skipped: usize,
    are_ends_silent: bool,
    /// Whether it is not told that there is a topic.
    is_hidden: bool,
    /// Of look-ups of offsets.
    refusal: Option<CommandError>,
    topic_id: Option<u128>,
    /// The id that is known in its place until it is asked for.
    outdated_id: Option<u128>,
    /// Where a transaction is open in each log.
    open: Option<i64>,
    /// The topic's partitions.
    added: i32,
    /// Whether reads find what was read before. Here: everything.
    keeps: bool,
    epoch: i32,
    /// Whether the version is not known until it is asked for.
    is_version_unknown: bool,
    /// The end of what is left from earlier epochs; None: all.
    kept: Option<i64>,
    /// The key of the record with this offset; None: no record has one.
    key: Option<fn(i64) -> &'static str>,
    /// Whether the record with this offset has no value; None: all have one.
    is_empty: Option<fn(i64) -> bool>,
    tombstone_life: Option<Duration>,
}

impl Logs {
    /// A cluster of Kafka with these logs.
    pub fn cluster(&self) -> Arc<Cluster> {
        self.cluster_of(System::Kafka)
    }

    /// A cluster of this system with these logs.
    pub fn cluster_of(&self, system: System) -> Arc<Cluster> {
        self.cluster_with(system, 1 << 30)
    }

    /// A cluster whose filters and reads can leave out so many bytes a second.
    pub fn cluster_with(&self, system: System, scanned: usize) -> Arc<Cluster> {
        let reads = Reads { max_bytes: 1 << 20, wait: Duration::ZERO, table_away: Duration::from_secs(3600) };
        let parts = Parts::new(Arc::new(self.clone()), 0, reads, None);
        let rates = Rates::new(1_000_000, scanned, 1_000_000);
        rates.set_has_clusters(false);
        Arc::new(Cluster::new(
            system,
            parts,
            Metrics::default().cluster("logs"),
            rates,
            TableLimits::new(TABLE_BYTES, TableMetrics::default()),
        ))
    }

    /// Writes so many records.
    pub fn append(&self, partition: i32, count: usize) {
        self.change(|state| state.logs.entry(partition).or_default().1 += count as i64);
    }

    /// Deletes the records before an offset.
    pub fn delete_before(&self, partition: i32, offset: i64) {
        self.change(|state| state.logs.entry(partition).or_default().0 = offset);
    }

    /// The offset after the last record.
    pub fn end(&self, partition: i32) -> i64 {
        self.0.state.lock().unwrap().ends(partition).end
    }

    /// Lets reads of this partition fail.
    pub fn break_with(&self, partition: i32, error: CommandError) {
        self.change(|state| drop(state.errors.insert(partition, error)));
    }

    /// Lets each read skip so many bytes before it finds something.
    pub fn skip(&self, bytes: usize) {
        self.change(|state| state.skipped = bytes);
    }

    /// Lets reads of this partition never end.
    pub fn silence(&self, partition: i32) {
        self.change(|state| state.silent = Some(partition));
    }

    /// Lets look-ups of offsets never end.
    pub fn silence_ends(&self) {
        self.change(|state| state.are_ends_silent = true);
    }

    /// Lets look-ups of offsets fail.
    pub fn refuse_offsets(&self, refusal: CommandError) {
        self.change(|state| state.refusal = Some(refusal));
    }

    /// Lets the topic be missing, or be there again.
    pub fn hide(&self, is_hidden: bool) {
        self.change(|state| state.is_hidden = is_hidden);
    }

    /// Makes the topic another one. Until it is asked for, `known` is known.
    pub fn recreate(&self, topic_id: u128, known: Option<u128>) {
        self.change(|state| (state.topic_id, state.outdated_id) = (Some(topic_id), known));
    }

    /// Makes the version unknown until it is asked for.
    pub fn forget_version(&self) {
        self.change(|state| state.is_version_unknown = true);
    }

    /// Gives each record a key, by its offset.
    pub fn set_keys(&self, key: fn(i64) -> &'static str) {
        self.change(|state| state.key = Some(key));
    }

    /// Gives records no value, by their offset.
    pub fn set_empty(&self, is_empty: fn(i64) -> bool) {
        self.change(|state| state.is_empty = Some(is_empty));
    }

    /// Lets another leader lose the records of a partition from `end` on.
    pub fn truncate(&self, partition: i32, end: i64) {
        self.change(|state| {
            let log = state.logs.entry(partition).or_default();
            *log = (log.0.min(end), log.1.min(end));
            state.epoch += 1;
            state.kept = Some(end);
        });
    }

    /// The offset of the first record.
    pub fn start(&self, partition: i32) -> i64 {
        self.0.state.lock().unwrap().ends(partition).start
    }

    /// Keeps tombstones for so long.
    pub fn set_tombstone_life(&self, life: Duration) {
        self.change(|state| state.tombstone_life = Some(life));
    }

    /// Opens a transaction at this offset, or ends it.
    pub fn open_transaction(&self, at: Option<i64>) {
        self.change(|state| state.open = at);
    }

    /// Adds partitions to the topic.
    pub fn add_partitions(&self, count: i32) {
        self.change(|state| state.added += count);
    }

    /// Ends all failures.
    pub fn mend(&self) {
        self.change(|state| {
            state.errors.clear();
            state.refusal = None;
        });
    }

    /// Whether reads find what was read before.
    pub fn keep(&self, keeps: bool) {
        self.change(|state| state.keeps = keeps);
    }

    /// A new leader, which has lost the records from `kept` on, if that is set.
    pub fn elect(&self, kept: Option<i64>) {
        self.change(|state| {
            state.epoch += 1;
            state.kept = kept;
        });
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.state.lock().unwrap());
        self.0.changed.notify_waiters();
    }

    fn read(&self, log: Log<'_>, fetch: Fetch) -> Result<Fetched, CommandError> {
        let state = self.0.state.lock().unwrap();
        let ends = state.ends(log.partition);
        if let Some(error) = state.errors.get(&log.partition) {
            return Err(error.clone());
        }
        if fetch.offset < ends.start || fetch.offset > ends.end {
            return Err(CommandError::new(Fault::OffsetOutOfRange, 1, "out of range"));
        }
        let end = ends.visible(fetch.committed);
        let mut messages = Vec::new();
        let mut next = fetch.offset;
        let full = i64::try_from(fetch.max_records).unwrap();
        while next < end && (full == 0 || next - fetch.offset < full) {
            let key = state.key.map(|key| key(next).into());
            let is_empty = state.is_empty.is_some_and(|is_empty| is_empty(next));
            let value = (!is_empty).then(|| vec![0; 10].into());
            let message = KafkaMessage { offset: next, key, value, ..Default::default() };
            let encoded = KafkaFetchResp { messages: vec![message], ..Default::default() }.encode_to_vec();
            if !messages.is_empty() && messages.len() + encoded.len() > fetch.max_bytes {
                break;
            }
            messages.extend(encoded);
            next += 1;
        }
        let count = usize::try_from(next - fetch.offset).unwrap();
        Ok(Fetched { messages: Bytes::from(messages), count, next_offset: next, ends })
    }
}

impl State {
    fn ends(&self, partition: i32) -> Ends {
        let (start, end) = self.logs.get(&partition).copied().unwrap_or_default();
        Ends { start, stable: self.open.unwrap_or(end).min(end), end }
    }
}

impl Backend for Logs {
    fn ready(&self, _: Duration) -> BoxFuture<'_, Result<String, Unready>> {
        ready(Ok(String::new())).boxed()
    }

    fn fetch<'a>(
        &'a self,
        log: Log<'a>,
        fetch: Fetch,
        scans: &'a ClusterRate,
        _: &'a mut dyn AnswerReservation,
    ) -> BoxFuture<'a, Result<Fetched, CommandError>> {
        let (silent, skipped) = {
            let state = self.0.state.lock().unwrap();
            (state.silent, state.skipped)
        };
        async move {
            if silent == Some(log.partition) {
                return pending().await;
            }
            if skipped > 0 {
                scans.take(fetch.source, skipped).await;
            }
            if !fetch.wait.is_zero() {
                let until = Instant::now() + fetch.wait;
                self.wait_for_records(log, fetch.offset, fetch.committed, Some(until), SeenEnds::ALL).await;
            }
            self.read(log, fetch)
        }
        .boxed()
    }

    fn recent(&self, log: Log<'_>, fetch: Fetch) -> Option<Fetched> {
        let keeps = self.0.state.lock().unwrap().keeps;
        self.read(log, fetch).ok().filter(|fetched| keeps && fetched.count > 0)
    }

    fn version(&self, _: Log<'_>) -> Version {
        let state = self.0.state.lock().unwrap();
        if state.is_version_unknown {
            return Version::default();
        }
        Version { topic_id: state.outdated_id.or(state.topic_id), leader_epoch: Some(state.epoch) }
    }

    fn ask_version<'a>(&'a self, _: ClientKey, log: Log<'a>) -> BoxFuture<'a, Result<Version, CommandError>> {
        self.change(|state| (state.outdated_id, state.is_version_unknown) = (None, false));
        ready(Ok(self.version(log))).boxed()
    }

    fn known_end(&self, log: Log<'_>) -> Option<i64> {
        Some(self.end(log.partition))
    }

    fn tombstone_life<'a>(
        &'a self,
        _: ClientKey,
        _: &'a str,
    ) -> BoxFuture<'a, Result<Option<Duration>, CommandError>> {
        ready(Ok(self.0.state.lock().unwrap().tombstone_life)).boxed()
    }

    fn end_of_epoch<'a>(
        &'a self,
        _: ClientKey,
        log: Log<'a>,
        epoch: i32,
    ) -> BoxFuture<'a, Result<Option<i64>, CommandError>> {
        let state = self.0.state.lock().unwrap();
        let kept = state.kept.filter(|_| epoch < state.epoch);
        ready(Ok(Some(kept.unwrap_or(state.ends(log.partition).end)))).boxed()
    }

    fn is_watched(&self, _: Log<'_>, _: i64, _: bool) -> bool {
        false
    }

    fn wait_for_records<'a>(
        &'a self,
        log: Log<'a>,
        offset: i64,
        committed: bool,
        until: Option<Instant>,
        seen: SeenEnds,
    ) -> BoxFuture<'a, Option<Ends>> {
        let ends = move || self.0.state.lock().unwrap().ends(log.partition);
        let topic_id = move || self.0.state.lock().unwrap().topic_id;
        let of = topic_id();
        let waits = async move {
            loop {
                let changed = self.0.changed.notified();
                let is_broken = self.0.state.lock().unwrap().errors.contains_key(&log.partition);
                let ends = ends();
                let is_other = topic_id() != of || ends.end < offset;
                if is_broken || is_other || ends.visible(committed) > offset {
                    return None;
                }
                if ends.is_beyond(seen) {
                    return Some(ends);
                }
                changed.await;
            }
        };
        async move {
            let Some(until) = until else { return waits.await };
            timeout_at(until, waits).await.unwrap_or_else(|_| Some(ends()))
        }
        .boxed()
    }

    fn list_offsets<'a>(
        &'a self,
        _: ClientKey,
        asked: &'a [(Log<'a>, i64)],
        _: bool,
    ) -> BoxStream<'a, (usize, Result<ListedOffset, CommandError>)> {
        let state = self.0.state.lock().unwrap();
        if state.are_ends_silent {
            return stream::pending().boxed();
        }
        let list = |(number, (log, timestamp)): (usize, &(Log<'_>, i64))| {
            if let Some(refusal) = &state.refusal {
                return (number, Err(refusal.clone()));
            }
            let Ends { start, end, .. } = state.ends(log.partition);
            let offset = if *timestamp == LOG_START { start } else { end };
            (number, Ok(ListedOffset { offset, timestamp: -1 }))
        };
        stream::iter(asked.iter().enumerate().map(list).collect::<Vec<_>>()).boxed()
    }

    fn topics(&self) -> BoxFuture<'_, Result<Arc<[String]>, CommandError>> {
        ready(Ok([].into())).boxed()
    }

    fn known_partitions(&self, _: &str) -> usize {
        0
    }

    fn partitions<'a>(
        &'a self,
        _: ClientKey,
        _: &'a str,
    ) -> BoxFuture<'a, Result<Arc<Description>, CommandError>> {
        let partition = |partition| Partition { partition, leader: Some(1), replicas: Vec::new() };
        let state = self.0.state.lock().unwrap();
        if state.is_hidden {
            return ready(Err(CommandError::new(Fault::NotFound, 3, "no such topic"))).boxed();
        }
        let partitions = (0..PARTITIONS + state.added).map(partition).collect();
        ready(Ok(Arc::new(Description::new(state.outdated_id.or(state.topic_id), partitions)))).boxed()
    }

    fn check_log<'a>(&'a self, _: ClientKey, _: Log<'a>) -> BoxFuture<'a, Result<(), CommandError>> {
        ready(Ok(())).boxed()
    }

    fn prepare_writes(&self) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }

    fn enqueue<'a>(
        &'a self,
        _: ClientKey,
        _: Vec<sluicegate_backend::command::Record>,
        _: Vec<Option<CommandError>>,
        _: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Enqueued<'a>, CommandError>> {
        ready(Err(CommandError::new(Fault::Rejected, 0, "read-only"))).boxed()
    }

    fn has_queued_records(&self) -> bool {
        false
    }

    fn end_writes(&self, _: Instant) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }
}

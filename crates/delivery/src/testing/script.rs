//! A scripted messaging system for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, pending, ready};
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use prost::Message;
use sluicegate_backend::command::{Record, SchemaChoice};
use sluicegate_backend::groups::Groups;
use sluicegate_backend::rate::ClusterRate;
use sluicegate_backend::{
    AnswerReservation, Backend, Chunk, ClusterMembers, CommandError, CommandFuture, Dedup, Description,
    Enqueued, Fault, Fetch, LOG_START, ListedOffset, Log, Partition, Properties, System, Unready, Version,
    Written,
};
use sluicegate_fair_share::ClientKey;
use sluicegate_protocol::{Header, KafkaFetchResp, KafkaMessage, MESSAGE_ID_HEADER};
use sluicegate_shared_log::{Ends, SeenEnds};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::groups::MemoryGroups;
use super::{PARTITIONS, cluster};
use crate::cluster::{Cluster, MAX_RECORDS, Rates, Writes};

/// A topic's name is the time in milliseconds that a fetch or look-up takes. It can be followed by a dot and the number
/// of records in the log, otherwise each fetch gives one. A partition's number is the size in bytes of the fetched
/// values. The offset of a timestamp is the timestamp, or one less among committed records. A record with a message id
/// is no duplicate.
///
/// Behind `Logs`, each topic has the logs that a test writes.
#[derive(Debug, Default)]
pub struct Script {
    pub(super) has_logs: bool,
    pub(super) state: Mutex<State>,
    pub(super) changed: Notify,
    /// The groups of all clusters with these logs.
    pub groups: MemoryGroups,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    taken: Vec<Bytes>,
    schemas: Vec<Option<SchemaChoice>>,
    refusal: Option<CommandError>,
    acknowledges_in: Duration,
    /// The partition, by its number, at whose end others wait.
    pub(crate) watched: Option<i32>,
    marks: Option<(&'static str, Header)>,
    pub(crate) fetches: usize,
    /// Start and end.
    pub(crate) logs: BTreeMap<i32, (i64, i64)>,
    pub(crate) errors: BTreeMap<i32, CommandError>,
    /// The partition without a leader.
    pub(crate) unled: Option<i32>,
    /// The partition whose reads never end.
    pub(crate) silent: Option<i32>,
    /// Bytes that each read skips before it finds something.
    pub(crate) skipped: usize,
    /// Whether look-ups of offsets never end.
    pub(crate) are_ends_silent: bool,
    /// The time that a look-up of offsets takes.
    pub(crate) lists_in: Duration,
    /// The offset of any time.
    pub(crate) of_time: Option<i64>,
    /// Whether the topic is missing.
    pub(crate) is_hidden: bool,
    /// Of look-ups of offsets.
    pub(crate) offsets_refusal: Option<CommandError>,
    pub(crate) topic_id: Option<u128>,
    /// The id that is known in its place until it is asked for.
    pub(crate) outdated_id: Option<u128>,
    /// The offset at which a transaction is open.
    pub(crate) open: Option<i64>,
    /// The topic's partitions.
    pub(crate) added: i32,
    /// Whether reads find what was read before. Here: everything.
    pub(crate) keeps: bool,
    pub(crate) epoch: i32,
    /// Whether the version is unknown until it is asked for.
    pub(crate) is_version_unknown: bool,
    /// The end of what is left from earlier epochs; None: all.
    pub(crate) kept: Option<i64>,
    /// The key and the value of each record, and whether it has no value, by its offset.
    pub(crate) key: Option<fn(i64) -> &'static str>,
    pub(crate) value: Option<fn(i64) -> &'static str>,
    pub(crate) is_empty: Option<fn(i64) -> bool>,
    pub(crate) tombstone_life: Option<Duration>,
    /// Times that records in memory were dropped.
    pub(crate) forgotten: usize,
    /// Of questions for it.
    pub(crate) life_refusal: Option<CommandError>,
    /// Offsets, in all partitions, whose records are compacted away.
    pub(crate) compacted: BTreeSet<i64>,
}

impl Script {
    /// A cluster whose answers have at most `max_bytes`.
    pub fn cluster(max_bytes: usize) -> (Arc<Cluster>, Arc<Script>) {
        Self::cluster_of(System::Kafka, max_bytes)
    }

    /// The same of this system.
    pub fn cluster_of(system: System, max_bytes: usize) -> (Arc<Cluster>, Arc<Script>) {
        let script = Arc::new(Self::default());
        let writes = Some(Writes { max_records: MAX_RECORDS, due: CancellationToken::new() });
        let rates = Rates::new(100_000, 1 << 30, 4_000, 1_000);
        (cluster(system, Arc::clone(&script) as _, max_bytes, writes, rates), script)
    }

    /// The values written, in order.
    pub fn taken(&self) -> Vec<Bytes> {
        self.state().taken.clone()
    }

    /// The schemas of the values that were to be encoded, in order.
    pub fn schemas(&self) -> Vec<Option<SchemaChoice>> {
        self.state().schemas.clone()
    }

    /// Refuses every record from now on.
    pub fn refuse(&self, error: CommandError) {
        self.state().refusal = Some(error);
    }

    /// Gives all records this key and this header, and an end to each log: without a number, after one record.
    pub fn mark(&self, key: &'static str, (name, value): (&str, &'static str)) {
        self.state().marks = Some((key, Header { key: name.to_owned(), value: Some(value.into()) }));
    }

    /// Acknowledges records after this time.
    pub fn acknowledge_in(&self, time: Duration) {
        self.state().acknowledges_in = time;
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Fetches from a topic that says by its name what it has.
    async fn fetch_scripted(&self, log: Log<'_>, fetch: Fetch) -> Result<Chunk, CommandError> {
        self.check_log(fetch.source, log).await?;
        let (key, header) = self.state().marks.clone().unzip();
        let value = Some(vec![0; usize::try_from(log.partition).unwrap()].into());
        let headers = header.into_iter().collect();
        let message = KafkaMessage { key: key.map(Into::into), value, headers, ..Default::default() };
        let encoded = encode(message);
        let Some(end) = end_of(log.topic).or(key.map(|_| 1)) else {
            let nothing = Chunk::nothing(0, Ends::UNKNOWN);
            return Ok(Chunk { messages: encoded.into(), count: 1, ..nothing });
        };
        let left = usize::try_from(end - fetch.offset).unwrap();
        let count = (fetch.max_bytes / encoded.len()).max(1).min(left);
        let next_offset = fetch.offset + i64::try_from(count).unwrap();
        let ends = Ends { start: 0, stable: end, end };
        Ok(Chunk { messages: encoded.repeat(count).into(), count, ..Chunk::nothing(next_offset, ends) })
    }

    /// The offsets as they are now.
    fn list<'a>(
        &'a self,
        asked: &'a [(Log<'a>, i64)],
        committed: bool,
    ) -> BoxStream<'a, (usize, Result<ListedOffset, CommandError>)> {
        let state = self.state();
        if state.are_ends_silent {
            return stream::pending().boxed();
        }
        let list = |(number, (log, timestamp)): (usize, &(Log<'_>, i64))| {
            if let Some(refusal) = &state.offsets_refusal {
                return (number, Err(refusal.clone()));
            }
            let Ends { start, end, .. } = state.ends(log.partition);
            let offset = match *timestamp {
                timestamp if !self.has_logs => timestamp.saturating_sub(committed.into()),
                LOG_START => start,
                0.. => state.of_time.unwrap_or(end),
                _ => end,
            };
            (number, Ok(ListedOffset { offset, timestamp: -1 }))
        };
        let is_led = |(_, (log, _)): &(usize, &(Log<'_>, i64))| state.unled != Some(log.partition);
        let listed: Vec<_> = asked.iter().enumerate().filter(is_led).map(list).collect();
        // A leader is waited for.
        let is_complete = listed.len() == asked.len();
        let listed = stream::iter(listed);
        if is_complete { listed.boxed() } else { listed.chain(stream::pending()).boxed() }
    }

    /// Waits at the end of a log that a test writes.
    async fn wait_for_written(
        &self,
        log: Log<'_>,
        offset: i64,
        committed: bool,
        seen: SeenEnds,
    ) -> Option<Ends> {
        let of = self.state().topic_id;
        loop {
            let changed = self.changed.notified();
            {
                let state = self.state();
                let ends = state.ends(log.partition);
                let is_other = state.topic_id != of || ends.end < offset;
                let is_broken = state.errors.contains_key(&log.partition);
                if is_broken || is_other || ends.visible(committed) > offset {
                    return None;
                }
                if ends.is_beyond(seen) {
                    return Some(ends);
                }
            }
            changed.await;
        }
    }
}

impl State {
    pub(super) fn ends(&self, partition: i32) -> Ends {
        let (start, end) = self.logs.get(&partition).copied().unwrap_or_default();
        Ends { start, stable: self.open.unwrap_or(end).min(end), end }
    }

    fn known_id(&self) -> Option<u128> {
        self.outdated_id.or(self.topic_id)
    }

    fn read(&self, log: Log<'_>, fetch: Fetch) -> Result<Chunk, CommandError> {
        let ends = self.ends(log.partition);
        if let Some(error) = self.errors.get(&log.partition) {
            return Err(error.clone());
        }
        if self.unled == Some(log.partition) {
            return Err(CommandError::new(Fault::Transient, 5, "no leader"));
        }
        if fetch.offset < ends.start || fetch.offset > ends.end {
            return Err(CommandError::new(Fault::OffsetOutOfRange, 1, "out of range"));
        }
        let end = ends.visible(fetch.committed);
        let (mut messages, mut count, mut next) = (Vec::new(), 0, fetch.offset);
        while next < end && (fetch.max_records == 0 || count < fetch.max_records) {
            if self.compacted.contains(&next) {
                next += 1;
                continue;
            }
            let key = self.key.map(|key| key(next).into());
            let is_empty = self.is_empty.is_some_and(|is_empty| is_empty(next));
            let value = self.value.map_or_else(|| vec![0; 10].into(), |value| value(next).into());
            let value = (!is_empty).then_some(value);
            let encoded = encode(KafkaMessage { offset: next, key, value, ..Default::default() });
            if !messages.is_empty() && messages.len() + encoded.len() > fetch.max_bytes {
                break;
            }
            messages.extend(encoded);
            (next, count) = (next + 1, count + 1);
        }
        Ok(Chunk { messages: messages.into(), count, ..Chunk::nothing(next, ends) })
    }
}

fn encode(message: KafkaMessage) -> Vec<u8> {
    KafkaFetchResp { messages: vec![message], ..Default::default() }.encode_to_vec()
}

/// The end of the log of a topic whose name tells it.
fn end_of(topic: &str) -> Option<i64> {
    topic.split_once('.').map(|(_, end)| end.parse().unwrap())
}

/// A topic that is listed, and missing when it is looked up.
const GONE: &str = "gone";

/// The id of all schemas.
const SCHEMA: u32 = 7;

fn missing() -> CommandError {
    CommandError::new(Fault::NotFound, 3, "no such topic")
}

/// The time after a wait until the proof comes that a log has no record.
pub const PROOF: Duration = Duration::from_millis(20);

impl Backend for Script {
    fn ready(&self, _: Duration) -> BoxFuture<'_, Result<String, Unready>> {
        ready(Ok(String::new())).boxed()
    }

    fn fetch<'a>(
        &'a self,
        log: Log<'a>,
        fetch: Fetch,
        scans: &'a ClusterRate,
        _: &'a mut dyn AnswerReservation,
    ) -> CommandFuture<'a, Chunk> {
        async move {
            self.state().fetches += 1;
            let State { silent, skipped, .. } = *self.state();
            if !self.has_logs {
                return self.fetch_scripted(log, fetch).await;
            }
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
            self.state().read(log, fetch)
        }
        .boxed()
    }

    fn recent(&self, log: Log<'_>, fetch: Fetch) -> Option<Chunk> {
        let state = self.state();
        state.keeps.then(|| state.read(log, fetch).ok())?.filter(|fetched| fetched.count > 0)
    }

    fn version(&self, log: Log<'_>) -> Version {
        let state = self.state();
        if state.is_version_unknown || !self.has_logs {
            return Version::default();
        }
        let leader_epoch = (state.unled != Some(log.partition)).then_some(state.epoch);
        Version { topic_id: state.known_id(), leader_epoch }
    }

    fn may_have_leader(&self, log: Log<'_>) -> bool {
        self.state().unled != Some(log.partition)
    }

    fn last_epoch(&self, _: Log<'_>) -> Option<i32> {
        Some(self.state().epoch)
    }

    fn ask_version<'a>(&'a self, _: ClientKey, log: Log<'a>) -> CommandFuture<'a, Version> {
        {
            let mut state = self.state();
            (state.outdated_id, state.is_version_unknown) = (None, false);
        }
        self.changed.notify_waiters();
        ready(Ok(self.version(log))).boxed()
    }

    fn known_end(&self, log: Log<'_>) -> Option<i64> {
        self.has_logs.then(|| self.state().ends(log.partition).end)
    }

    fn forget(&self, _: Log<'_>) {
        self.state().forgotten += 1;
    }

    fn tombstone_life<'a>(&'a self, _: ClientKey, _: &'a str) -> CommandFuture<'a, Option<Duration>> {
        let state = self.state();
        ready(state.life_refusal.clone().map_or(Ok(state.tombstone_life), Err)).boxed()
    }

    fn end_of_epoch<'a>(&'a self, _: ClientKey, log: Log<'a>, epoch: i32) -> CommandFuture<'a, Option<i64>> {
        let state = self.state();
        let kept = state.kept.filter(|_| epoch < state.epoch);
        ready(Ok(self.has_logs.then(|| kept.unwrap_or(state.ends(log.partition).end)))).boxed()
    }

    fn is_watched(&self, log: Log<'_>, _: i64, _: bool) -> bool {
        self.state().watched == Some(log.partition)
    }

    fn wait_for_records<'a>(
        &'a self,
        log: Log<'a>,
        offset: i64,
        committed: bool,
        until: Option<Instant>,
        seen: SeenEnds,
    ) -> BoxFuture<'a, Option<Ends>> {
        async move {
            match until {
                None if self.has_logs => self.wait_for_written(log, offset, committed, seen).await,
                None => pending().await,
                Some(until) if self.has_logs => {
                    let waits = self.wait_for_written(log, offset, committed, seen);
                    let ends = || self.state().ends(log.partition);
                    timeout_at(until, waits).await.unwrap_or_else(|_| Some(ends()))
                }
                Some(until) => {
                    sleep_until(until + PROOF).await;
                    end_of(log.topic).map(|end| Ends { start: 0, stable: end, end })
                }
            }
        }
        .boxed()
    }

    fn list_offsets<'a>(
        &'a self,
        _: ClientKey,
        asked: &'a [(Log<'a>, i64)],
        committed: bool,
    ) -> BoxStream<'a, (usize, Result<ListedOffset, CommandError>)> {
        let time = self.state().lists_in;
        if !time.is_zero() {
            return stream::once(sleep(time)).flat_map(move |()| self.list(asked, committed)).boxed();
        }
        self.list(asked, committed)
    }

    fn groups(&self) -> Option<&dyn Groups> {
        Some(&self.groups)
    }

    fn topics(&self) -> CommandFuture<'_, Arc<[String]>> {
        ready(Ok(["a", "b.1", "b.2", GONE].map(str::to_owned).into())).boxed()
    }

    fn members(&self, _: ClientKey) -> CommandFuture<'_, ClusterMembers> {
        ready(Ok(ClusterMembers { id: Some("own-id".to_owned()), brokers: vec![1, 2] })).boxed()
    }

    fn known_properties(&self, _: &str) -> Option<Properties> {
        let properties = [("retention.ms", "1"), ("cleanup.policy", "delete")];
        Some(properties.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
    }

    fn known_partitions(&self, topic: &str) -> usize {
        topic.parse().unwrap_or_default()
    }

    fn partitions<'a>(&'a self, _: ClientKey, topic: &'a str) -> CommandFuture<'a, Arc<Description>> {
        let state = self.state();
        if state.is_hidden || topic == GONE {
            return ready(Err(missing())).boxed();
        }
        let count = if self.has_logs { PARTITIONS + state.added } else { 1 };
        let leader = self.has_logs.then_some(1);
        let partition = |partition| Partition { partition, leader, replicas: Vec::new() };
        let description = Description::new(state.known_id(), (0..count).map(partition).collect());
        ready(Ok(Arc::new(description))).boxed()
    }

    fn check_log<'a>(&'a self, _: ClientKey, log: Log<'a>) -> CommandFuture<'a, ()> {
        async move {
            if self.has_logs {
                return Ok(());
            }
            if log.topic == GONE {
                return Err(missing());
            }
            let Ok(millis) = log.topic.split('.').next().unwrap_or_default().parse() else {
                return Err(CommandError::new(Fault::Invalid, 17, "expected milliseconds as the topic"));
            };
            sleep(Duration::from_millis(millis)).await;
            Ok(())
        }
        .boxed()
    }

    fn encode<'a>(
        &'a self,
        _: ClientKey,
        records: &'a mut [Record],
        _: &'a mut [Option<CommandError>],
        _: &'a ClusterRate,
    ) -> BoxFuture<'a, ()> {
        for record in records {
            let wanted = record.value_schema.take();
            record.value_schema = wanted.is_some().then_some(SchemaChoice::Id(SCHEMA));
            self.state().schemas.push(wanted);
        }
        ready(()).boxed()
    }

    fn enqueue<'a>(
        &'a self,
        _: ClientKey,
        records: Vec<Record>,
        errors: Vec<Option<CommandError>>,
        _: &'a CancellationToken,
    ) -> CommandFuture<'a, Enqueued<'a>> {
        let mut state = self.state();
        let mut reports = Vec::new();
        for (record, error) in records.into_iter().zip(errors) {
            let offset = i64::try_from(state.taken.len()).unwrap();
            reports.push(match error.or_else(|| state.refusal.clone()) {
                Some(error) => Err(error),
                None => {
                    let has_id = record.headers.iter().any(|header| header.key == MESSAGE_ID_HEADER);
                    let window = Duration::from_secs(120);
                    let dedup = Dedup { is_duplicate: false, window, in_order: false, last: None };
                    state.taken.push(record.value.unwrap_or_default());
                    Ok(Written { offset, dedup: has_id.then_some(dedup), ..Written::default() })
                }
            });
        }
        let queued = reports.iter().filter(|report| report.is_ok()).count();
        let time = state.acknowledges_in;
        ready(Ok(Enqueued { queued, reports: sleep(time).map(|()| reports).boxed() })).boxed()
    }

    fn has_queued_records(&self) -> bool {
        false
    }

    fn end_writes(&self, _: Instant) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }
}

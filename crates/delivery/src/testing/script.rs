//! A scripted messaging system for tests.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, pending, ready};
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use prost::Message;
use sluicegate_backend::command::Record;
use sluicegate_backend::rate::ClusterRate;
use sluicegate_backend::{
    AnswerReservation, Backend, CommandError, Dedup, Description, Enqueued, Fault, Fetch, Fetched,
    ListedOffset, Log, Partition, System, Unready, Version, Written,
};
use sluicegate_fair_share::ClientKey;
use sluicegate_protocol::{Header, KafkaFetchResp, KafkaMessage, MESSAGE_ID_HEADER};
use sluicegate_shared_log::{Ends, SeenEnds};
use sluicegate_telemetry::metrics::{Metrics, TableMetrics};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::TABLE_BYTES;
use crate::cluster::{Cluster, MAX_RECORDS, Parts, Rates, Reads, TableLimits, Writes};

/// A topic's name is the time in milliseconds that a fetch or look-up takes. It can be followed by a dot and the number
/// of records in the log, otherwise each fetch gives one. A partition's number is the size in bytes of the fetched
/// values. The offset of a timestamp is the timestamp, or one less among committed records. A record with a message id
/// is no duplicate.
#[derive(Debug, Default)]
pub struct Script {
    taken: Mutex<Vec<Bytes>>,
    refusal: Mutex<Option<CommandError>>,
    acknowledges_in: Mutex<Duration>,
    watched: Mutex<Option<i32>>,
    marks: Mutex<Option<(&'static str, Header)>>,
    fetches: AtomicUsize,
}

impl Script {
    /// A cluster whose answers have at most `max_bytes`.
    pub fn cluster(max_bytes: usize) -> (Arc<Cluster>, Arc<Script>) {
        Self::cluster_of(System::Kafka, max_bytes)
    }

    /// The same of this system.
    pub fn cluster_of(system: System, max_bytes: usize) -> (Arc<Cluster>, Arc<Script>) {
        let script = Arc::new(Self::default());
        let reads = Reads { max_bytes, wait: Duration::ZERO, table_away: Duration::from_secs(3600) };
        let writes = Some(Writes { max_records: MAX_RECORDS, due: CancellationToken::new() });
        let metrics = Metrics::default().cluster("script");
        let parts = Parts::new(Arc::clone(&script) as _, 0, reads, writes);
        let rates = Rates::new(100_000, 1 << 30, 4_000);
        rates.set_has_clusters(false);
        (
            Arc::new(Cluster::new(
                system,
                parts,
                metrics,
                rates,
                TableLimits::new(TABLE_BYTES, TableMetrics::default()),
            )),
            script,
        )
    }

    /// The values written, in order.
    pub fn taken(&self) -> Vec<Bytes> {
        self.taken.lock().unwrap().clone()
    }

    /// Refuses every record from now on.
    pub fn refuse(&self, error: CommandError) {
        *self.refusal.lock().unwrap() = Some(error);
    }

    /// Gives all records this key and this header, and an end to each log: without a number, after one record.
    pub fn mark(&self, key: &'static str, (name, value): (&str, &'static str)) {
        let header = Header { key: name.to_owned(), value: Some(value.into()) };
        *self.marks.lock().unwrap() = Some((key, header));
    }

    /// Lets others wait at the ends of partitions with this number.
    pub fn watch(&self, partition: i32) {
        *self.watched.lock().unwrap() = Some(partition);
    }

    /// The number of fetches.
    pub fn fetches(&self) -> usize {
        self.fetches.load(Ordering::Relaxed)
    }

    /// Acknowledges records after this time.
    pub fn acknowledge_in(&self, time: Duration) {
        *self.acknowledges_in.lock().unwrap() = time;
    }
}

/// A topic that is listed, and missing when it is looked up.
const GONE: &str = "gone";

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
        _: &'a ClusterRate,
        _: &'a mut dyn AnswerReservation,
    ) -> BoxFuture<'a, Result<Fetched, CommandError>> {
        async move {
            self.fetches.fetch_add(1, Ordering::Relaxed);
            self.check_log(fetch.source, log).await?;
            let value = Some(vec![0; usize::try_from(log.partition).unwrap()].into());
            let (key, header) = self.marks.lock().unwrap().clone().unzip();
            let headers = header.into_iter().collect();
            let message = KafkaMessage { key: key.map(Into::into), value, headers, ..Default::default() };
            let encoded = KafkaFetchResp { messages: vec![message], ..Default::default() }.encode_to_vec();
            let of_key = key.map(|_| ("", "1"));
            let Some((_, end)) = log.topic.split_once('.').or(of_key) else {
                return Ok(Fetched {
                    messages: encoded.into(),
                    count: 1,
                    next_offset: 0,
                    ends: Ends::UNKNOWN,
                });
            };
            let end = end.parse::<i64>().unwrap();
            let left = usize::try_from(end - fetch.offset).unwrap();
            let count = (fetch.max_bytes / encoded.len()).max(1).min(left);
            let next_offset = fetch.offset + i64::try_from(count).unwrap();
            let ends = Ends { start: 0, stable: end, end };
            Ok(Fetched { messages: encoded.repeat(count).into(), count, next_offset, ends })
        }
        .boxed()
    }

    fn recent(&self, _: Log<'_>, _: Fetch) -> Option<Fetched> {
        None
    }

    fn version(&self, _: Log<'_>) -> Version {
        Version::default()
    }

    fn ask_version<'a>(&'a self, _: ClientKey, log: Log<'a>) -> BoxFuture<'a, Result<Version, CommandError>> {
        ready(Ok(self.version(log))).boxed()
    }

    fn known_end(&self, _: Log<'_>) -> Option<i64> {
        None
    }

    fn tombstone_life<'a>(
        &'a self,
        _: ClientKey,
        _: &'a str,
    ) -> BoxFuture<'a, Result<Option<Duration>, CommandError>> {
        ready(Ok(None)).boxed()
    }

    fn end_of_epoch<'a>(
        &'a self,
        _: ClientKey,
        _: Log<'a>,
        _: i32,
    ) -> BoxFuture<'a, Result<Option<i64>, CommandError>> {
        ready(Ok(None)).boxed()
    }

    fn is_watched(&self, log: Log<'_>, _: i64, _: bool) -> bool {
        *self.watched.lock().unwrap() == Some(log.partition)
    }

    fn wait_for_records<'a>(
        &'a self,
        log: Log<'a>,
        _: i64,
        _: bool,
        until: Option<Instant>,
        _: SeenEnds,
    ) -> BoxFuture<'a, Option<Ends>> {
        async move {
            let Some(until) = until else { return pending().await };
            sleep_until(until + PROOF).await;
            let end = log.topic.split_once('.').and_then(|(_, end)| end.parse().ok());
            end.map(|end| Ends { start: 0, stable: end, end })
        }
        .boxed()
    }

    fn list_offsets<'a>(
        &'a self,
        _: ClientKey,
        asked: &'a [(Log<'a>, i64)],
        committed: bool,
    ) -> BoxStream<'a, (usize, Result<ListedOffset, CommandError>)> {
        let list = move |(number, (_, timestamp)): (usize, &(Log<'_>, i64))| {
            let offset = timestamp.saturating_sub(committed.into());
            (number, Ok(ListedOffset { offset, timestamp: -1 }))
        };
        stream::iter(asked.iter().enumerate().map(list)).boxed()
    }

    fn topics(&self) -> BoxFuture<'_, Result<Arc<[String]>, CommandError>> {
        ready(Ok(["a", "b.1", "b.2", GONE].map(str::to_owned).into())).boxed()
    }

    fn known_partitions(&self, topic: &str) -> usize {
        topic.parse().unwrap_or_default()
    }

    fn partitions<'a>(
        &'a self,
        _: ClientKey,
        topic: &'a str,
    ) -> BoxFuture<'a, Result<Arc<Description>, CommandError>> {
        let described = match topic {
            GONE => Err(missing()),
            _ => Ok(Arc::new(Description::new(
                None,
                vec![Partition { partition: 0, leader: None, replicas: Vec::new() }],
            ))),
        };
        ready(described).boxed()
    }

    fn check_log<'a>(&'a self, _: ClientKey, log: Log<'a>) -> BoxFuture<'a, Result<(), CommandError>> {
        async move {
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

    fn prepare_writes(&self) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }

    fn enqueue<'a>(
        &'a self,
        _: ClientKey,
        records: Vec<Record>,
        errors: Vec<Option<CommandError>>,
        _: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Enqueued<'a>, CommandError>> {
        let refusal = self.refusal.lock().unwrap().clone();
        let mut taken = self.taken.lock().unwrap();
        let mut reports = Vec::new();
        for (record, error) in records.into_iter().zip(errors) {
            let offset = i64::try_from(taken.len()).unwrap();
            reports.push(match error.or_else(|| refusal.clone()) {
                Some(error) => Err(error),
                None => {
                    let has_id = record.headers.iter().any(|header| header.key == MESSAGE_ID_HEADER);
                    let dedup = Dedup { is_duplicate: false, window: Duration::from_secs(120) };
                    taken.push(record.value.unwrap_or_default());
                    Ok(Written { partition: 0, offset, timestamp: 0, dedup: has_id.then_some(dedup) })
                }
            });
        }
        let queued = reports.iter().filter(|report| report.is_ok()).count();
        let time = *self.acknowledges_in.lock().unwrap();
        ready(Ok(Enqueued { queued, reports: sleep(time).map(|()| reports).boxed() })).boxed()
    }

    fn has_queued_records(&self) -> bool {
        false
    }

    fn end_writes(&self, _: Instant) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }
}

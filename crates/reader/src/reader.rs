//! The public calls.

mod read_ahead;
mod read_through;
mod version;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::ready;
use futures_util::stream::{self, Stream, StreamExt};
use kafka_protocol::error::ResponseError;
use sluicegate_fair_share::ClientKey;
use sluicegate_shared_log::{
    AnswerReservation, AnswerSize, Chunk, ClusterLogs, Ends, Event, Fetch, Fetched, FirstEntry, ListedOffset,
    LogKey, RawReads, SeenEnds, SingleFlight,
};
use tokio::time::{Instant, sleep, timeout_at};

use self::read_ahead::ReadAhead;
use crate::broker_failures::BrokerFailures;
use crate::brokers::Brokers;
use crate::clock::in_future;
use crate::config::Config;
use crate::connection_error::ConnectionError;
use crate::encoder_pool::EncoderPool;
use crate::entries::first_entry;
use crate::error_code::ErrorCode;
use crate::log_version::LogVersion;
use crate::observer::BrokerStates;
use crate::offsets::{Asked, OffsetRequests, Offsets};
use crate::read_error::ReadError;
use crate::skip_cache::SkipCache;
use crate::skip_meter::SkipMeter;
use crate::tail::{Tails, Waiting, place};
use crate::topic::Topic;
use crate::topic_partition::TopicPartition;

/// Reads from one cluster. Clones share connections and metadata; dropping the last one closes them, once requests that
/// are under way have ended.
///
/// Calls share work: one opens a connection or requests metadata, and others wait for it. A call must therefore be
/// polled or dropped, as any future that a task awaits.
#[derive(Clone)]
pub struct Reader {
    inner: Arc<Inner>,
}

struct Inner {
    brokers: Arc<Brokers>,
    skip_caches: SkipCaches,
    encoders: EncoderPool,
    /// Recently read records.
    logs: Arc<ClusterLogs>,
    /// Without an answer, a part of the log was skipped, and each caller goes on.
    fetches: SingleFlight<FetchKey, Result<Option<Chunk>, ReadError>>,
    read_ahead: ReadAhead,
    offset_requests: OffsetRequests,
    /// By topic, partition, and the epoch in question.
    epoch_ends: SingleFlight<(String, i32, i32), Result<Option<i64>, ReadError>>,
    tails: Arc<Tails>,
}

/// Ranges without anything to deliver, by isolation level.
#[derive(Default)]
struct SkipCaches {
    all: SkipCache,
    committed: SkipCache,
}

/// A log as one isolation level shows it.
#[derive(Clone, Copy)]
struct ReadLog<'a> {
    target: TopicPartition<'a>,
    committed: bool,
    /// The client for whom it is read.
    source: ClientKey,
    skips: &'a dyn SkipMeter,
}

impl ReadLog<'_> {
    fn key(self, version: LogVersion) -> LogKey {
        version.key(self.target, self.committed)
    }
}

/// Identifies a fetch.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct FetchKey {
    topic: String,
    partition: i32,
    committed: bool,
    offset: i64,
}

impl FetchKey {
    fn new(log: ReadLog<'_>, offset: i64) -> Self {
        let (topic, partition) = (log.target.topic().to_owned(), log.target.partition());
        Self { topic, partition, committed: log.committed, offset }
    }

    fn is_of(&self, log: ReadLog<'_>) -> bool {
        (self.topic.as_str(), self.partition, self.committed)
            == (log.target.topic(), log.target.partition(), log.committed)
    }
}

/// The reads of one fetch.
struct LogReads<'a> {
    reader: &'a Reader,
    log: ReadLog<'a>,
}

impl RawReads for LogReads<'_> {
    type Version = LogVersion;
    type Error = ReadError;
    const FIRST_ENTRY: FirstEntry = first_entry;

    fn version(&self) -> Option<LogVersion> {
        self.reader.version_of(self.log)
    }

    fn is_watched(&self, position: i64) -> bool {
        self.reader.is_watched_log(self.log, position)
    }

    async fn read_through(&mut self, position: i64, size: AnswerSize) -> Result<Chunk, ReadError> {
        self.reader.read_through(self.log, position, size).await
    }

    async fn wait(&mut self, position: i64, until: Instant, proven: Option<Ends>) -> Event {
        let Some((tail, key, leader_epoch)) = self.reader.tail(self.log) else { return Event::Failed };
        let tails = &self.reader.inner.tails;
        let due = proven.is_none().then_some(until);
        let wait = tails.wait(&tail, &key, leader_epoch, position, due);
        match proven {
            Some(ends) => timeout_at(until, wait).await.unwrap_or(Event::End(ends)),
            None => wait.await,
        }
    }
}

impl Reader {
    /// A reader of the cluster that `config` describes. Sends nothing before the first call. Keeps what it has read in
    /// `logs`, and shares `encoders` with other clusters.
    ///
    /// Calls must run inside a tokio runtime with time and I/O enabled.
    pub fn new(config: Config, logs: ClusterLogs, encoders: EncoderPool) -> Self {
        let brokers = Brokers::new(Arc::new(config));
        let logs = Arc::new(logs);
        let tails = Tails::new(Arc::clone(&brokers), encoders.clone(), Arc::clone(&logs));
        let inner = Inner {
            brokers,
            skip_caches: SkipCaches::default(),
            encoders,
            logs,
            fetches: SingleFlight::default(),
            read_ahead: ReadAhead::default(),
            offset_requests: OffsetRequests::default(),
            epoch_ends: SingleFlight::default(),
            tails,
        };
        Self { inner: Arc::new(inner) }
    }

    /// The cluster's name in log lines.
    pub fn cluster(&self) -> &str {
        &self.inner.brokers.config().name
    }

    /// Counts the brokers that are known now by state; `None` once every clone of the reader is gone.
    pub fn broker_states(&self) -> impl Fn() -> Option<BrokerStates> + Send + Sync + use<> {
        let brokers = Arc::downgrade(&self.inner.brokers);
        move || brokers.upgrade().map(|brokers| brokers.states())
    }

    /// Finds an offset of each of some partitions, by topic, partition and timestamp. Timestamp
    /// [`LOG_END`](sluicegate_shared_log::LOG_END) gives the high watermark, or if `committed` the last stable offset;
    /// [`LOG_START`](sluicegate_shared_log::LOG_START) the log start; −3 the record with the latest timestamp, from
    /// Kafka 3.0 on; and 0 or more the first record at or after that time, in milliseconds since 1970-01-01T00:00:00Z,
    /// or −1 if there is none.
    ///
    /// Gives each with its number as it is known. Each fails with a [`ReadError`] within `socket.timeout.ms`. Requests
    /// for ends are shared with other calls, none of them sent before this one. `source` is the client for whom it is.
    ///
    /// # Cancel safety
    /// Dropping the stream loses its results and nothing else.
    pub fn list_offsets<'a>(
        &'a self,
        source: ClientKey,
        asked: &[(&'a str, i32, i64)],
        committed: bool,
    ) -> impl Stream<Item = (usize, Result<ListedOffset, ReadError>)> + Send + use<'a> {
        let Inner { brokers, offset_requests, .. } = &*self.inner;
        let (mut valid, mut numbers, mut invalid) = (Vec::new(), Vec::new(), Vec::new());
        for (number, (topic, partition, timestamp)) in asked.iter().copied().enumerate() {
            match Asked::parse(topic, partition, timestamp) {
                Ok(asked) => {
                    valid.push(asked);
                    numbers.push(number);
                }
                Err(error) => invalid.push((number, Err(error))),
            }
        }
        let deadline = in_future(brokers.config().request_timeout);
        let offsets = Offsets::new(brokers, offset_requests, source, &valid, committed, deadline);
        let answered = stream::unfold(offsets, async |mut offsets| Some((offsets.next().await?, offsets)));
        let numbered = move |(number, listed): (usize, _)| Some((*numbers.get(number)?, listed));
        stream::iter(invalid)
            .chain(answered.flat_map(stream::iter).filter_map(move |answer| ready(numbered(answer))))
    }

    /// Reads records of a partition from an offset on, in order and without gaps. Counts what it skips in `skips`: up
    /// to 16 MiB, or until the client has to wait for more than a second.
    ///
    /// # Errors
    /// [`ReadError`], within `socket.timeout.ms` plus the wait.
    ///
    /// # Cancel safety
    /// Dropping the call loses its result and nothing else.
    pub async fn fetch(
        &self,
        topic: &str,
        partition: i32,
        fetch: Fetch,
        skips: &dyn SkipMeter,
        reservation: &mut dyn AnswerReservation,
    ) -> Result<Fetched, ReadError> {
        let target = TopicPartition::parse(topic, partition)?;
        if fetch.offset < 0 {
            let detail = format!("offset {}: expected 0 or more", fetch.offset);
            return Err(ReadError::Request { code: ErrorCode(ResponseError::OffsetOutOfRange), detail });
        }
        let log = ReadLog { target, committed: fetch.committed, source: fetch.source, skips };
        let fetched =
            sluicegate_shared_log::fetch(&mut LogReads { reader: self, log }, fetch, reservation).await?;
        self.read_ahead(log, fetch, &fetched);
        Ok(fetched)
    }

    /// The records from an offset on that were read before, without a wait; `None` if there are none.
    ///
    /// # Panics
    /// Outside a tokio runtime: what follows them can be requested.
    pub fn recent(&self, topic: &str, partition: i32, fetch: Fetch) -> Option<Fetched> {
        let target = TopicPartition::parse(topic, partition).ok()?;
        let log = ReadLog { target, committed: fetch.committed, source: fetch.source, skips: &() };
        let recent = Fetched::from(self.kept(log, fetch.offset, fetch.size())?);
        self.read_ahead(log, fetch, &recent);
        Some(recent)
    }

    /// The end of a log, as far as it is known from records that were read lately.
    pub fn known_end(&self, topic: &str, partition: i32) -> Option<i64> {
        let log = ReadLog {
            target: TopicPartition::parse(topic, partition).ok()?,
            committed: false,
            source: ClientKey::default(),
            skips: &(),
        };
        self.inner.logs.end(&log.key(self.version_of(log)?))
    }

    /// Records of a log that were read before. Those of another version do not count.
    fn kept(&self, log: ReadLog<'_>, offset: i64, size: AnswerSize) -> Option<Chunk> {
        let (version, now) = (self.version_of(log)?, Instant::now().into());
        let (key, epoch) = (log.key(version), version.leader_epoch.into());
        self.inner.logs.read(&key, epoch, offset, size, first_entry, now)
    }

    /// `None` if the leader is not known now.
    fn version_of(&self, log: ReadLog<'_>) -> Option<LogVersion> {
        self.inner.brokers.known_version(log.target)
    }

    /// Waits until there may be a record at the end of a log, as [`Tails::wait_for_notice`].
    async fn wait_for_notice(
        &self,
        log: ReadLog<'_>,
        offset: i64,
        due: Option<Instant>,
        seen: SeenEnds,
    ) -> Event {
        let Some((tail, key, leader_epoch)) = self.tail(log) else { return Event::Failed };
        self.inner.tails.wait_for_notice(&tail, &key, leader_epoch, offset, due, seen).await
    }

    fn is_watched_log(&self, log: ReadLog<'_>, offset: i64) -> bool {
        self.tail(log).is_some_and(|(tail, key, _)| self.inner.tails.is_watched(&tail, &key, offset))
    }

    fn tail(&self, log: ReadLog<'_>) -> Option<Waiting> {
        place(&self.inner.brokers, log.target, log.committed)
    }

    /// Whether a fetch that waits at this offset needs no read of the log before: others wait there, and will be told
    /// of a record.
    pub fn is_watched(&self, topic: &str, partition: i32, offset: i64, committed: bool) -> bool {
        let log = TopicPartition::parse(topic, partition).map(|target| ReadLog {
            target,
            committed,
            source: ClientKey::default(),
            skips: &(),
        });
        log.is_ok_and(|log| self.is_watched_log(log, offset))
    }

    /// Waits until a log may have records for clients at `offset` or after it. If `until` is set, the wait ends then: a
    /// request that was sent after the call began proves that there is none, and gives the ends of the log. It gives them
    /// earlier, too, if the log begins after `seen`, or has had records after it for 5 s that wait for a transaction.
    ///
    /// # Cancel safety
    /// Dropping the call has no effect.
    pub async fn wait_for_records(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        committed: bool,
        until: Option<Instant>,
        seen: SeenEnds,
    ) -> Option<Ends> {
        let target = TopicPartition::parse(topic, partition).ok()?;
        let log = ReadLog { target, committed, source: ClientKey::default(), skips: &() };
        match self.wait_for_notice(log, offset, until, seen).await {
            Event::End(ends) => Some(ends),
            Event::Records(_) | Event::Read => None,
            Event::Failed => {
                sleep(PAUSE).await;
                None
            }
        }
    }

    /// Succeeds if a partition exists, whether or not it has a leader at the moment. Missing topics are not created.
    ///
    /// # Errors
    /// [`ReadError`], within `socket.timeout.ms`.
    ///
    /// # Cancel safety
    /// Dropping the call has no effect.
    pub async fn check_partition(
        &self,
        source: ClientKey,
        topic: &str,
        partition: i32,
    ) -> Result<(), ReadError> {
        let target = TopicPartition::parse(topic, partition)?;
        let brokers = &self.inner.brokers;
        let deadline = in_future(brokers.config().request_timeout);
        match brokers.leader(source, target, None, deadline).await {
            Err(error) if error.is_unavailable() || !error.retriable() => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// The sorted names of all topics that the cluster's user can see, without Kafka's internal ones.
    ///
    /// The list is requested after the call, once for all waiting calls, and at most ten times a second.
    ///
    /// # Errors
    /// [`ReadError`], within `socket.timeout.ms`. Lists larger than `receive.message.max.bytes` always fail.
    ///
    /// # Cancel safety
    /// Dropping the call has no effect.
    pub async fn topics(&self) -> Result<Arc<[String]>, ReadError> {
        let brokers = &self.inner.brokers;
        brokers.topics(in_future(brokers.config().request_timeout)).await
    }

    /// The number of a topic's partitions, as far as it is known.
    pub fn known_partitions(&self, topic: &str) -> usize {
        self.inner.brokers.known_partitions(topic)
    }

    /// A topic's partitions, cached for up to a second: the same value until then, as long as a caller keeps it.
    /// Missing topics are not created.
    ///
    /// # Errors
    /// [`ReadError`], within `socket.timeout.ms`.
    ///
    /// # Cancel safety
    /// Dropping the call has no effect.
    pub async fn topic(&self, source: ClientKey, name: &str) -> Result<Arc<Topic>, ReadError> {
        let target = TopicPartition::parse(name, 0)?;
        let brokers = &self.inner.brokers;
        brokers.topic(source, target, DESCRIPTION_AGE, in_future(brokers.config().request_timeout)).await
    }

    /// Succeeds if metadata is available and one broker answers at its advertised address. A read can still fail: it
    /// needs the leader of its partition. Returns the number of brokers in the metadata, or 0 if the only broker that
    /// answered throttles.
    ///
    /// # Errors
    /// [`ReadError`], within `socket.timeout.ms`.
    ///
    /// # Cancel safety
    /// Dropping the call has no effect.
    pub async fn ready(&self) -> Result<usize, ReadError> {
        let brokers = &self.inner.brokers;
        let deadline = in_future(brokers.config().request_timeout);
        let advertised = match brokers.advertised(READY_AGE, deadline).await {
            // A broker that throttles has answered.
            Err(ReadError::Unreachable { cause: ConnectionError::Throttled { .. }, .. }) => return Ok(0),
            brokers => brokers?,
        };
        let count = advertised.len();
        let mut failures = BrokerFailures::default();
        for broker in advertised {
            match timeout_at(deadline, broker.is_reachable()).await {
                Ok(Ok(())) => return Ok(count),
                Ok(Err(failure)) => failures.add(failure),
                Err(_) => break,
            }
        }
        Err(brokers.unreachable(failures))
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("config", self.inner.brokers.config()).finish_non_exhaustive()
    }
}

/// A good maximum size of a result, in bytes: large enough to make the fixed cost of a fetch negligible.
pub const DEFAULT_MAX_BYTES: usize = 256 * 1024;

/// The pause of a wait after a failed request.
const PAUSE: Duration = Duration::from_millis(100);

/// The time for which the description of a topic is cached.
const DESCRIPTION_AGE: Duration = Duration::from_secs(1);

/// The maximum age of metadata for [`Reader::ready`].
const READY_AGE: Duration = Duration::from_millis(250);

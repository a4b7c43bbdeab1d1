//! The public calls.

mod describe;
mod groups;
mod produce;
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
    AnswerReservation, AnswerSize, Chunk, ClusterLogs, Ends, Event, Fetch, FirstEntry, ListedOffset, Log,
    LogKey, RawReads, SeenEnds, SingleFlight, Version,
};
use tokio::time::{Instant, sleep, timeout_at};

pub use self::describe::Properties;
use self::describe::PropertyCache;
use self::groups::ToldGroup;
pub use self::groups::{Described, Join, Joined};
use self::produce::ProducerRequests;
pub use self::produce::{FROM_ID, NotProduced, Produced};
use self::read_through::ReadAhead;
pub use self::read_through::SkipMeter;
use crate::backoff::in_future;
use crate::broker_failures::BrokerFailures;
use crate::brokers::Brokers;
use crate::config::Config;
use crate::coordinator::Coordinators;
use crate::encoder_pool::{EncoderPool, first_entry};
use crate::error::{ConnectionError, ErrorCode, ReadError};
use crate::metadata_cache::Topic;
use crate::observer::BrokerStates;
use crate::offsets::{Asked, OffsetRequests, Offsets};
use crate::skip_cache::SkipCache;
use crate::tail::{Tails, Waiting, place};
use crate::topic_partition::TopicPartition;

/// Reads from one cluster, and writes of idempotent producers. Clones share connections and metadata; dropping the last
/// one closes them, once requests that are under way have ended.
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
    properties: PropertyCache,
    tails: Arc<Tails>,
    coordinators: Coordinators,
    groups: SingleFlight<String, Result<ToldGroup, ReadError>>,
    producers: ProducerRequests,
}

/// A log of whichever version, and the offset to read from.
type FetchKey = (LogKey, i64);

/// Ranges without anything to deliver, by isolation level.
#[derive(Default)]
struct SkipCaches {
    all: SkipCache,
    committed: SkipCache,
}

/// A log as one client reads it, at one isolation level.
#[derive(Clone, Copy)]
struct LogReads<'a> {
    reader: &'a Reader,
    target: TopicPartition<'a>,
    committed: bool,
    source: ClientKey,
    skips: &'a dyn SkipMeter,
}

impl RawReads for LogReads<'_> {
    type Version = Version;
    type Error = ReadError;
    const FIRST_ENTRY: FirstEntry = first_entry;

    /// `None` if the leader is not known now.
    fn version(&self) -> Option<Version> {
        self.reader.inner.brokers.known_version(self.target)
    }

    fn is_watched(&self, position: i64) -> bool {
        let tails = &self.reader.inner.tails;
        self.tail().is_some_and(|(tail, key, _)| tails.is_watched(&tail, &key, position))
    }

    async fn read_through(&mut self, position: i64, size: AnswerSize) -> Result<Chunk, ReadError> {
        self.kept_or_requested(position, size).await
    }

    async fn wait(&mut self, position: i64, until: Instant, proven: Option<Ends>) -> Event {
        let Some((tail, key, leader_epoch)) = self.tail() else { return Event::Failed };
        let tails = &self.reader.inner.tails;
        let due = proven.is_none().then_some(until);
        let wait = tails.wait(&tail, &key, leader_epoch, position, due);
        match proven {
            Some(ends) => timeout_at(until, wait).await.unwrap_or(Event::End(ends)),
            None => wait.await,
        }
    }
}

impl LogReads<'_> {
    fn tail(&self) -> Option<Waiting> {
        place(&self.reader.inner.brokers, self.target, self.committed)
    }

    /// The log of this version in memory, and the version's number there.
    fn key(&self, Version { topic_id, leader_epoch }: Version) -> (LogKey, i64) {
        (self.target.key(topic_id, self.committed), leader_epoch.map_or(-1, i64::from))
    }

    /// Records that were read before. Those of another version do not count.
    fn kept(&self, offset: i64, size: AnswerSize) -> Option<Chunk> {
        let (key, version) = self.key(self.version()?);
        self.reader.inner.logs.read(&key, version, offset, size, first_entry, Instant::now().into())
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
            properties: PropertyCache::default(),
            tails,
            coordinators: Coordinators::default(),
            groups: SingleFlight::default(),
            producers: ProducerRequests::default(),
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

    /// Finds an offset of each of some logs, by timestamp. Timestamp
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
        asked: &[(Log<'a>, i64)],
        committed: bool,
    ) -> impl Stream<Item = (usize, Result<ListedOffset, ReadError>)> + Send + use<'a> {
        let Inner { brokers, offset_requests, .. } = &*self.inner;
        let (mut valid, mut numbers, mut invalid) = (Vec::new(), Vec::new(), Vec::new());
        for (number, (log, timestamp)) in asked.iter().copied().enumerate() {
            match Asked::parse(log, timestamp) {
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
        log: Log<'_>,
        fetch: Fetch,
        skips: &dyn SkipMeter,
        reservation: &mut dyn AnswerReservation,
    ) -> Result<Chunk, ReadError> {
        let target = TopicPartition::parse(log)?;
        if fetch.offset < 0 {
            let detail = format!("offset {}: expected 0 or more", fetch.offset);
            return Err(ReadError::Request { code: ErrorCode(ResponseError::OffsetOutOfRange), detail });
        }
        let Fetch { committed, source, .. } = fetch;
        let mut reads = LogReads { reader: self, target, committed, source, skips };
        let fetched = sluicegate_shared_log::fetch(&mut reads, fetch, reservation).await?;
        reads.read_ahead(fetch, &fetched);
        Ok(fetched)
    }

    /// The records from an offset on that were read before, without a wait; `None` if there are none.
    ///
    /// # Panics
    /// Outside a tokio runtime: what follows them can be requested.
    pub fn recent(&self, log: Log<'_>, fetch: Fetch) -> Option<Chunk> {
        let reads = self.reads(log, fetch.committed, fetch.source)?;
        let recent = reads.kept(fetch.offset, fetch.size())?;
        reads.read_ahead(fetch, &recent);
        Some(recent)
    }

    /// Drops the records of a log that were read before.
    pub fn forget(&self, log: Log<'_>) {
        self.inner.logs.forget(log.topic, log.partition);
    }

    /// The end of a log, as far as it is known from records that were read lately.
    pub fn known_end(&self, log: Log<'_>) -> Option<i64> {
        let reads = self.reads(log, false, ClientKey::default())?;
        self.inner.logs.end(&reads.key(reads.version()?).0)
    }

    /// Reads that skip nothing; `None` if Kafka has no such log.
    fn reads<'a>(&'a self, log: Log<'a>, committed: bool, source: ClientKey) -> Option<LogReads<'a>> {
        let target = TopicPartition::parse(log).ok()?;
        Some(LogReads { reader: self, target, committed, source, skips: &() })
    }

    /// Whether a fetch that waits at this offset needs no read of the log before: others wait there, and will be told
    /// of a record.
    pub fn is_watched(&self, log: Log<'_>, offset: i64, committed: bool) -> bool {
        let reads = self.reads(log, committed, ClientKey::default());
        reads.is_some_and(|reads| reads.is_watched(offset))
    }

    /// Waits until a log may have records for clients at `offset` or after it. If `until` is set, the wait ends then: a
    /// request that was sent after the call began proves that there is none, and gives the ends of the log. It gives them
    /// earlier, too, if the log begins after `seen`, or has had records after it for 5 s that wait for a transaction.
    ///
    /// # Cancel safety
    /// Dropping the call has no effect.
    pub async fn wait_for_records(
        &self,
        log: Log<'_>,
        offset: i64,
        committed: bool,
        until: Option<Instant>,
        seen: SeenEnds,
    ) -> Option<Ends> {
        let reads = self.reads(log, committed, ClientKey::default())?;
        let told = match reads.tail() {
            Some((tail, key, leader_epoch)) => {
                let tails = &self.inner.tails;
                tails.wait_for_notice(&tail, &key, leader_epoch, offset, until, seen).await
            }
            None => Event::Failed,
        };
        match told {
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
    pub async fn check_partition(&self, source: ClientKey, log: Log<'_>) -> Result<(), ReadError> {
        let target = TopicPartition::parse(log)?;
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
        let target = TopicPartition::parse(Log { topic: name, partition: 0 })?;
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

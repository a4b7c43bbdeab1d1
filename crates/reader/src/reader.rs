//! The calls: what a user of this crate sees.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use tokio::time::{Instant, timeout_at};

use crate::api::{ListOffsetsAnswer, ListOffsetsRequest};
use crate::ask::{Role, Source, Verdict, Whom, ask};
use crate::clock::after;
use crate::cluster::{Cluster, Failures};
use crate::encoders::Encoders;
use crate::error::ErrorCode;
use crate::fetching::Fetching;
use crate::progress::Progress;
use crate::target::Target;
use crate::topic::Topic;
use crate::{Config, ConnectionError, ReadError};

/// Reads from one cluster. Clones share connections and metadata; dropping the last one closes them.
///
/// Calls help each other: one opens a connection or asks for metadata, and others wait for it. So a call must be polled
/// or dropped, as any future that a task awaits is.
#[derive(Clone)]
pub struct Reader {
    inner: Arc<Inner>,
}

struct Inner {
    cluster: Cluster,
    progress: Progress,
    encoders: Encoders,
}

/// What to read.
#[derive(Debug, Clone, Copy)]
pub struct Fetch<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// 0 or more.
    pub partition: i32,
    /// The first offset wanted: from the log start up to and including the log end.
    pub offset: i64,
    /// The answer's size, in bytes: it ends before the record that would exceed it, but holds at least one record.
    pub max_bytes: usize,
    /// How long to wait at the log end for a first record, up to [`MAX_WAIT`]; zero: not at all.
    pub max_wait: Duration,
    /// The caller has just been told that the log ends here: wait at once, without looking first.
    pub at_end: bool,
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The body of a `KafkaFetchResp`: its `messages`, encoded. Empty at the log end.
    pub messages: Bytes,
    /// How many there are.
    pub count: usize,
    /// Where to read on. Beyond the asked offset even without a message, where the log holds nothing to deliver.
    pub next_offset: i64,
}

impl Reader {
    /// A reader of the cluster that `config` describes. Nothing is sent before the first call.
    ///
    /// The calls must run inside a tokio runtime with time and I/O enabled.
    pub fn new(config: Config) -> Self {
        let cluster = Cluster::new(Arc::new(config));
        let inner = Inner { cluster, progress: Progress::default(), encoders: Encoders::default() };
        Self { inner: Arc::new(inner) }
    }

    /// The cluster's name in the log.
    pub fn cluster(&self) -> &str {
        &self.inner.cluster.config().name
    }

    /// Finds an offset of a partition: `timestamp` [`LOG_END`] gives the high watermark, [`LOG_START`] the log start, 0 and more
    /// the first record at or after so many milliseconds since 1970-01-01T00:00:00Z, −1 where there is none.
    ///
    /// # Errors
    /// [`ReadError`], in no more than `socket.timeout.ms`.
    ///
    /// # Cancel safety
    /// Dropping the call loses its answer and nothing else.
    pub async fn list_offset(&self, topic: &str, partition: i32, timestamp: i64) -> Result<i64, ReadError> {
        let target = Target::parse(topic, partition)?;
        if timestamp < LOG_START {
            let detail =
                format!("timestamp {timestamp}: expected milliseconds, -1 (log end) or -2 (log start)");
            return Err(ReadError::Request { code: ErrorCode(ResponseError::InvalidRequest), detail });
        }
        let cluster = &self.inner.cluster;
        let deadline = in_future(cluster.config().request_timeout);
        let put = |leader: Source| async move {
            let (topic, partition, leader_epoch) = (target.topic(), target.partition(), leader.leader_epoch);
            let request = ListOffsetsRequest { topic, partition, leader_epoch, timestamp };
            leader.call(&request).await
        };
        let judge =
            |answer: &ListOffsetsAnswer, _: Role| answer.error.map_or(Verdict::Final, Verdict::Refused);
        Ok(ask(cluster, target, Whom::Leader, deadline, put, judge).await?.offset)
    }

    /// Reads records from an offset on, in order, none skipped.
    ///
    /// # Errors
    /// [`ReadError`], in no more than `socket.timeout.ms` besides `max_wait`.
    ///
    /// # Cancel safety
    /// Dropping the call loses its answer and nothing else: the log is not changed by reading it.
    pub async fn fetch(&self, fetch: Fetch<'_>) -> Result<Fetched, ReadError> {
        let target = Target::parse(fetch.topic, fetch.partition)?;
        if fetch.offset < 0 {
            let detail = format!("offset {}: expected 0 or more", fetch.offset);
            return Err(ReadError::Request { code: ErrorCode(ResponseError::OffsetOutOfRange), detail });
        }
        let Inner { cluster, progress, encoders } = &*self.inner;
        let max_wait = fetch.max_wait.min(MAX_WAIT);
        let fetching = Fetching {
            cluster,
            progress,
            encoders,
            target,
            asked: fetch.offset,
            max_bytes: fetch.max_bytes,
            at_end: fetch.at_end,
            wait_until: in_future(max_wait),
            deadline: in_future(max_wait.saturating_add(cluster.config().request_timeout)),
        };
        fetching.run().await
    }

    /// Succeeds where a partition exists, whether or not it has a leader at the moment. A topic that is missing is not
    /// created.
    ///
    /// # Errors
    /// [`ReadError`], in no more than `socket.timeout.ms`.
    ///
    /// # Cancel safety
    /// Dropping the call has no effect.
    pub async fn check_partition(&self, topic: &str, partition: i32) -> Result<(), ReadError> {
        let target = Target::parse(topic, partition)?;
        let cluster = &self.inner.cluster;
        let deadline = in_future(cluster.config().request_timeout);
        match cluster.leader(target, None, deadline).await {
            Err(error) if error.is_unavailable() || !error.retriable() => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// The names of all topics that the cluster's user may see, in order, without those that Kafka has made for itself.
    /// It is asked for after the call, by one request for all calls that wait; the brokers get at most ten of these a second.
    ///
    /// # Errors
    /// [`ReadError`], in no more than `socket.timeout.ms`. A list that is larger than `receive.message.max.bytes` cannot be had.
    ///
    /// # Cancel safety
    /// Dropping the call has no effect.
    pub async fn topics(&self) -> Result<Arc<[String]>, ReadError> {
        let cluster = &self.inner.cluster;
        cluster.topics(in_future(cluster.config().request_timeout)).await
    }

    /// Where a topic's partitions are, at most a second ago. A topic that is missing is not created.
    ///
    /// # Errors
    /// [`ReadError`], in no more than `socket.timeout.ms`.
    ///
    /// # Cancel safety
    /// Dropping the call has no effect.
    pub async fn topic(&self, name: &str) -> Result<Topic, ReadError> {
        let target = Target::parse(name, 0)?;
        let cluster = &self.inner.cluster;
        cluster.topic(target, in_future(cluster.config().request_timeout)).await
    }

    /// Succeeds where metadata can be had and one broker answers at the address that it advertises. A read needs more:
    /// the leader of its partition.
    ///
    /// # Errors
    /// [`ReadError`], in no more than `socket.timeout.ms`.
    ///
    /// # Cancel safety
    /// Dropping the call has no effect.
    pub async fn ready(&self) -> Result<(), ReadError> {
        let cluster = &self.inner.cluster;
        let deadline = in_future(cluster.config().request_timeout);
        let brokers = match cluster.brokers(READY_AGE, deadline).await {
            // Who says that it is used up has answered.
            Err(ReadError::Unreachable { cause: ConnectionError::Throttled { .. }, .. }) => return Ok(()),
            brokers => brokers?,
        };
        let mut failures = Failures::default();
        for broker in brokers {
            match timeout_at(deadline, broker.is_reachable()).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(failure)) => failures.add(failure),
                Err(_) => break,
            }
        }
        Err(cluster.unreachable(failures))
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("config", self.inner.cluster.config()).finish_non_exhaustive()
    }
}

fn in_future(time: Duration) -> Instant {
    after(Instant::now(), time)
}

/// A good size of an answer, in bytes: large enough for the broker's and our own fixed costs not to matter.
pub const DEFAULT_MAX_BYTES: usize = 256 * 1024;

/// The longest wait at the log end; a longer one is shortened to it.
pub const MAX_WAIT: Duration = Duration::from_secs(60);

/// The timestamp of the log end.
pub const LOG_END: i64 = -1;

/// The timestamp of the log start, the lowest with a meaning here. Kafka knows some below it, in its newest versions only.
pub const LOG_START: i64 = -2;

/// The age of the metadata that [`Reader::ready`] relies on.
const READY_AGE: Duration = Duration::from_millis(250);

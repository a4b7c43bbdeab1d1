//! The public calls.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::error::ResponseError;
use sluicegate_records::Limits;
use tokio::time::{Instant, timeout_at};

use crate::api::ListOffsetsRequest;
use crate::attempt::{Attempt, Reply};
use crate::backoff::jitter;
use crate::broker_failures::BrokerFailures;
use crate::brokers::Brokers;
use crate::clock::after;
use crate::config::Config;
use crate::connection_error::ConnectionError;
use crate::encoder_pool::EncoderPool;
use crate::error_code::ErrorCode;
use crate::fetch::{Fetch, Fetched, MAX_WAIT};
use crate::fetch_call::fetch_call;
use crate::fetch_plan::FetchPlan;
use crate::leader_call::{Recipient, leader_call};
use crate::read_error::ReadError;
use crate::skip_cache::SkipCache;
use crate::topic::Topic;
use crate::topic_partition::TopicPartition;

/// Reads from one cluster. Clones share connections and metadata; dropping the last one closes them.
///
/// Calls share work: one opens a connection or requests metadata, and others wait for it. A call must therefore be polled or
/// dropped, as any future that a task awaits.
#[derive(Clone)]
pub struct Reader {
    inner: Arc<Inner>,
}

struct Inner {
    brokers: Brokers,
    skip_cache: SkipCache,
    encoders: EncoderPool,
}

impl Reader {
    /// A reader of the cluster that `config` describes. Sends nothing before the first call.
    ///
    /// Calls must run inside a tokio runtime with time and I/O enabled.
    pub fn new(config: Config) -> Self {
        let brokers = Brokers::new(Arc::new(config));
        let inner = Inner { brokers, skip_cache: SkipCache::default(), encoders: EncoderPool::default() };
        Self { inner: Arc::new(inner) }
    }

    /// The cluster's name in log lines.
    pub fn cluster(&self) -> &str {
        &self.inner.brokers.config().name
    }

    /// Finds an offset of a partition. Timestamp [`LOG_END`] gives the high watermark, [`LOG_START`] the log start, and 0 or more
    /// the first record at or after that time, in milliseconds since 1970-01-01T00:00:00Z, or −1 if there is none.
    ///
    /// # Errors
    /// [`ReadError`], within `socket.timeout.ms`.
    ///
    /// # Cancel safety
    /// Dropping the call loses its result and nothing else.
    pub async fn list_offset(&self, topic: &str, partition: i32, timestamp: i64) -> Result<i64, ReadError> {
        let target = TopicPartition::parse(topic, partition)?;
        if timestamp < LOG_START {
            let detail =
                format!("timestamp {timestamp}: expected milliseconds, -1 (log end) or -2 (log start)");
            return Err(ReadError::Request { code: ErrorCode(ResponseError::InvalidRequest), detail });
        }
        let brokers = &self.inner.brokers;
        let deadline = in_future(brokers.config().request_timeout);
        let send = |recipient: Recipient| async move {
            let request = ListOffsetsRequest {
                topic: target.topic(),
                partition: target.partition(),
                leader_epoch: recipient.call.leader_epoch,
                timestamp,
            };
            let answer = recipient.send(&request).await?;
            Ok(answer.error.map_or(Reply::Success(answer.offset), Reply::Error))
        };
        leader_call(brokers, Attempt::at_leader(target, deadline, jitter), send).await
    }

    /// Reads records from an offset, in order and without gaps.
    ///
    /// # Errors
    /// [`ReadError`], within `socket.timeout.ms` plus `max_wait`.
    ///
    /// # Cancel safety
    /// Dropping the call loses its result and nothing else.
    pub async fn fetch(&self, fetch: Fetch<'_>) -> Result<Fetched, ReadError> {
        let target = TopicPartition::parse(fetch.topic, fetch.partition)?;
        if fetch.offset < 0 {
            let detail = format!("offset {}: expected 0 or more", fetch.offset);
            return Err(ReadError::Request { code: ErrorCode(ResponseError::OffsetOutOfRange), detail });
        }
        let Inner { brokers, skip_cache, encoders } = &*self.inner;
        let config = brokers.config();
        let max_wait = fetch.max_wait.min(MAX_WAIT);
        let limits = Limits {
            max_bytes: fetch.max_bytes,
            max_record_bytes: config.max_record_bytes,
            max_batch_bytes: config.max_response_bytes,
        };
        let now = Instant::now();
        let plan =
            FetchPlan::new((skip_cache, encoders), target, fetch.offset, limits, (after(now, max_wait), now));
        let deadline = after(now, max_wait.saturating_add(config.request_timeout));
        fetch_call(brokers, plan, fetch.at_end, deadline).await
    }

    /// Succeeds if a partition exists, whether or not it has a leader at the moment. Missing topics are not created.
    ///
    /// # Errors
    /// [`ReadError`], within `socket.timeout.ms`.
    ///
    /// # Cancel safety
    /// Dropping the call has no effect.
    pub async fn check_partition(&self, topic: &str, partition: i32) -> Result<(), ReadError> {
        let target = TopicPartition::parse(topic, partition)?;
        let brokers = &self.inner.brokers;
        let deadline = in_future(brokers.config().request_timeout);
        match brokers.leader(target, None, deadline).await {
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

    /// A topic's partitions, cached for up to a second. Missing topics are not created.
    ///
    /// # Errors
    /// [`ReadError`], within `socket.timeout.ms`.
    ///
    /// # Cancel safety
    /// Dropping the call has no effect.
    pub async fn topic(&self, name: &str) -> Result<Topic, ReadError> {
        let target = TopicPartition::parse(name, 0)?;
        let brokers = &self.inner.brokers;
        brokers.topic(target, in_future(brokers.config().request_timeout)).await
    }

    /// Succeeds if metadata is available and one broker answers at its advertised address. A read can still fail: it needs the
    /// leader of its partition.
    ///
    /// # Errors
    /// [`ReadError`], within `socket.timeout.ms`.
    ///
    /// # Cancel safety
    /// Dropping the call has no effect.
    pub async fn ready(&self) -> Result<(), ReadError> {
        let brokers = &self.inner.brokers;
        let deadline = in_future(brokers.config().request_timeout);
        let advertised = match brokers.advertised(READY_AGE, deadline).await {
            // A broker that throttles has answered.
            Err(ReadError::Unreachable { cause: ConnectionError::Throttled { .. }, .. }) => return Ok(()),
            brokers => brokers?,
        };
        let mut failures = BrokerFailures::default();
        for broker in advertised {
            match timeout_at(deadline, broker.is_reachable()).await {
                Ok(Ok(())) => return Ok(()),
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

fn in_future(time: Duration) -> Instant {
    after(Instant::now(), time)
}

/// The timestamp of the log end.
pub const LOG_END: i64 = -1;

/// The timestamp of the log start, the lowest supported one. Kafka's newest versions have a few below it.
pub const LOG_START: i64 = -2;

/// The maximum age of metadata for [`Reader::ready`].
const READY_AGE: Duration = Duration::from_millis(250);

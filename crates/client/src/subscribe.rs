//! Sources and options of a subscription.

use std::time::Duration;

use bytes::Bytes;
use sluicegate_protocol::kafka_source::From;
use sluicegate_protocol::{
    CmdKafkaSubscribe, Isolation, KafkaSource, OnLag, PartitionNext, RecordFilter, Snapshot,
};

use crate::{At, nats};

/// The topics, records and sizes of a [subscription](crate::Client::subscribe); or with
/// [`nats::Source`](crate::nats::Source), the [streams](crate::nats::Nats::subscribe) and messages.
///
/// ```
/// use sluicegate_client::{At, Filter, Source, Subscribe};
///
/// let orders = Source::new("orders").at(At::Earliest);
/// let subscribe = Subscribe::new([orders, Source::new("payments")]).filter(Filter::key().equals("user-7"));
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Subscribe<S = Source> {
    pub(crate) sources: Vec<S>,
    isolation: Isolation,
    decode: bool,
    pub(crate) filters: Vec<RecordFilter>,
    pub(crate) max_batch_bytes: u32,
    pub(crate) max_batch_records: u32,
    pub(crate) linger_ms: u32,
    pub(crate) on_lag: OnLag,
    pub(crate) snapshot: Snapshot,
    /// The credit of the command.
    pub(crate) window: u64,
}

impl<S> Subscribe<S> {
    /// Reads these topics or streams, at least 1 and at most 100, with the server's defaults: all records, also those
    /// of open and aborted transactions, in batches of up to 64 KiB, as soon as they are there.
    pub fn new(sources: impl IntoIterator<Item = S>) -> Self {
        Self {
            sources: sources.into_iter().collect(),
            isolation: Isolation::default(),
            decode: false,
            filters: Vec::new(),
            max_batch_bytes: 0,
            max_batch_records: 0,
            linger_ms: 0,
            on_lag: OnLag::default(),
            snapshot: Snapshot::default(),
            window: WINDOW,
        }
    }

    /// Selects records of transactions; all by default. Has no effect on NATS streams, which have no transactions.
    pub fn isolation(mut self, isolation: Isolation) -> Self {
        self.isolation = isolation;
        self
    }

    /// Gives values with a schema as JSON, if the cluster has schemas: `value_schema` of a message says which schema it
    /// was, and `not_decoded` why a value is as it is stored. By default all values are. `key` is always as it is stored;
    /// with a `key_schema`, `key_json` is its JSON. Has no effect on NATS streams.
    pub fn decode(mut self) -> Self {
        self.decode = true;
        self
    }

    /// Delivers only records that match this filter and the others, at most 16.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filters.push(filter.0);
        self
    }

    /// Bytes of messages in a delivery, 65,536 by default, at most the server's own limit. One message is delivered
    /// even if it is larger.
    pub fn max_batch_bytes(mut self, bytes: u32) -> Self {
        self.max_batch_bytes = bytes;
        self
    }

    /// Messages in a delivery; 0, the default, for as many as fit.
    pub fn max_batch_records(mut self, count: u32) -> Self {
        self.max_batch_records = count;
        self
    }

    /// Limits the wait of a message at a log end for others before it is delivered, at most 10 s; by default it does
    /// not wait.
    pub fn linger(mut self, time: Duration) -> Self {
        self.linger_ms = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        self
    }

    /// Jumps to the log end where more than one delivery is left to read, and says what it skipped: for those who only
    /// care about now. By default a slow subscription gets every record, later.
    pub fn skip_on_lag(mut self) -> Self {
        self.on_lag = OnLag::Skip;
        self
    }

    /// Begins with the newest record of each key, then delivers each change: [`Update::Snapshot`](crate::Update),
    /// deliveries in no order of partitions, [`Update::SnapshotEnd`](crate::Update), and then the logs. Sources have no
    /// place to begin at. [`Client::table`](crate::Client::table) keeps the records by key.
    pub fn latest_per_key(mut self) -> Self {
        self.snapshot = Snapshot::LatestPerKey;
        self
    }

    /// Bytes of messages that the server can send before they are taken, 1 MiB by default and at least 1. The last
    /// message can exceed them.
    ///
    /// In memory these take more than on the wire. A subscription holds at most 16 times this, and the longest
    /// [message](crate::Builder::max_message_bytes) of the connection.
    pub fn window(mut self, bytes: u32) -> Self {
        self.window = u64::from(bytes.max(1));
        self
    }
}

impl std::convert::From<&str> for Subscribe {
    fn from(topic: &str) -> Self {
        Self::new([Source::new(topic)])
    }
}

impl std::convert::From<&str> for Subscribe<nats::Source> {
    fn from(stream: &str) -> Self {
        Self::new([nats::Source::new(stream)])
    }
}

impl Subscribe {
    pub(crate) fn into_command(self) -> CmdKafkaSubscribe {
        CmdKafkaSubscribe {
            sources: self.sources.into_iter().map(|source| source.0).collect(),
            isolation: self.isolation.into(),
            decode: self.decode,
            filters: self.filters,
            max_batch_bytes: self.max_batch_bytes,
            max_batch_records: self.max_batch_records,
            linger_ms: self.linger_ms,
            credit: Some(self.window),
            on_lag: self.on_lag.into(),
            snapshot: self.snapshot.into(),
            away_ms: None,
            group: None,
        }
    }
}

/// A topic to read, by default all its partitions, from their ends on.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Source(KafkaSource);

impl Source {
    /// The topic with this name.
    pub fn new(topic: impl Into<String>) -> Self {
        Self(KafkaSource { topic: topic.into(), ..Default::default() })
    }

    /// Reads only these partitions, at most 1,000. By default all, also those that the topic gets later, which are read
    /// from their beginning.
    pub fn partitions(mut self, partitions: impl IntoIterator<Item = i32>) -> Self {
        self.0.partitions = partitions.into_iter().collect();
        self
    }

    /// Begins here in each partition; at the end if every message is older than a time.
    pub fn at(mut self, at: At) -> Self {
        self.0.from = Some(From::Timestamp(at.timestamp()));
        self
    }

    /// Begins at this offset in each partition.
    pub fn offset(mut self, offset: i64) -> Self {
        self.0.from = Some(From::Offset(offset));
        self
    }

    /// Begins so many offsets before the end of each partition, or at its start.
    pub fn last(self, count: u64) -> Self {
        match before_end(count) {
            // Offset 0 is the start.
            0 => self.at(At::Latest),
            offset => self.offset(offset),
        }
    }

    /// Continues in this partition at `offset`. Others begin at their start, unless [`partitions`](Self::partitions)
    /// names them.
    pub fn next(mut self, partition: i32, offset: i64) -> Self {
        self.0.next.push(PartitionNext { partition, offset });
        self
    }

    /// Fails if the topic has another id than this one of an earlier [subscription](crate::SubscribedTopic): it was
    /// deleted and created again, and other records are at its offsets.
    pub fn topic_id(mut self, id: impl Into<Bytes>) -> Self {
        self.0.topic_id = id.into();
        self
    }
}

/// The offset or sequence of a source that begins so many before the end.
pub(crate) fn before_end(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX).saturating_neg()
}

/// Matches records by their key, messages of NATS by their subject, or both by the values of a header or a part of the
/// value, which is JSON. Without what it should be, it matches if there is one; keys and headers must not be null.
///
/// A convenience, not a right: the route's grant decides what a client can read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Filter(pub(crate) RecordFilter);

impl Filter {
    /// Matches by the record's key.
    pub fn key() -> Self {
        Self(RecordFilter::default())
    }

    /// Matches by the subject of a NATS message.
    pub fn subject() -> Self {
        Self(RecordFilter::default())
    }

    /// Matches by any header with this key.
    pub fn header(key: impl Into<String>) -> Self {
        Self(RecordFilter { header: Some(key.into()), ..Default::default() })
    }

    /// Matches by the part of the value at a JSON Pointer (RFC 6901), such as `/order/status`.
    pub fn value(pointer: impl Into<String>) -> Self {
        Self(RecordFilter { pointer: Some(pointer.into()), ..Default::default() })
    }

    /// Also matches parts of values that are this string, number, `true`, `false` or null. Numbers are compared by value.
    pub fn is(self, value: impl Into<serde_json::Value>) -> Self {
        self.equals(value.into().to_string())
    }

    /// Matches parts of values only if they are numbers above this one.
    pub fn above(mut self, number: impl Into<serde_json::Number>) -> Self {
        self.0.above = Some(number.into().to_string());
        self
    }

    /// Matches parts of values only if they are numbers below this one.
    pub fn below(mut self, number: impl Into<serde_json::Number>) -> Self {
        self.0.below = Some(number.into().to_string());
        self
    }

    /// Matches values without such a part.
    pub fn missing(mut self) -> Self {
        self.0.missing = true;
        self
    }

    /// Also matches this key or header; of a part of a value, its JSON.
    pub fn equals(mut self, value: impl Into<Bytes>) -> Self {
        self.0.equals.push(value.into());
        self
    }

    /// Also matches keys, headers, or parts of values that are strings, that begin with this.
    pub fn starts_with(mut self, prefix: impl Into<Bytes>) -> Self {
        self.0.prefixes.push(prefix.into());
        self
    }
}

const WINDOW: u64 = 1 << 20;

//! Updates of a subscription.

use std::time::Duration;

use bytes::Bytes;
use sluicegate_protocol::kafka_subscription_event::skipped::Cause;
use sluicegate_protocol::kafka_subscription_event::{self, Event};
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{self as protocol, KafkaDeliveryResp, KafkaMessage, KafkaSubscribedResp};

use crate::Error;
use crate::answer::{known, mismatch};

/// An event of a [`Subscription`](crate::Subscription).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Update {
    /// The subscription has begun, or continues: all its partitions. Or topics have more partitions: the new ones.
    Subscribed(Vec<SubscribedTopic>),
    /// The same of a table: the newest message of each key before these offsets follows. It comes again if the table
    /// cannot go on from where it was. Messages that the client has and does not get until
    /// [`SnapshotEnd`](Self::SnapshotEnd) are no part of the table any more.
    Snapshot(Vec<SubscribedTopic>),
    /// The server reads a log for its table, before the snapshot begins.
    Building {
        /// The topic's name.
        topic: String,
        /// The partition's number.
        partition: i32,
        /// The offset up to which it is read.
        next_offset: i64,
        /// The offset where the snapshot can begin.
        end: i64,
    },
    /// The snapshot is complete: the messages of the logs follow.
    SnapshotEnd {
        /// The records without a key, which are no part of the table.
        skipped: u64,
    },
    /// The log has lost its messages before an offset: they are no part of the table any more.
    LogStart {
        /// The topic's name.
        topic: String,
        /// The partition's number.
        partition: i32,
        /// The first offset that the log still has.
        offset: i64,
    },
    /// The group has given its [`Member`](crate::Member) these partitions, none if others have all. Each begins at its
    /// offset.
    Assigned(Vec<SubscribedTopic>),
    /// The group has taken all partitions back, or the connection was lost. Messages that are not committed are delivered
    /// again, here or to another member, and commits fail until [`Assigned`](Self::Assigned).
    Revoked,
    /// Messages of a partition.
    Delivery(Delivery),
    /// The end of a log has been reached: for the first time, or again after the subscription was behind. Or, if only
    /// committed messages are read, the first message of a transaction that is open.
    CaughtUp {
        /// The topic's name.
        topic: String,
        /// The partition's number.
        partition: i32,
        /// The offset of the next message to be delivered.
        next_offset: i64,
        /// The log's end, if messages from `next_offset` on wait for a transaction. They are delivered when it ends.
        blocked_until: Option<i64>,
    },
    /// Records will not be delivered.
    Skipped {
        /// The topic's name.
        topic: String,
        /// The partition's number.
        partition: i32,
        /// The first offset that is skipped.
        from: i64,
        /// The offset that the subscription continues from.
        to: i64,
        /// Why.
        cause: Cause,
    },
    /// Kafka cannot be read at the moment. The server keeps trying, and tells with [`CaughtUp`](Self::CaughtUp) when it
    /// is over.
    Retrying {
        /// The topic's name.
        topic: String,
        /// A partition that cannot be read; there can be others.
        partition: i32,
        /// The problem, an [`Error::Command`].
        error: Error,
        /// When it was first noticed, in milliseconds since 1970-01-01T00:00:00Z.
        since: i64,
    },
    /// The subscription failed, and continues where it was after a pause.
    Reconnecting {
        /// The problem.
        error: Error,
        /// Time until the retry.
        pause: Duration,
    },
}

/// A topic of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscribedTopic {
    /// Its name.
    pub topic: String,
    /// Distinguishes it from others of the same name, before or after it. Empty before Kafka 2.8.
    pub topic_id: Bytes,
    /// Its partitions, and where each begins. One at −1 has no leader yet; another update tells where it begins.
    pub partitions: Vec<(i32, i64)>,
}

/// Messages of one partition.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Delivery {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// In the order of their offsets. None if there was nothing to deliver in a part of the log, because of filters or
    /// gaps.
    ///
    /// Keys and values are views into the delivery, not copies: keeping one keeps the whole delivery in memory.
    pub messages: Vec<KafkaMessage>,
    /// Where to continue, with [`Source::next`](crate::Source::next) of a later subscription.
    pub next_offset: i64,
    /// The log end, up to the server's `read.cache_ms` old; `None` if it is unknown.
    pub high_watermark: Option<i64>,
    /// Of a [`Member`](crate::Member): which of its assignments this delivery is of, for
    /// [`commit_at`](crate::Member::commit_at). They count from 1.
    pub assignment: u64,
}

impl Delivery {
    /// Distance to the log end, in offsets; 0 if it is unknown.
    pub fn behind(&self) -> u64 {
        behind(self.next_offset, self.high_watermark)
    }
}

impl Update {
    /// An answer of the server; none for an event that this client does not know.
    ///
    /// # Errors
    /// [`Error::Protocol`] if the answer is none to a subscription.
    pub(crate) fn read(answer: Resp) -> Result<Option<Self>, Error> {
        match answer {
            Resp::KafkaSubscribedResp(KafkaSubscribedResp { topics, snapshot }) => {
                let topics = topics.into_iter().map(subscribed).collect();
                Ok(Some(if snapshot { Self::Snapshot(topics) } else { Self::Subscribed(topics) }))
            }
            Resp::KafkaDeliveryResp(answer) => Ok(Some(Self::Delivery(delivery(answer)))),
            Resp::KafkaSubscriptionEvent(answer) => Ok(answer.event.map(event)),
            other => Err(mismatch("a subscription's message", &other)),
        }
    }
}

fn subscribed(topic: protocol::SubscribedTopic) -> SubscribedTopic {
    let protocol::SubscribedTopic { topic, topic_id, partitions } = topic;
    let partitions = partitions.into_iter().map(|next| (next.partition, next.offset)).collect();
    SubscribedTopic { topic, topic_id, partitions }
}

fn delivery(answer: KafkaDeliveryResp) -> Delivery {
    let KafkaDeliveryResp { messages, topic, partition, next_offset, high_watermark } = answer;
    let high_watermark = known(high_watermark);
    Delivery { topic, partition, messages, next_offset, high_watermark, assignment: 0 }
}

/// The distance to an end; 0 if that is unknown.
pub(crate) fn behind(next: i64, end: Option<i64>) -> u64 {
    u64::try_from(end.map_or(0, |end| end.saturating_sub(next))).unwrap_or(0)
}

fn event(event: Event) -> Update {
    use kafka_subscription_event::{Assigned, Building, CaughtUp, LogStart, Retrying, Skipped, SnapshotEnd};
    match event {
        Event::CaughtUp(CaughtUp { topic, partition, next_offset, open_transaction }) => {
            let blocked_until = open_transaction.map(|transaction| transaction.end);
            Update::CaughtUp { topic, partition, next_offset, blocked_until }
        }
        Event::Building(Building { topic, partition, next_offset, end }) => {
            Update::Building { topic, partition, next_offset, end }
        }
        Event::SnapshotEnd(SnapshotEnd { skipped }) => Update::SnapshotEnd { skipped },
        Event::LogStart(LogStart { topic, partition, offset }) => {
            Update::LogStart { topic, partition, offset }
        }
        Event::Skipped(event) => {
            let cause = event.cause();
            let Skipped { topic, partition, from, to, .. } = event;
            Update::Skipped { topic, partition, from, to, cause }
        }
        Event::Retrying(Retrying { topic, partition, error, since }) => {
            Update::Retrying { topic, partition, error: Error::command(error.unwrap_or_default()), since }
        }
        Event::Assigned(Assigned { topics, .. }) => {
            Update::Assigned(topics.into_iter().map(subscribed).collect())
        }
        Event::Revoked(_) => Update::Revoked,
    }
}

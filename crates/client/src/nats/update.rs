//! Updates of a subscription to streams.

use std::time::Duration;

use bytes::Bytes;
use sluicegate_protocol::nats_subscription_event::{self, Event};
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{self as protocol, NatsDeliveryResp, NatsMessage, NatsSubscribedResp};

use crate::answer::{known, mismatch};
use crate::subscription::behind;
use crate::{Error, SkipCause};

/// An event of a [`Subscription`](crate::Subscription) to streams.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Update {
    /// The subscription has begun, or continues: all its streams.
    Subscribed(Vec<SubscribedStream>),
    /// The same of a table: the newest message of each subject before these sequences follows. It comes again if the
    /// table cannot go on from where it was. Messages that the client has and does not get until
    /// [`SnapshotEnd`](Self::SnapshotEnd) are no part of the table any more.
    Snapshot(Vec<SubscribedStream>),
    /// The server reads a stream for its table, before the snapshot begins.
    Building {
        /// The stream's name.
        stream: String,
        /// The sequence up to which it is read.
        next_sequence: i64,
        /// The sequence where the snapshot can begin.
        end: i64,
    },
    /// The snapshot is complete: the messages of the streams follow.
    SnapshotEnd,
    /// The stream has lost its messages before a sequence: they are no part of the table any more.
    FirstSequence {
        /// The stream's name.
        stream: String,
        /// The first sequence that the stream still has.
        sequence: i64,
    },
    /// Messages of a stream.
    Delivery(Delivery),
    /// The end of a stream has been reached: for the first time, or again after the subscription was behind.
    CaughtUp {
        /// The stream's name.
        stream: String,
        /// The sequence of the next message to be published.
        next_sequence: i64,
    },
    /// Messages will not be delivered.
    Skipped {
        /// The stream's name.
        stream: String,
        /// The first sequence that is skipped.
        from: i64,
        /// The sequence that the subscription continues from.
        to: i64,
        /// Why.
        cause: SkipCause,
    },
    /// NATS cannot be read at the moment. The server keeps trying, and tells with [`CaughtUp`](Self::CaughtUp) when it
    /// is over.
    Retrying {
        /// A stream that cannot be read; there can be others.
        stream: String,
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

/// A stream of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscribedStream {
    /// Its name.
    pub stream: String,
    /// Distinguishes it from others of the same name, before or after it.
    pub stream_id: Bytes,
    /// Where it begins.
    pub next_sequence: i64,
}

/// Messages of one stream.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Delivery {
    /// The stream's name.
    pub stream: String,
    /// In the order of their sequences. None if there was nothing to deliver in a part of the stream, because of
    /// filters or deleted messages.
    ///
    /// Data and header values are views into the delivery, not copies: keeping one keeps the whole delivery in memory.
    pub messages: Vec<NatsMessage>,
    /// Where to continue, with [`Source::sequence`](crate::nats::Source::sequence) of a later subscription.
    pub next_sequence: i64,
    /// One after the stream's last sequence, up to the server's `read.cache_ms` old; `None` if it is unknown.
    pub end: Option<i64>,
}

impl Delivery {
    /// Distance to the end of the stream, in sequences; 0 if it is unknown.
    pub fn behind(&self) -> u64 {
        behind(self.next_sequence, self.end)
    }
}

impl Update {
    /// An answer of the server; none for an event that this client does not know.
    ///
    /// # Errors
    /// [`Error::Protocol`] if the answer is none to a subscription to streams.
    pub(super) fn read(answer: Resp) -> Result<Option<Self>, Error> {
        match answer {
            Resp::NatsSubscribedResp(NatsSubscribedResp { streams, snapshot }) => {
                let streams = streams.into_iter().map(subscribed).collect();
                Ok(Some(if snapshot { Self::Snapshot(streams) } else { Self::Subscribed(streams) }))
            }
            Resp::NatsDeliveryResp(NatsDeliveryResp { messages, stream, next_sequence, end }) => {
                Ok(Some(Self::Delivery(Delivery { stream, messages, next_sequence, end: known(end) })))
            }
            Resp::NatsSubscriptionEvent(answer) => Ok(answer.event.map(event)),
            other => Err(mismatch("a message of a subscription to streams", &other)),
        }
    }
}

fn subscribed(stream: protocol::SubscribedStream) -> SubscribedStream {
    let protocol::SubscribedStream { stream, stream_id, next_sequence } = stream;
    SubscribedStream { stream, stream_id, next_sequence }
}

fn event(event: Event) -> Update {
    use nats_subscription_event::{Building, CaughtUp, FirstSequence, Retrying, Skipped};
    match event {
        Event::CaughtUp(CaughtUp { stream, next_sequence }) => Update::CaughtUp { stream, next_sequence },
        Event::Building(Building { stream, next_sequence, end }) => {
            Update::Building { stream, next_sequence, end }
        }
        // Every message has a subject: none is left out.
        Event::SnapshotEnd(_) => Update::SnapshotEnd,
        Event::FirstSequence(FirstSequence { stream, sequence }) => {
            Update::FirstSequence { stream, sequence }
        }
        Event::Skipped(event) => {
            let cause = event.cause();
            let Skipped { stream, from, to, .. } = event;
            Update::Skipped { stream, from, to, cause }
        }
        Event::Retrying(Retrying { stream, error, since }) => {
            Update::Retrying { stream, error: Error::command(error.unwrap_or_default()), since }
        }
    }
}

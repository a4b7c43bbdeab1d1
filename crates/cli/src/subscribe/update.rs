//! Updates of a subscription to topics or streams.

use std::time::Duration;

use sluicegate_client::{self as client, Error, KafkaMessage, SkipCause, nats};

use crate::log::{self, Log};

#[derive(Debug)]
pub(crate) enum Update {
    /// All logs of the subscription, or new ones.
    Subscribed(Vec<Log>),
    /// The partitions that the group gives, in place of all before.
    Assigned(Vec<Log>),
    /// The group takes all partitions back.
    Revoked,
    Delivery {
        log: Log,
        messages: Vec<KafkaMessage>,
        /// The offset or sequence behind them.
        next: i64,
        behind: u64,
    },
    CaughtUp {
        log: Log,
        next: i64,
        /// The end, if an open transaction keeps messages before it back.
        blocked_until: Option<i64>,
    },
    Skipped {
        log: Log,
        from: i64,
        to: i64,
        cause: SkipCause,
    },
    Retrying {
        error: Error,
    },
    Reconnecting {
        error: Error,
        pause: Duration,
    },
    /// One that this program does not know.
    Unknown,
}

impl From<client::Update> for Update {
    fn from(update: client::Update) -> Self {
        use client::Update::{
            Assigned, CaughtUp, Delivery, Reconnecting, Retrying, Revoked, Skipped, Subscribed,
        };
        let log = |topic, number| Log::Partition { topic, number };
        match update {
            Subscribed(topics) => {
                // The others are told when they begin.
                let logs = topics.iter().flat_map(|topic| {
                    let begun = topic.partitions.iter().filter(|(_, offset)| *offset >= 0);
                    begun.map(|(number, _)| Log::partition(&topic.topic, *number))
                });
                Self::Subscribed(logs.collect())
            }
            Delivery(delivery) => {
                let behind = delivery.behind();
                let client::Delivery { topic, partition, messages, next_offset: next, .. } = delivery;
                Self::Delivery { log: log(topic, partition), messages, next, behind }
            }
            Assigned(topics) => {
                let logs = topics.iter().flat_map(|topic| {
                    topic.partitions.iter().map(|(number, _)| Log::partition(&topic.topic, *number))
                });
                Self::Assigned(logs.collect())
            }
            Revoked => Self::Revoked,
            CaughtUp { topic, partition, next_offset, blocked_until } => {
                Self::CaughtUp { log: log(topic, partition), next: next_offset, blocked_until }
            }
            Skipped { topic, partition, from, to, cause } => {
                Self::Skipped { log: log(topic, partition), from, to, cause }
            }
            Retrying { error, .. } => Self::Retrying { error },
            Reconnecting { error, pause } => Self::Reconnecting { error, pause },
            _ => Self::Unknown,
        }
    }
}

impl From<nats::Update> for Update {
    fn from(update: nats::Update) -> Self {
        use nats::Update::{CaughtUp, Delivery, Reconnecting, Retrying, Skipped, Subscribed};
        match update {
            Subscribed(streams) => {
                Self::Subscribed(streams.into_iter().map(|stream| Log::Stream(stream.stream)).collect())
            }
            Delivery(delivery) => {
                let behind = delivery.behind();
                let nats::Delivery { stream, messages, next_sequence: next, .. } = delivery;
                let messages = messages.into_iter().map(log::record).collect();
                Self::Delivery { log: Log::Stream(stream), messages, next, behind }
            }
            CaughtUp { stream, next_sequence } => {
                Self::CaughtUp { log: Log::Stream(stream), next: next_sequence, blocked_until: None }
            }
            Skipped { stream, from, to, cause } => {
                Self::Skipped { log: Log::Stream(stream), from, to, cause }
            }
            Retrying { error, .. } => Self::Retrying { error },
            Reconnecting { error, pause } => Self::Reconnecting { error, pause },
            _ => Self::Unknown,
        }
    }
}

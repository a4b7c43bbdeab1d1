//! The commands and results of NATS in protobuf. A stream is run as the topic whose one partition it is.

use std::time::Duration;

use bytes::Bytes;
use sluicegate_backend::command::{
    Command, Header, LogName, ReadBounds, Record, Source, Start, SubscribeCommand,
};
use sluicegate_backend::{CommandError, DeliveryReport, ListedOffset, Written};
use sluicegate_delivery::{Item, Place, SubscribedTopic};
use sluicegate_protocol::kafka_subscription_event::SnapshotEnd;
use sluicegate_protocol::nats_subscription_event::{
    Building, CaughtUp, Event, FirstSequence, Retrying, Skipped,
};
use sluicegate_protocol::{
    CmdNatsFetch, CmdNatsListSequences, CmdNatsPublish, CmdNatsSubscribe, ListedSequence, MESSAGE_ID_HEADER,
    NatsDeliveryResp, NatsFetchResp, NatsListSequencesResp, NatsPublishResp, NatsSource, NatsSubscribedResp,
    NatsSubscriptionEvent, OnLag, PublishMessage, Published, StreamTime, SubscribedStream, nats_source,
    pub_sub_resp::Resp,
};
use sluicegate_shared_log::Ends;

use crate::Subscribed;
use crate::error::{MAX_ERROR_BYTES, MAX_RECORD_ERROR_BYTES, error_resp};
use crate::millis;
use crate::nats::SYSTEM;
use crate::protobuf::{bounds, cause, header, id_bytes, record_filter, size, table, topic_id};

pub(super) fn fetch(command: CmdNatsFetch) -> Command {
    let CmdNatsFetch { stream, sequence, max_wait_ms, min_bytes, max_bytes, max_messages } = command;
    let bounds = bounds(max_wait_ms, min_bytes, max_bytes);
    let bounds = ReadBounds { max_records: size(max_messages), ..bounds };
    Command::Fetch { log: LogName::of_stream(stream), offset: sequence, bounds }
}

pub(super) fn list_sequences(command: CmdNatsListSequences) -> Command {
    let asked = |StreamTime { stream, timestamp }| (LogName::of_stream(stream), timestamp);
    Command::ListOffsets { asked: command.times.into_iter().map(asked).collect(), committed: false }
}

/// The subscription.
///
/// # Errors
/// A stream's id is invalid.
pub(super) fn subscribe(command: CmdNatsSubscribe) -> Result<Subscribed, String> {
    let (on_lag, table) = (command.on_lag(), table(command.snapshot(), command.away_ms));
    let CmdNatsSubscribe { sources, filters, max_batch_bytes, max_batch_messages, linger_ms, credit, .. } =
        command;
    let command = SubscribeCommand {
        sources: sources.into_iter().map(source).collect::<Result<_, _>>()?,
        committed: false,
        filters: filters.into_iter().map(record_filter).collect(),
        max_bytes: size(max_batch_bytes),
        max_records: size(max_batch_messages),
        linger: Duration::from_millis(linger_ms.into()),
        skips: on_lag == OnLag::Skip,
        table,
    };
    Ok(Subscribed { command, credit })
}

fn source(NatsSource { stream, stream_id, from }: NatsSource) -> Result<Source, String> {
    let from = match from {
        None => Start::default(),
        Some(nats_source::From::Timestamp(timestamp)) => Start::Timestamp(timestamp),
        Some(nats_source::From::Sequence(sequence)) => Start::Offset(sequence),
    };
    let topic_id = topic_id(&stream_id, "stream", &stream)?;
    Ok(Source { topic: stream, from, topic_id, ..Source::default() })
}

pub(super) fn publish(command: CmdNatsPublish) -> Command {
    Command::Produce(command.messages.into_iter().map(record).collect())
}

fn record(PublishMessage { stream, subject, data, headers, message_id }: PublishMessage) -> Record {
    let headers = headers.into_iter().map(header).collect();
    message(stream, subject, data, headers, message_id)
}

/// A message to write.
pub(super) fn message(
    stream: String,
    subject: String,
    data: Bytes,
    mut headers: Vec<Header>,
    message_id: String,
) -> Record {
    if !message_id.is_empty() {
        headers.push(Header { key: MESSAGE_ID_HEADER.to_owned(), value: Some(message_id.into()) });
    }
    Record { topic: stream, key: Some(subject.into()), value: Some(data), headers, ..Record::default() }
}

/// Everything of a fetch's answer but its messages.
pub(super) fn fetched(next_offset: i64, ends: Ends) -> NatsFetchResp {
    NatsFetchResp {
        messages: Vec::new(),
        next_sequence: next_offset,
        end: Some(ends.end),
        first_sequence: Some(ends.start),
    }
}

pub(super) fn listed(results: Vec<Result<ListedOffset, CommandError>>) -> Resp {
    let listed = |result| match result {
        Ok(ListedOffset { offset, timestamp }) => ListedSequence { sequence: offset, timestamp, error: None },
        Err(error) => ListedSequence {
            error: Some(error_resp(error, SYSTEM, MAX_RECORD_ERROR_BYTES)),
            ..Default::default()
        },
    };
    Resp::NatsListSequencesResp(NatsListSequencesResp { results: results.into_iter().map(listed).collect() })
}

pub(super) fn published(reports: Vec<DeliveryReport>) -> Resp {
    Resp::NatsPublishResp(NatsPublishResp { results: reports.into_iter().map(result).collect() })
}

/// The result of one message.
fn result(report: DeliveryReport) -> Published {
    match report {
        Ok(Written { offset, dedup, .. }) => Published {
            sequence: offset,
            duplicate: dedup.is_some_and(|dedup| dedup.is_duplicate),
            duplicate_window_ms: dedup
                .map_or(0, |dedup| u64::try_from(dedup.window.as_millis()).unwrap_or(u64::MAX)),
            error: None,
        },
        Err(error) => Published {
            error: Some(error_resp(error, SYSTEM, MAX_RECORD_ERROR_BYTES)),
            ..Published::default()
        },
    }
}

/// Everything of a delivery but its messages.
pub(super) fn delivered(Place { topic, offset, .. }: &Place, end: i64) -> NatsDeliveryResp {
    NatsDeliveryResp { messages: Vec::new(), stream: topic.to_string(), next_sequence: *offset, end }
}

fn subscribed(SubscribedTopic { topic, topic_id, partitions }: SubscribedTopic) -> SubscribedStream {
    SubscribedStream {
        stream: topic.to_string(),
        stream_id: id_bytes(topic_id),
        next_sequence: partitions.first().map_or(-1, |(_, next)| *next),
    }
}

/// The message of an item without messages of the stream; None for the other items.
pub(super) fn event(item: Item) -> Option<Resp> {
    let event = match item {
        Item::Subscribed(topics) => {
            let streams = topics.into_iter().map(subscribed).collect();
            return Some(Resp::NatsSubscribedResp(NatsSubscribedResp { streams, snapshot: false }));
        }
        Item::Snapshot(topics) => {
            let streams = topics.into_iter().map(subscribed).collect();
            return Some(Resp::NatsSubscribedResp(NatsSubscribedResp { streams, snapshot: true }));
        }
        Item::Building { place: Place { topic, offset, .. }, end } => {
            Event::Building(Building { stream: topic.to_string(), next_sequence: offset, end })
        }
        Item::SnapshotEnd { skipped } => Event::SnapshotEnd(SnapshotEnd { skipped }),
        Item::LogStart(Place { topic, offset, .. }) => {
            Event::FirstSequence(FirstSequence { stream: topic.to_string(), sequence: offset })
        }
        Item::CaughtUp { place: Place { topic, offset, .. }, .. } => {
            Event::CaughtUp(CaughtUp { stream: topic.to_string(), next_sequence: offset })
        }
        Item::Skipped { from, to: Place { topic, offset, .. }, cause: why } => {
            Event::Skipped(Skipped { stream: topic.to_string(), from, to: offset, cause: cause(why).into() })
        }
        Item::Retrying { place, error, since } => Event::Retrying(Retrying {
            stream: place.topic.to_string(),
            error: Some(error_resp(error, SYSTEM, MAX_ERROR_BYTES)),
            since: millis(since),
        }),
        Item::Delivery { .. } | Item::Ended { .. } => return None,
    };
    Some(Resp::NatsSubscriptionEvent(NatsSubscriptionEvent { event: Some(event) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscription_keeps_its_bounds() {
        let asked = CmdNatsSubscribe {
            max_batch_bytes: 1,
            max_batch_messages: 2,
            linger_ms: 3,
            credit: Some(4),
            on_lag: OnLag::Skip.into(),
            ..Default::default()
        };
        let linger = Duration::from_millis(3);
        let command =
            SubscribeCommand { max_bytes: 1, max_records: 2, linger, skips: true, ..Default::default() };
        assert_eq!(subscribe(asked), Ok(Subscribed { command, credit: Some(4) }));
    }
}

//! The commands and answers of NATS. A stream is run as the topic whose one partition it is.

use sluicegate_protocol::nats_subscription_event::{CaughtUp, Event, Retrying, Skipped};
use sluicegate_protocol::{
    CmdKafkaFetch, CmdKafkaListOffset, CmdKafkaListOffsets, CmdKafkaProduce, CmdKafkaSubscribe, CmdNatsFetch,
    CmdNatsListSequences, CmdNatsPublish, CmdNatsSubscribe, Header, KafkaSource, ListedSequence,
    MESSAGE_ID_HEADER, NatsDeliveryResp, NatsFetchResp, NatsListSequencesResp, NatsPublishResp, NatsSource,
    NatsSubscribedResp, NatsSubscriptionEvent, ProduceRecord, PublishMessage, Published, StreamTime,
    SubscribedStream, kafka_source, nats_source, pub_sub_resp::Resp,
};

use super::answer::{MAX_ERROR_BYTES, MAX_RECORD_ERROR_BYTES, error_resp};
use super::item::{cause, millis};
use crate::backend::{CommandError, DeliveryReport, Fetched, ListedOffset, System, Written};
use crate::delivery::{Item, Place, SubscribedTopic};

pub(super) fn fetch(command: CmdNatsFetch) -> CmdKafkaFetch {
    let CmdNatsFetch { stream, sequence, max_wait_ms, min_bytes, max_bytes, max_messages } = command;
    CmdKafkaFetch {
        topic: stream,
        offset: sequence,
        max_wait_ms,
        min_bytes,
        max_bytes,
        max_records: max_messages,
        ..Default::default()
    }
}

pub(super) fn list_sequences(command: CmdNatsListSequences) -> CmdKafkaListOffsets {
    let list =
        |StreamTime { stream, timestamp }| CmdKafkaListOffset { topic: stream, partition: 0, timestamp };
    CmdKafkaListOffsets { offsets: command.times.into_iter().map(list).collect(), ..Default::default() }
}

pub(super) fn subscribe(command: CmdNatsSubscribe) -> CmdKafkaSubscribe {
    let on_lag = command.on_lag;
    let CmdNatsSubscribe { sources, filters, max_batch_bytes, max_batch_messages, linger_ms, credit, .. } =
        command;
    CmdKafkaSubscribe {
        sources: sources.into_iter().map(source).collect(),
        filters,
        max_batch_bytes,
        max_batch_records: max_batch_messages,
        linger_ms,
        credit,
        on_lag,
        ..Default::default()
    }
}

fn source(NatsSource { stream, stream_id, from }: NatsSource) -> KafkaSource {
    let from = from.map(|from| match from {
        nats_source::From::Timestamp(timestamp) => kafka_source::From::Timestamp(timestamp),
        nats_source::From::Sequence(sequence) => kafka_source::From::Offset(sequence),
    });
    KafkaSource { topic: stream, from, topic_id: stream_id, ..Default::default() }
}

pub(super) fn publish(command: CmdNatsPublish) -> CmdKafkaProduce {
    CmdKafkaProduce { records: command.messages.into_iter().map(record).collect() }
}

fn record(message: PublishMessage) -> ProduceRecord {
    let PublishMessage { stream, subject, data, mut headers, message_id } = message;
    if !message_id.is_empty() {
        headers.push(Header { key: MESSAGE_ID_HEADER.to_owned(), value: Some(message_id.into()) });
    }
    ProduceRecord {
        topic: stream,
        key: Some(subject.into()),
        value: Some(data),
        headers,
        ..Default::default()
    }
}

/// Everything of a fetch's answer but its messages.
pub(super) fn fetched(fetched: &Fetched) -> NatsFetchResp {
    let Fetched { next_offset, ends, .. } = *fetched;
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
            error: Some(error_resp(error, System::Nats, MAX_RECORD_ERROR_BYTES)),
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
            error: Some(error_resp(error, System::Nats, MAX_RECORD_ERROR_BYTES)),
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
        stream_id: topic_id.map(|id| id.to_be_bytes().to_vec().into()).unwrap_or_default(),
        next_sequence: partitions.first().map_or(-1, |(_, next)| *next),
    }
}

/// The message of an item without messages of the stream; None for the other items.
pub(super) fn event(item: Item) -> Option<Resp> {
    let event = match item {
        Item::Subscribed(topics) => {
            let streams = topics.into_iter().map(subscribed).collect();
            return Some(Resp::NatsSubscribedResp(NatsSubscribedResp { streams }));
        }
        Item::CaughtUp { place: Place { topic, offset, .. }, .. } => {
            Event::CaughtUp(CaughtUp { stream: topic.to_string(), next_sequence: offset })
        }
        Item::Skipped { from, to: Place { topic, offset, .. }, cause: why } => {
            Event::Skipped(Skipped { stream: topic.to_string(), from, to: offset, cause: cause(why).into() })
        }
        Item::Retrying { place, error, since } => Event::Retrying(Retrying {
            stream: place.topic.to_string(),
            error: Some(error_resp(error, System::Nats, MAX_ERROR_BYTES)),
            since: millis(since),
        }),
        Item::Delivery { .. } | Item::Ended { .. } => return None,
    };
    Some(Resp::NatsSubscriptionEvent(NatsSubscriptionEvent { event: Some(event) }))
}

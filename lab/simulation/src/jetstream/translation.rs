//! Commands and answers of clients of Kafka, as those of NATS: clients of both promise and expect the same.

use bytes::Bytes;
use sluicegate_protocol::kafka_source;
use sluicegate_protocol::kafka_subscription_event as kafka;
use sluicegate_protocol::nats_source;
use sluicegate_protocol::nats_subscription_event as nats;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    CmdNatsFetch, CmdNatsListSequences, CmdNatsPublish, CmdNatsSubscribe, KafkaDeliveryResp, KafkaFetchResp,
    KafkaListOffsetResp, KafkaMessage, KafkaProduceResp, KafkaSource, KafkaSubscribedResp,
    KafkaSubscriptionEvent, NatsMessage, NatsSource, PartitionNext, ProduceRecord, Produced, PublishMessage,
    StreamTime, SubscribedStream, SubscribedTopic,
};

/// A command to a cluster of NATS.
pub(crate) fn command(req: Req) -> Req {
    match req {
        Req::CmdKafkaFetch(fetch) => Req::CmdNatsFetch(CmdNatsFetch {
            stream: fetch.topic,
            sequence: fetch.offset,
            max_wait_ms: fetch.max_wait_ms,
            min_bytes: fetch.min_bytes,
            max_bytes: fetch.max_bytes,
            max_messages: fetch.max_records,
        }),
        Req::CmdKafkaListOffset(list) => Req::CmdNatsListSequences(CmdNatsListSequences {
            times: vec![StreamTime { stream: list.topic, timestamp: list.timestamp }],
        }),
        Req::CmdKafkaSubscribe(subscribe) => Req::CmdNatsSubscribe(CmdNatsSubscribe {
            sources: subscribe.sources.into_iter().map(source).collect(),
            filters: subscribe.filters,
            max_batch_bytes: subscribe.max_batch_bytes,
            max_batch_messages: subscribe.max_batch_records,
            linger_ms: subscribe.linger_ms,
            credit: subscribe.credit,
            on_lag: subscribe.on_lag,
            snapshot: subscribe.snapshot,
            away_ms: subscribe.away_ms,
        }),
        Req::CmdKafkaProduce(produce) => Req::CmdNatsPublish(CmdNatsPublish {
            messages: produce.records.into_iter().map(message).collect(),
        }),
        other => other,
    }
}

fn source(source: KafkaSource) -> NatsSource {
    let next = source.next.first().map(|next| nats_source::From::Sequence(next.offset));
    let from = source.from.map(|from| match from {
        kafka_source::From::Timestamp(time) => nats_source::From::Timestamp(time),
        kafka_source::From::Offset(offset) => nats_source::From::Sequence(offset),
    });
    NatsSource { stream: source.topic, from: next.or(from), stream_id: source.topic_id }
}

/// A record to a partition that does not exist has a subject that its stream does not have.
fn message(record: ProduceRecord) -> PublishMessage {
    let subject = match record.partition {
        Some(1..) => "elsewhere".to_owned(),
        _ => String::from_utf8_lossy(&record.key.unwrap_or_default()).into_owned(),
    };
    let data = record.value.unwrap_or_default();
    PublishMessage { stream: record.topic, subject, data, ..PublishMessage::default() }
}

/// An answer of a cluster of NATS.
pub(crate) fn answer(resp: Resp) -> Resp {
    match resp {
        Resp::NatsFetchResp(fetched) => Resp::KafkaFetchResp(KafkaFetchResp {
            messages: fetched.messages.into_iter().map(record).collect(),
            next_offset: fetched.next_sequence,
            ..KafkaFetchResp::default()
        }),
        Resp::NatsListSequencesResp(mut listed) => {
            let listed = listed.results.pop().unwrap_or_default();
            let found = Resp::KafkaListOffsetResp(KafkaListOffsetResp { offset: listed.sequence });
            listed.error.map_or(found, Resp::ErrorResp)
        }
        Resp::NatsSubscribedResp(subscribed) => Resp::KafkaSubscribedResp(KafkaSubscribedResp {
            topics: subscribed.streams.into_iter().map(topic).collect(),
            snapshot: subscribed.snapshot,
        }),
        Resp::NatsDeliveryResp(delivery) => Resp::KafkaDeliveryResp(KafkaDeliveryResp {
            messages: delivery.messages.into_iter().map(record).collect(),
            topic: delivery.stream,
            partition: 0,
            next_offset: delivery.next_sequence,
            high_watermark: delivery.end,
        }),
        Resp::NatsSubscriptionEvent(happened) => {
            Resp::KafkaSubscriptionEvent(KafkaSubscriptionEvent { event: happened.event.map(event) })
        }
        Resp::NatsPublishResp(published) => {
            let results = published.results.into_iter().map(|published| Produced {
                offset: published.sequence,
                error: published.error,
                ..Produced::default()
            });
            Resp::KafkaProduceResp(KafkaProduceResp { results: results.collect() })
        }
        other => other,
    }
}

fn record(message: NatsMessage) -> KafkaMessage {
    KafkaMessage {
        offset: message.sequence,
        timestamp: message.timestamp,
        key: Some(Bytes::from(message.subject)),
        value: Some(message.data),
        headers: message.headers,
        ..KafkaMessage::default()
    }
}

fn topic(stream: SubscribedStream) -> SubscribedTopic {
    SubscribedTopic {
        topic: stream.stream,
        topic_id: stream.stream_id,
        partitions: vec![PartitionNext { partition: 0, offset: stream.next_sequence }],
    }
}

fn event(event: nats::Event) -> kafka::Event {
    match event {
        nats::Event::CaughtUp(caught_up) => kafka::Event::CaughtUp(kafka::CaughtUp {
            topic: caught_up.stream,
            next_offset: caught_up.next_sequence,
            ..kafka::CaughtUp::default()
        }),
        nats::Event::Skipped(skipped) => kafka::Event::Skipped(kafka::Skipped {
            topic: skipped.stream,
            from: skipped.from,
            to: skipped.to,
            cause: skipped.cause,
            ..kafka::Skipped::default()
        }),
        nats::Event::Retrying(retrying) => kafka::Event::Retrying(kafka::Retrying {
            topic: retrying.stream,
            error: retrying.error,
            since: retrying.since,
            ..kafka::Retrying::default()
        }),
        nats::Event::Building(building) => kafka::Event::Building(kafka::Building {
            topic: building.stream,
            next_offset: building.next_sequence,
            end: building.end,
            ..kafka::Building::default()
        }),
        nats::Event::SnapshotEnd(end) => kafka::Event::SnapshotEnd(end),
        nats::Event::FirstSequence(first) => kafka::Event::LogStart(kafka::LogStart {
            topic: first.stream,
            offset: first.sequence,
            ..kafka::LogStart::default()
        }),
    }
}

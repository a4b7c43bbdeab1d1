//! Commands and answers of clients of Kafka, as those of JSON sessions with NATS: clients of both promise and expect the
//! same.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use serde_json::{Value, json};
use sluicegate_protocol::kafka_subscription_event::{
    Building, CaughtUp, Event, LogStart, Retrying, Skipped, SnapshotEnd,
};
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    CmdKafkaSubscribe, KafkaDeliveryResp, KafkaFetchResp, KafkaListOffsetResp, KafkaMessage,
    KafkaProduceResp, KafkaSubscribedResp, PartitionNext, PongResp, ProduceRecord, Produced, RecordFilter,
    SubscribedTopic, kafka_source,
};

use crate::client::{cause_of, error_of, framed_len, happened, number};

/// The text of a command; `None` for those that are protobuf in every session.
pub(crate) fn command(sequence: i64, req: &Req) -> Option<Vec<u8>> {
    let (name, members) = match req {
        Req::CmdKafkaFetch(fetch) => (
            "fetch",
            json!({
                "stream": fetch.topic,
                "sequence": fetch.offset,
                "format": "base64",
                "max_wait_ms": fetch.max_wait_ms,
                "min_bytes": fetch.min_bytes,
                "max_bytes": fetch.max_bytes,
                "max_messages": fetch.max_records,
            }),
        ),
        Req::CmdKafkaListOffset(list) => {
            ("list_sequences", json!({"times": [{"stream": list.topic, "timestamp": list.timestamp}]}))
        }
        Req::CmdKafkaSubscribe(subscribe) => ("subscribe", subscription(subscribe)),
        Req::CmdKafkaProduce(produce) => {
            let messages: Vec<_> = produce.records.iter().map(message).collect();
            ("publish", json!({"messages": messages, "format": "base64"}))
        }
        Req::CmdCredit(credit) => {
            ("credit", json!({"subscription": credit.subscription, "bytes": credit.bytes}))
        }
        Req::CmdPing(_) => ("ping", json!({"state": ""})),
        _ => return None,
    };
    Some(json!({"id": sequence, (name): members}).to_string().into())
}

fn subscription(subscribe: &CmdKafkaSubscribe) -> Value {
    let source = subscribe.sources.first().cloned().unwrap_or_default();
    let from = match (source.next.first(), source.from) {
        (Some(next), _) => Some(next.offset),
        (None, Some(kafka_source::From::Offset(offset))) => Some(offset),
        (None, _) => None,
    };
    let filter = |filter: &RecordFilter| {
        let subjects: Vec<_> = filter.equals.iter().map(|subject| STANDARD.encode(subject)).collect();
        json!({"subject": subjects})
    };
    let id = Some(source.topic_id).filter(|id| !id.is_empty());
    json!({
        "stream": source.topic,
        "from": from.map(|from| json!({"sequence": from})),
        "stream_id": id.map(|id| URL_SAFE_NO_PAD.encode(id)),
        "format": "base64",
        "filters": subscribe.filters.iter().map(filter).collect::<Vec<_>>(),
        "max_batch_bytes": subscribe.max_batch_bytes,
        "max_batch_messages": subscribe.max_batch_records,
        "linger_ms": subscribe.linger_ms,
        "on_lag": if subscribe.on_lag == 0 { "wait" } else { "skip" },
        "credit": subscribe.credit,
        "snapshot": (subscribe.snapshot != 0).then_some("latest_per_key"),
        "away_ms": subscribe.away_ms,
    })
}

/// A record to a partition that does not exist has a subject that its stream does not have.
fn message(record: &ProduceRecord) -> Value {
    let subject = match record.partition {
        Some(1..) => "elsewhere".into(),
        _ => String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()),
    };
    let data = STANDARD.encode(record.value.as_deref().unwrap_or_default());
    json!({"stream": record.topic, "subject": subject, "data": data})
}

/// An answer, with the sequence of its command.
pub(crate) fn answer(text: &[u8]) -> Option<(i64, Resp)> {
    let answer: Value = serde_json::from_slice(text).ok()?;
    let resp = match answer.as_object()?.iter().find_map(|(name, part)| event(name, part, &answer)) {
        Some(event) => happened(event),
        None => other(&answer)?,
    };
    Some((number(&answer["id"]), resp))
}

/// An event of a subscription, if the part of this name is one.
fn event(name: &str, part: &Value, answer: &Value) -> Option<Event> {
    Some(match name {
        "caught_up" => {
            Event::CaughtUp(CaughtUp { next_offset: number(&answer["next"]), ..CaughtUp::default() })
        }
        "skipped" => {
            let (from, to) = (number(&part["from"]), agreed(&part["to"], &answer["next"]));
            Event::Skipped(Skipped { from, to, cause: cause_of(part).into(), ..Skipped::default() })
        }
        "retrying" => Event::Retrying(Retrying::default()),
        "building" => Event::Building(Building::default()),
        "snapshot_end" => Event::SnapshotEnd(SnapshotEnd::default()),
        // A fetch tells of it, too.
        "first_sequence" if answer.get("messages").is_none() => {
            Event::LogStart(LogStart { offset: number(part), ..LogStart::default() })
        }
        _ => return None,
    })
}

/// A number that two members tell.
fn agreed(one: &Value, other: &Value) -> i64 {
    number(if one == other { one } else { &Value::Null })
}

fn other(answer: &Value) -> Option<Resp> {
    if let Some(error) = answer.get("error") {
        return Some(Resp::ErrorResp(error_of(error)));
    }
    if answer.get("pong").is_some() {
        return Some(Resp::PongResp(PongResp::default()));
    }
    if let Some(streams) = answer["subscribed"].as_array() {
        let topics = streams.iter().map(topic).collect();
        let snapshot = answer.get("snapshot").is_some();
        return Some(Resp::KafkaSubscribedResp(KafkaSubscribedResp { topics, snapshot }));
    }
    if let Some(messages) = answer["messages"].as_array() {
        let (messages, next_offset) =
            (messages.iter().map(record).collect::<Vec<_>>(), number(&answer["next"]));
        let bytes: usize = messages.iter().map(framed_len).sum();
        return Some(match answer["stream"].as_str() {
            None => Resp::KafkaFetchResp(KafkaFetchResp { messages, next_offset, ..Default::default() }),
            // Credit would be lost, or grow.
            Some(_) if answer["bytes"] != bytes => Resp::ErrorResp(error_of(&json!({"bytes": bytes}))),
            Some(stream) => Resp::KafkaDeliveryResp(KafkaDeliveryResp {
                messages,
                topic: stream.to_owned(),
                partition: 0,
                next_offset,
                high_watermark: number(&answer["end"]),
            }),
        });
    }
    let results = answer["results"].as_array()?;
    Some(match &results[..] {
        // The only one of a command is the command's.
        [result] if result.get("error").is_some() => Resp::ErrorResp(error_of(&result["error"])),
        [result] if result.get("timestamp").is_some() => {
            Resp::KafkaListOffsetResp(KafkaListOffsetResp { offset: number(&result["sequence"]) })
        }
        results => {
            let produced = |result: &Value| Produced {
                offset: number(&result["sequence"]),
                error: result.get("error").map(error_of),
                ..Produced::default()
            };
            Resp::KafkaProduceResp(KafkaProduceResp { results: results.iter().map(produced).collect() })
        }
    })
}

fn record(message: &Value) -> KafkaMessage {
    let data = message["data"].as_str().and_then(|data| STANDARD.decode(data).ok());
    KafkaMessage {
        offset: number(&message["sequence"]),
        timestamp: number(&message["timestamp"]),
        key: message["subject"].as_str().map(|subject| Bytes::from(subject.to_owned())),
        value: data.map(Bytes::from),
        ..KafkaMessage::default()
    }
}

fn topic(stream: &Value) -> SubscribedTopic {
    let id = stream["stream_id"].as_str().and_then(|id| URL_SAFE_NO_PAD.decode(id).ok());
    SubscribedTopic {
        topic: stream["stream"].as_str().unwrap_or_default().to_owned(),
        topic_id: id.unwrap_or_default().into(),
        partitions: vec![PartitionNext { partition: 0, offset: number(&stream["next"]) }],
    }
}

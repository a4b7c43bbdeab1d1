//! Updates of a subscription, as text.

use std::io::Write as _;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde::{Serialize, Serializer};
use sluicegate_protocol::kafka_subscription_event::{
    CaughtUp, Event, OpenTransaction, Retrying, Skipped, skipped::Cause,
};
use sluicegate_protocol::{KafkaSubscribedResp, KafkaSubscriptionEvent, PartitionNext, SubscribedTopic};

use super::error::Error;
use super::records::{put_end, put_message, put_next, shrunk};
use crate::backend::{System, first_message};
use crate::delivery::Place;
use crate::json::format::Format;

/// A delivery: `{"id": 1, "messages": […], "next": {"0": 6}, …}`. Its `bytes` are what it costs of the credit.
pub(in crate::session) fn delivered(
    sequence: i64,
    system: System,
    next: &Place,
    messages: Bytes,
    end: i64,
    format: Format,
) -> Bytes {
    let Place { topic, partition, offset } = next;
    let bytes = messages.len();
    let mut text = format!("{{\"id\":{sequence},\"messages\":[").into_bytes();
    let (mut left, mut is_first) = (messages, true);
    while let Some((message, rest)) = first_message(&left) {
        if !std::mem::take(&mut is_first) {
            text.push(b',');
        }
        put_message(&mut text, system, *partition, &message, format);
        left = rest;
    }
    text.push(b']');
    put_next(&mut text, system, *partition, *offset);
    let end_name = match system {
        System::Kafka => "high_watermark",
        System::Nats => "end",
    };
    put_end(&mut text, end_name, end);
    // Cannot fail: a `Vec` accepts all writes.
    let _ = write!(text, ",\"{}\":", system.topic);
    let _ = serde_json::to_writer(&mut text, &**topic);
    let _ = write!(text, ",\"bytes\":{bytes}}}");
    shrunk(text)
}

/// The largest text of a delivery of so many records, which have so many bytes in protobuf.
pub(in crate::session) const fn max_delivery_bytes(bytes: usize, records: usize) -> usize {
    let fixed = records.saturating_mul(RECORD_BYTES).saturating_add(DELIVERY_BYTES);
    bytes.saturating_mul(MAX_GROWTH).saturating_add(fixed)
}

/// An answer of a subscription without records.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Item<'a> {
    Subscribed { subscribed: Vec<Topic<'a>> },
    CaughtUp { topic: &'a str, next: Next, caught_up: CaughtUpAt },
    Skipped { topic: &'a str, next: Next, skipped: Range },
    Retrying { topic: &'a str, retrying: Outage<'a> },
}

#[derive(Serialize)]
pub(super) struct Topic<'a> {
    topic: &'a str,
    #[serde(skip_serializing_if = "String::is_empty")]
    topic_id: String,
    /// Where each begins.
    partitions: Next,
}

#[derive(Serialize)]
pub(super) struct CaughtUpAt {
    partition: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    open_transaction: Option<Transaction>,
}

#[derive(Serialize)]
pub(super) struct Transaction {
    end: i64,
}

#[derive(Serialize)]
pub(super) struct Range {
    partition: i32,
    from: i64,
    to: i64,
    cause: &'static str,
}

#[derive(Serialize)]
pub(super) struct Outage<'a> {
    partition: i32,
    since: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Error<'a>>,
}

/// The offset to continue from, by partition.
pub(super) struct Next(Vec<(i32, i64)>);

impl Serialize for Next {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

impl<'a> Item<'a> {
    pub(super) fn subscribed(subscribed: &'a KafkaSubscribedResp) -> Self {
        Self::Subscribed { subscribed: subscribed.topics.iter().map(topic).collect() }
    }

    /// None: an event that this version does not know.
    pub(super) fn event(event: &'a KafkaSubscriptionEvent) -> Option<Self> {
        Some(match event.event.as_ref()? {
            Event::CaughtUp(CaughtUp { topic, partition, next_offset, open_transaction }) => {
                let open_transaction = open_transaction.map(|OpenTransaction { end }| Transaction { end });
                Self::CaughtUp {
                    topic,
                    next: Next(vec![(*partition, *next_offset)]),
                    caught_up: CaughtUpAt { partition: *partition, open_transaction },
                }
            }
            Event::Skipped(skipped) => {
                let cause = cause_name(skipped.cause());
                let Skipped { topic, partition, from, to, .. } = skipped;
                Self::Skipped {
                    topic,
                    next: Next(vec![(*partition, *to)]),
                    skipped: Range { partition: *partition, from: *from, to: *to, cause },
                }
            }
            Event::Retrying(Retrying { topic, partition, error, since }) => {
                let error = error.as_ref().map(Error::of_command);
                Self::Retrying { topic, retrying: Outage { partition: *partition, since: *since, error } }
            }
        })
    }
}

pub(super) fn cause_name(cause: Cause) -> &'static str {
    match cause {
        Cause::Deleted => "deleted",
        Cause::Lag => "lag",
    }
}

fn topic(subscribed: &SubscribedTopic) -> Topic<'_> {
    let SubscribedTopic { topic, topic_id, partitions } = subscribed;
    let partitions = partitions.iter().map(|PartitionNext { partition, offset }| (*partition, *offset));
    Topic { topic, topic_id: URL_SAFE_NO_PAD.encode(topic_id), partitions: Next(partitions.collect()) }
}

/// The largest delivery. As protobuf it can be larger, because its text is.
pub(in crate::session) const MAX_BATCH_BYTES: usize = 24 * 1024;
pub(in crate::session) const MAX_BATCH_RECORDS: usize = 600;

/// How many bytes of text a byte of a record becomes, at most: a header without content has 3 and becomes 24, and a control
/// character becomes 6.
const MAX_GROWTH: usize = 8;
/// The text of a record that its own bytes do not account for: the names of its members.
const RECORD_BYTES: usize = 100;
/// The text of a delivery without records. A topic's name has at most 249 characters.
const DELIVERY_BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;
    use serde_json::Value;
    use sluicegate_protocol::{Header, KafkaFetchResp, KafkaMessage, TimestampType};

    use super::*;

    fn place(topic: &str, partition: i32, offset: i64) -> Place {
        Place { topic: topic.into(), partition, offset }
    }

    /// The text of a delivery, within its bound.
    fn text(partition: i32, messages: Vec<KafkaMessage>, format: Format) -> String {
        let count = messages.len();
        let encoded: Bytes = KafkaFetchResp { messages, ..Default::default() }.encode_to_vec().into();
        let bytes = encoded.len();
        let next = place(&"t".repeat(249), partition, i64::MAX);
        let nats = delivered(i64::MIN, System::Nats, &next, encoded.clone(), i64::MAX, format);
        assert!(nats.len() + 5 <= max_delivery_bytes(bytes, count), "{} of {bytes}, {count}", nats.len());
        let text = delivered(i64::MIN, System::Kafka, &next, encoded, i64::MAX, format);
        assert!(text.len() + 5 <= max_delivery_bytes(bytes, count), "{} of {bytes}, {count}", text.len());
        let answer: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!((&answer["bytes"], answer["messages"].as_array().unwrap().len()), (&bytes.into(), count));
        String::from_utf8(text.into()).unwrap()
    }

    #[test]
    fn delivery_says_what_follows_and_what_it_costs() {
        let value = Some(Bytes::from_static(b"{\"n\": 1.0}"));
        let messages = vec![KafkaMessage {
            offset: 5,
            timestamp: 6,
            key: Some("a".into()),
            value,
            ..Default::default()
        }];
        let encoded = KafkaFetchResp { messages, ..Default::default() }.encode_to_vec();
        let encoded = Bytes::from(encoded);
        let text = delivered(-7, System::Kafka, &place("demo", 3, 9), encoded.clone(), 12, Format::Json);
        let want = r#"{"id":-7,"messages":[{"partition":3,"offset":5,"timestamp":6,"key":"a","value":{"n": 1.0}}],"next":{"3":9},"high_watermark":12,"topic":"demo","bytes":21}"#;
        assert_eq!(text, want);
        let text = delivered(1, System::Kafka, &place("demo", 0, 9), Bytes::new(), -1, Format::Json);
        assert_eq!(text, r#"{"id":1,"messages":[],"next":{"0":9},"topic":"demo","bytes":0}"#);
        let text = delivered(-7, System::Nats, &place("demo", 0, 9), encoded, 12, Format::Json);
        let want = r#"{"id":-7,"messages":[{"sequence":5,"timestamp":6,"subject":"a","data":{"n": 1.0}}],"next":9,"end":12,"stream":"demo","bytes":21}"#;
        assert_eq!(text, want);
    }

    /// Those whose text grows most.
    #[test]
    fn smallest_records_and_headers_are_within_the_bound() {
        let log_append = TimestampType::LogAppendTime.into();
        let header = Header::default();
        for format in [Format::Json, Format::Text, Format::Base64] {
            for (offset, timestamp) in
                [(0, 0), (1, 0), (127, 127), (128, 128), (i64::MAX, i64::MAX), (0, -1), (0, i64::MIN)]
            {
                let smallest = KafkaMessage { offset, timestamp, ..Default::default() };
                text(i32::MAX, vec![smallest.clone(); 100], format);
                for timestamp_type in [0, log_append] {
                    for headers in [0, 1, 1000] {
                        let headers = vec![header.clone(); headers];
                        let message = KafkaMessage { timestamp_type, headers, ..smallest.clone() };
                        text(i32::MAX, vec![message; 10], format);
                    }
                }
                let empty = KafkaMessage { key: Some("".into()), value: Some("".into()), ..smallest };
                text(i32::MAX, vec![empty; 100], format);
            }
        }
    }

    fn content() -> impl Strategy<Value = Option<Bytes>> {
        let bytes = prop::collection::vec(prop_oneof![any::<u8>(), Just(0), Just(b'"')], 0..20);
        prop::option::of(bytes.prop_map(Bytes::from))
    }

    fn message() -> impl Strategy<Value = KafkaMessage> {
        let header = ("[\0-\u{1f}a\"]{0,3}", content()).prop_map(|(key, value)| Header { key, value });
        let headers = prop::collection::vec(header, 0..4);
        let numbers = (any::<i64>(), any::<i64>(), 0..2);
        (numbers, content(), content(), headers).prop_map(
            |((offset, timestamp, timestamp_type), key, value, headers)| KafkaMessage {
                offset,
                timestamp,
                timestamp_type,
                key,
                value,
                headers,
            },
        )
    }

    proptest! {
        #[test]
        fn any_records_are_within_the_bound(messages in prop::collection::vec(message(), 0..5)) {
            for format in [Format::Json, Format::Text, Format::Base64] {
                text(i32::MAX, messages.clone(), format);
            }
        }
    }
}

//! An answer becomes text: `{"id": 1, "pong": {…}}`.

use bytes::Bytes;
use serde::Serialize;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    ErrorResp, KafkaListOffsetResp, KafkaListOffsetsResp, KafkaProduceResp, ListedOffset,
    NatsListSequencesResp, NatsPublishResp, PartitionMetadata, PongResp, Produced, PubSubResp, SessionResp,
    TopicMetadata, UnsubscribedResp,
};

use super::error::Error;
use super::item::Item;
use super::nats;
use super::records::shrunk;

/// The text of an answer that is not pre-encoded. None for a control message, which is protobuf in every codec.
pub(in crate::session) fn encode(answer: &PubSubResp) -> Option<Vec<u8>> {
    let body = match answer.resp.as_ref()? {
        Resp::ErrorResp(error) => Body::Error { error: Error::of_command(error) },
        Resp::PongResp(PongResp { state }) => {
            Body::Pong { pong: Pong { state: std::str::from_utf8(state).unwrap_or_default() } }
        }
        Resp::SessionResp(SessionResp { max_message_bytes }) => {
            Body::Session { session: Limits { max_message_bytes: *max_message_bytes } }
        }
        Resp::KafkaListOffsetResp(KafkaListOffsetResp { offset }) => Body::Offset { offset: *offset },
        Resp::KafkaListOffsetsResp(KafkaListOffsetsResp { results }) => {
            Body::Offsets { results: results.iter().map(listed).collect() }
        }
        Resp::KafkaProduceResp(KafkaProduceResp { results }) => {
            Body::Produced { results: results.iter().map(produced).collect() }
        }
        Resp::KafkaSubscribedResp(subscribed) => Body::Item(Item::subscribed(subscribed)),
        Resp::KafkaSubscriptionEvent(event) => Body::Item(Item::event(event)?),
        Resp::NatsListSequencesResp(NatsListSequencesResp { results }) => {
            Body::Sequences { results: results.iter().map(nats::Sequence::of).collect() }
        }
        Resp::NatsPublishResp(NatsPublishResp { results }) => {
            Body::Published { results: results.iter().map(nats::Published::of).collect() }
        }
        Resp::NatsSubscribedResp(subscribed) => Body::NatsItem(nats::Item::subscribed(subscribed)),
        Resp::NatsSubscriptionEvent(event) => Body::NatsItem(nats::Item::event(event)?),
        Resp::UnsubscribedResp(UnsubscribedResp {}) => Body::Unsubscribed { unsubscribed: Empty {} },
        // Records are encoded where they are read, topics for all who ask.
        Resp::Control(_)
        | Resp::KafkaMetadataResp(_)
        | Resp::KafkaFetchResp(_)
        | Resp::NatsFetchResp(_)
        | Resp::NatsDeliveryResp(_)
        | Resp::KafkaMultiFetchResp(_)
        | Resp::KafkaDeliveryResp(_) => return None,
    };
    // Cannot fail: all names are strings or numbers.
    serde_json::to_vec(&Answer { id: answer.sequence, body }).ok()
}

/// The answer with a page of topics, each as [`topic`] gives it.
pub(in crate::session) fn metadata(sequence: i64, topics: &[Bytes], more: bool) -> Bytes {
    let begin = format!("{{\"id\":{sequence},\"topics\":[");
    let end = format!("],\"more\":{more}}}");
    let mut parts = vec![begin.as_bytes()];
    for (number, topic) in topics.iter().enumerate() {
        if number > 0 {
            parts.push(b",");
        }
        parts.push(topic);
    }
    parts.push(end.as_bytes());
    parts.concat().into()
}

/// A topic of an answer.
pub(in crate::session) fn topic(topic: &TopicMetadata) -> Bytes {
    let TopicMetadata { name, partitions, error } = topic;
    let partitions = partitions.iter().map(partition).collect();
    let topic = Topic { name, described: outcome(error.as_ref(), Partitions { partitions }) };
    // Cannot fail: all names are strings.
    shrunk(serde_json::to_vec(&topic).unwrap_or_default())
}

#[derive(Serialize)]
struct Answer<'a> {
    id: i64,
    #[serde(flatten)]
    body: Body<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Body<'a> {
    Error { error: Error<'a> },
    Pong { pong: Pong<'a> },
    Session { session: Limits },
    Offset { offset: i64 },
    Offsets { results: Vec<Outcome<'a, Offset>> },
    Produced { results: Vec<Outcome<'a, Place>> },
    Item(Item<'a>),
    Sequences { results: Vec<Outcome<'a, nats::Sequence>> },
    Published { results: Vec<Outcome<'a, nats::Published>> },
    NatsItem(nats::Item<'a>),
    Unsubscribed { unsubscribed: Empty },
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
struct Pong<'a> {
    state: &'a str,
}

#[derive(Serialize)]
struct Limits {
    max_message_bytes: u32,
}

/// The result of one record or partition.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Outcome<'a, T> {
    Done(T),
    Failed { error: Error<'a> },
}

#[derive(Serialize)]
struct Offset {
    offset: i64,
    timestamp: i64,
}

#[derive(Serialize)]
struct Place {
    partition: i32,
    offset: i64,
    timestamp: i64,
}

#[derive(Serialize)]
struct Topic<'a> {
    name: &'a str,
    #[serde(flatten)]
    described: Outcome<'a, Partitions<'a>>,
}

#[derive(Serialize)]
struct Partitions<'a> {
    partitions: Vec<Partition<'a>>,
}

#[derive(Serialize)]
struct Partition<'a> {
    partition: i32,
    leader: i32,
    replicas: &'a [i32],
    in_sync_replicas: &'a [i32],
}

fn listed(listed: &ListedOffset) -> Outcome<'_, Offset> {
    let ListedOffset { offset, timestamp, error } = listed;
    outcome(error.as_ref(), Offset { offset: *offset, timestamp: *timestamp })
}

fn produced(produced: &Produced) -> Outcome<'_, Place> {
    let Produced { partition, offset, timestamp, error } = produced;
    outcome(error.as_ref(), Place { partition: *partition, offset: *offset, timestamp: *timestamp })
}

fn partition(described: &PartitionMetadata) -> Partition<'_> {
    let PartitionMetadata { partition, leader, replicas, in_sync_replicas } = described;
    Partition { partition: *partition, leader: *leader, replicas, in_sync_replicas }
}

pub(super) fn outcome<T>(error: Option<&ErrorResp>, done: T) -> Outcome<'_, T> {
    match error {
        Some(error) => Outcome::Failed { error: Error::of_result(error) },
        None => Outcome::Done(done),
    }
}

#[cfg(test)]
mod tests {
    use sluicegate_protocol::kafka_subscription_event::{
        CaughtUp, Event, OpenTransaction, Retrying, Skipped, skipped::Cause,
    };
    use sluicegate_protocol::{
        Close, ControlResp, KafkaSubscribedResp, KafkaSubscriptionEvent, PartitionNext, Reason,
        SubscribedTopic, control_resp,
    };

    use super::*;

    #[track_caller]
    fn check(resp: Resp, want: &str) {
        let text = encode(&PubSubResp { sequence: 7, resp: Some(resp) }).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), want);
    }

    fn error() -> ErrorResp {
        ErrorResp { message: "\"m\"".into(), reason: Reason::Denied.into(), ..Default::default() }
    }

    #[test]
    fn errors_leave_out_what_does_not_apply() {
        check(
            Resp::ErrorResp(error()),
            r#"{"id":7,"error":{"reason":"DENIED","message":"\"m\"","retriable":false}}"#,
        );
        let all = ErrorResp {
            code: 1,
            retriable: true,
            retry_after_ms: 1000,
            unknown_outcome: true,
            earliest_offset: Some(0),
            latest_offset: Some(9),
            ..error()
        };
        check(
            Resp::ErrorResp(all),
            r#"{"id":7,"error":{"reason":"DENIED","message":"\"m\"","retriable":true,"code":1,"retry_after_ms":1000,"unknown_outcome":true,"earliest_offset":0,"latest_offset":9}}"#,
        );
    }

    #[test]
    fn each_answer_has_its_members() {
        check(Resp::PongResp(PongResp { state: "\0é".into() }), r#"{"id":7,"pong":{"state":"\u0000é"}}"#);
        check(
            Resp::SessionResp(SessionResp { max_message_bytes: u32::MAX }),
            r#"{"id":7,"session":{"max_message_bytes":4294967295}}"#,
        );
        check(Resp::KafkaListOffsetResp(KafkaListOffsetResp { offset: -1 }), r#"{"id":7,"offset":-1}"#);
        let failed = r#"{"error":{"reason":"DENIED","message":"\"m\"","retriable":false}}"#;
        let listed = ListedOffset { offset: i64::MAX, timestamp: -1, error: None };
        let denied = ListedOffset { error: Some(error()), ..Default::default() };
        check(
            Resp::KafkaListOffsetsResp(KafkaListOffsetsResp { results: vec![listed, denied] }),
            &format!(r#"{{"id":7,"results":[{{"offset":9223372036854775807,"timestamp":-1}},{failed}]}}"#),
        );
        let produced = Produced { partition: 1, offset: 2, timestamp: 3, error: None };
        let denied = Produced { error: Some(error()), ..Default::default() };
        check(
            Resp::KafkaProduceResp(KafkaProduceResp { results: vec![produced, denied] }),
            &format!(r#"{{"id":7,"results":[{{"partition":1,"offset":2,"timestamp":3}},{failed}]}}"#),
        );
        let partition =
            PartitionMetadata { partition: 0, leader: -1, replicas: vec![1, 2], in_sync_replicas: vec![] };
        let described = TopicMetadata { name: "a".into(), partitions: vec![partition], error: None };
        let denied = TopicMetadata { name: "b".into(), partitions: Vec::new(), error: Some(error()) };
        let topics = [described, denied].map(|described| topic(&described));
        let failed = &failed[1..];
        let described = r#"{"name":"a","partitions":[{"partition":0,"leader":-1,"replicas":[1,2],"in_sync_replicas":[]}]}"#;
        let denied = format!(r#"{{"name":"b",{failed}"#);
        for (topics, want) in [
            (&topics[..], format!(r#"{{"id":7,"topics":[{described},{denied}],"more":true}}"#)),
            (&topics[..1], format!(r#"{{"id":7,"topics":[{described}],"more":true}}"#)),
            (&[], r#"{"id":7,"topics":[],"more":true}"#.to_owned()),
        ] {
            assert_eq!(metadata(7, topics, true), want);
        }
    }

    #[test]
    fn subscriptions_tell_where_to_continue() {
        let partitions =
            [(0, 5), (1, 0)].map(|(partition, offset)| PartitionNext { partition, offset }).into();
        let known = SubscribedTopic { topic: "t".into(), topic_id: vec![0xFF; 16].into(), partitions };
        let unknown = SubscribedTopic { topic: "u".into(), ..Default::default() };
        check(
            Resp::KafkaSubscribedResp(KafkaSubscribedResp { topics: vec![known, unknown] }),
            r#"{"id":7,"subscribed":[{"topic":"t","topic_id":"_____________________w","partitions":{"0":5,"1":0}},{"topic":"u","partitions":{}}]}"#,
        );
        check(Resp::UnsubscribedResp(UnsubscribedResp {}), r#"{"id":7,"unsubscribed":{}}"#);
        let check_event = |event, want| {
            check(Resp::KafkaSubscriptionEvent(KafkaSubscriptionEvent { event: Some(event) }), want);
        };
        let caught_up = |open_transaction| {
            Event::CaughtUp(CaughtUp { topic: "t".into(), partition: 1, next_offset: 6, open_transaction })
        };
        check_event(caught_up(None), r#"{"id":7,"topic":"t","next":{"1":6},"caught_up":{"partition":1}}"#);
        check_event(
            caught_up(Some(OpenTransaction { end: 9 })),
            r#"{"id":7,"topic":"t","next":{"1":6},"caught_up":{"partition":1,"open_transaction":{"end":9}}}"#,
        );
        let cause = Cause::Lag.into();
        check_event(
            Event::Skipped(Skipped { topic: "t".into(), partition: 1, from: 6, to: 9, cause }),
            r#"{"id":7,"topic":"t","next":{"1":9},"skipped":{"partition":1,"from":6,"to":9,"cause":"lag"}}"#,
        );
        check_event(
            Event::Retrying(Retrying { topic: "t".into(), partition: 1, error: Some(error()), since: 8 }),
            r#"{"id":7,"topic":"t","retrying":{"partition":1,"since":8,"error":{"reason":"DENIED","message":"\"m\"","retriable":false}}}"#,
        );
    }

    #[test]
    fn control_messages_have_no_text() {
        let close = control_resp::Control::Close(Close::default());
        let control = Resp::Control(ControlResp { control: Some(close) });
        assert_eq!(encode(&PubSubResp { sequence: 0, resp: Some(control) }), None);
    }
}

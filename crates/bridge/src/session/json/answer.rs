//! An answer becomes text: `{"id": 1, "pong": {…}}`.

use bytes::Bytes;
use serde::Serialize;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    AuthResp, KafkaListOffsetResp, PartitionMetadata, PongResp, PubSubResp, SessionExpiringResp, SessionResp,
    TopicMetadata, UnsubscribedResp,
};

use sluicegate_dialect::json_sessions::answer::{Outcome, shrunk, text};
use sluicegate_dialect::json_sessions::error::Error;

/// The text of an answer that is the same on every system; none for others, which are encoded where they are made, and
/// for control messages, which are protobuf in every codec.
pub(in crate::session) fn encode(answer: &PubSubResp) -> Option<Bytes> {
    let body = match answer.resp.as_ref()? {
        Resp::ErrorResp(error) => Body::Error { error: Error::of_command(error) },
        Resp::PongResp(PongResp { state }) => {
            Body::Pong { pong: Pong { state: std::str::from_utf8(state).unwrap_or_default() } }
        }
        Resp::SessionResp(SessionResp { max_message_bytes, expires_in_ms }) => {
            let (max_message_bytes, expires_in_ms) = (*max_message_bytes, *expires_in_ms);
            Body::Session { session: Limits { max_message_bytes, expires_in_ms } }
        }
        Resp::AuthResp(AuthResp { expires_in_ms }) => {
            Body::Auth { auth: Expiry { expires_in_ms: *expires_in_ms } }
        }
        Resp::SessionExpiringResp(SessionExpiringResp { expires_in_ms }) => {
            Body::Expiring { expiring: Expiry { expires_in_ms: Some(*expires_in_ms) } }
        }
        Resp::KafkaListOffsetResp(KafkaListOffsetResp { offset }) => Body::Offset { offset: *offset },
        Resp::UnsubscribedResp(UnsubscribedResp {}) => Body::Unsubscribed { unsubscribed: Empty {} },
        _ => return None,
    };
    Some(text(answer.sequence, &body))
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
    let described = match error {
        Some(error) => Outcome::Failed { error: Error::of_result(error) },
        None => Outcome::Done(Partitions { partitions }),
    };
    let topic = Topic { name, described };
    // Cannot fail: all names are strings.
    shrunk(serde_json::to_vec(&topic).unwrap_or_default())
}

#[derive(Serialize)]
#[serde(untagged)]
enum Body<'a> {
    Error { error: Error<'a> },
    Pong { pong: Pong<'a> },
    Session { session: Limits },
    Auth { auth: Expiry },
    Expiring { expiring: Expiry },
    Offset { offset: i64 },
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
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in_ms: Option<u64>,
}

#[derive(Serialize)]
struct Expiry {
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in_ms: Option<u64>,
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

fn partition(described: &PartitionMetadata) -> Partition<'_> {
    let PartitionMetadata { partition, leader, replicas, in_sync_replicas } = described;
    Partition { partition: *partition, leader: *leader, replicas, in_sync_replicas }
}

#[cfg(test)]
mod tests {
    use sluicegate_protocol::{Close, ControlResp, ErrorResp, Reason, control_resp};

    use super::*;

    #[track_caller]
    fn check(resp: Resp, want: &str) {
        let text = encode(&PubSubResp { sequence: 7, resp: Some(resp) }).unwrap();
        assert_eq!(String::from_utf8(text.into()).unwrap(), want);
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
            concat!(
                r#"{"id":7,"error":{"reason":"DENIED","message":"\"m\"","retriable":true,"code":1,"#,
                r#""retry_after_ms":1000,"unknown_outcome":true,"earliest_offset":0,"latest_offset":9}}"#,
            ),
        );
    }

    #[test]
    fn each_answer_has_its_members() {
        check(Resp::PongResp(PongResp { state: "\0é".into() }), r#"{"id":7,"pong":{"state":"\u0000é"}}"#);
        check(
            Resp::SessionResp(SessionResp { max_message_bytes: u32::MAX, ..Default::default() }),
            r#"{"id":7,"session":{"max_message_bytes":4294967295}}"#,
        );
        check(
            Resp::SessionResp(SessionResp { max_message_bytes: 1024, expires_in_ms: Some(5) }),
            r#"{"id":7,"session":{"max_message_bytes":1024,"expires_in_ms":5}}"#,
        );
        check(Resp::AuthResp(AuthResp { expires_in_ms: Some(5) }), r#"{"id":7,"auth":{"expires_in_ms":5}}"#);
        check(Resp::AuthResp(AuthResp { expires_in_ms: None }), r#"{"id":7,"auth":{}}"#);
        check(
            Resp::SessionExpiringResp(SessionExpiringResp { expires_in_ms: 5 }),
            r#"{"id":7,"expiring":{"expires_in_ms":5}}"#,
        );
        check(Resp::KafkaListOffsetResp(KafkaListOffsetResp { offset: -1 }), r#"{"id":7,"offset":-1}"#);
        check(Resp::UnsubscribedResp(UnsubscribedResp {}), r#"{"id":7,"unsubscribed":{}}"#);
        let failed = r#"{"error":{"reason":"DENIED","message":"\"m\"","retriable":false}}"#;
        let partition =
            PartitionMetadata { partition: 0, leader: -1, replicas: vec![1, 2], in_sync_replicas: vec![] };
        let described = TopicMetadata { name: "a".into(), partitions: vec![partition], error: None };
        let denied = TopicMetadata { name: "b".into(), partitions: Vec::new(), error: Some(error()) };
        let topics = [described, denied].map(|described| topic(&described));
        let failed = &failed[1..];
        let described = concat!(
            r#"{"name":"a","partitions":[{"partition":0,"leader":-1,"replicas":[1,2],"#,
            r#""in_sync_replicas":[]}]}"#,
        );
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
    fn control_messages_have_no_text() {
        let close = control_resp::Control::Close(Close::default());
        let control = Resp::Control(ControlResp { control: Some(close) });
        assert_eq!(encode(&PubSubResp { sequence: 0, resp: Some(control) }), None);
    }
}

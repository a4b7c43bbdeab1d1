//! A few example topics, as a bridge would serve them.
//!
//! | topic     | partition | offsets  | |
//! |-----------|-----------|----------|-|
//! | `orders`  | 0         | 0 to 4   | key `kN`, value `vN`, written at N seconds after 1970 |
//! |           | 1         | 100, 101 | the same |
//! |           | 2         | none     | |
//! | `bytes`   | 0         | 0        | key and value that are not UTF-8 |
//! | `markers` | 0         | 0, 1     | and two transaction markers: the log end is 4 |
//! | `behind`  | 0         | 0, 1     | the log end is 4, but no answer reaches it |
//! | `growing` | 0         | 0, 1     | a new one whenever the log end is fetched |
//! | `open`    | 0         | 0 to 4   | a transaction is open from offset 3 on |
//! | `endless` | 0         | all      | 1,000 messages of 1 KiB in each answer |
//! | `moving`  | 0         | 0        | the first fetch fails with a retriable error |

use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    CmdKafkaFetch, ErrorResp, Isolation, KafkaFetchResp, KafkaListOffsetResp, KafkaMessage, PongResp,
};

use crate::server::{self, Session};

pub(crate) async fn serve() -> String {
    server::serve(async |session: Session| play(session, |_| ()).await).await
}

/// Answers until the program disconnects, and calls `asked` with the offset of each fetch.
pub(crate) async fn play(mut session: Session, asked: impl Fn(i64)) {
    let mut fetches = 0;
    while let Some((sequence, request)) = session.request().await {
        let answer = match request {
            Req::CmdPing(ping) => Resp::PongResp(PongResp { state: ping.state }),
            Req::CmdKafkaListOffset(list) => match log(&list.topic, list.partition) {
                Some(log) => list_offset(&log, list.timestamp),
                None => unknown("list offset", &list.topic, list.partition),
            },
            Req::CmdKafkaFetch(fetch) => {
                fetches += 1;
                asked(fetch.offset);
                match log(&fetch.topic, fetch.partition) {
                    Some(_) if fetch.topic == "moving" && fetches == 1 => {
                        let name = "NOT_LEADER_OR_FOLLOWER";
                        Resp::ErrorResp(error("fetch message", &fetch.topic, fetch.partition, 6, name))
                    }
                    Some(log) => read(&log, &fetch),
                    None => unknown("fetch message", &fetch.topic, fetch.partition),
                }
            }
            other => panic!("unexpected command: {other:?}"),
        };
        session.answer(sequence, answer).await;
    }
}

struct Log {
    messages: Vec<KafkaMessage>,
    start: i64,
    end: i64,
}

fn log(topic: &str, partition: i32) -> Option<Log> {
    let (start, count, end) = match (topic, partition) {
        ("orders" | "open", 0) => (0, 5, 5),
        ("orders", 1) => (100, 2, 102),
        ("orders", 2) => (0, 0, 0),
        ("bytes" | "moving", 0) => (0, 1, 1),
        ("markers" | "behind", 0) => (0, 2, 4),
        ("growing", 0) => (0, 2, 2),
        ("endless", 0) => (0, 0, i64::MAX),
        _ => return None,
    };
    let mut messages: Vec<_> = (start..start + count).map(message).collect();
    if topic == "bytes" {
        messages[0].key = Some(vec![0xFF].into());
        messages[0].value = Some(vec![0, 0xFE].into());
    }
    Some(Log { messages, start, end })
}

fn message(offset: i64) -> KafkaMessage {
    KafkaMessage {
        offset,
        timestamp: offset * 1000,
        key: Some(format!("k{offset}").into()),
        value: Some(format!("v{offset}").into()),
        headers: Vec::new(),
        ..Default::default()
    }
}

fn list_offset(log: &Log, timestamp: i64) -> Resp {
    let offset = match timestamp {
        -1 => log.end,
        -2 => log.start,
        time => log.messages.iter().find(|message| message.timestamp >= time).map_or(-1, |m| m.offset),
    };
    Resp::KafkaListOffsetResp(KafkaListOffsetResp { offset })
}

/// At most three messages an answer, so that a read takes several.
fn read(log: &Log, fetch: &CmdKafkaFetch) -> Resp {
    let (topic, offset) = (fetch.topic.as_str(), fetch.offset);
    if topic == "endless" {
        return endless(offset);
    }
    if topic == "growing" && offset >= log.end {
        return Resp::KafkaFetchResp(KafkaFetchResp {
            messages: vec![message(offset)],
            next_offset: 0,
            ..Default::default()
        });
    }
    if offset < log.start || offset > log.end {
        return Resp::ErrorResp(ErrorResp {
            earliest_offset: Some(log.start),
            latest_offset: Some(log.end),
            ..error("fetch message", topic, 0, 1, "OFFSET_OUT_OF_RANGE")
        });
    }
    // The other topics are as if on a server that does not know isolation levels.
    let last_stable_offset = (topic == "open").then_some(3);
    let end = match fetch.isolation() {
        Isolation::ReadCommitted => last_stable_offset.unwrap_or(log.end),
        Isolation::ReadUncommitted => log.end,
    };
    let readable = log.messages.iter().filter(|message| (offset..end).contains(&message.offset));
    let messages: Vec<_> = readable.take(3).cloned().collect();
    let reads_on = messages.is_empty() && topic == "markers";
    let next_offset = if reads_on { (offset + 1).min(log.end) } else { 0 };
    Resp::KafkaFetchResp(KafkaFetchResp { messages, next_offset, last_stable_offset, ..Default::default() })
}

/// An answer of 1 MiB.
pub(crate) fn endless(offset: i64) -> Resp {
    let value = bytes::Bytes::from(vec![b'x'; 1024]);
    let messages =
        (offset..offset + 1000).map(|offset| KafkaMessage { value: Some(value.clone()), ..message(offset) });
    Resp::KafkaFetchResp(KafkaFetchResp {
        messages: messages.collect(),
        next_offset: 0,
        ..Default::default()
    })
}

fn unknown(what: &str, topic: &str, partition: i32) -> Resp {
    Resp::ErrorResp(error(what, topic, partition, 3, "UNKNOWN_TOPIC_OR_PARTITION"))
}

fn error(what: &str, topic: &str, partition: i32, code: i32, name: &str) -> ErrorResp {
    let message = format!("failed to {what}, topic: {topic}, partition: {partition}, err: {name}");
    ErrorResp { code, message, retriable: code == 6, ..Default::default() }
}

//! A few example topics, as a bridge would serve them.
//!
//! | topic     | partition | offsets  | |
//! |-----------|-----------|----------|-|
//! | `orders`  | 0         | 0 to 4   | key `kN`, value `vN`, written at N seconds after 1970 |
//! |           | 1         | 100, 101 | the same |
//! |           | 2         | none     | |
//! | `bytes`   | 0         | 0        | |
//! | `markers` | 0         | 0, 1     | and two transaction markers: the log end is 4 |
//! | `behind`  | 0         | 0, 1     | the log end is 4, but no answer reaches it |
//! | `growing` | 0         | 0, 1     | a new one whenever the log end is fetched |
//! |           | 1         | none     | the log end is 7 |
//! | `open`    | 0         | 0 to 4   | a transaction is open from offset 3 on |
//! | `endless` | 0         | all      | 1,000 messages of 1 KiB in each answer |
//! | `moving`  | 0         | 0        | the first fetch fails with a retriable error |
//! | `avro`    | 0         | 0        | key and value have a schema, and are decoded for those who ask |

use serde_json::Value;
use sluicegate_protocol::kafka_source::From;
use sluicegate_protocol::kafka_subscription_event::{CaughtUp, Event, Retrying};
use sluicegate_protocol::{
    CmdKafkaFetch, CmdKafkaListOffset, CmdKafkaListOffsets, CmdKafkaMetadata, KafkaDeliveryResp,
    KafkaFetchResp, KafkaListOffsetResp, KafkaMetadataResp, KafkaSubscriptionEvent, PartitionMetadata,
    Schema, TopicMetadata,
};

use super::*;

pub(crate) async fn serve() -> String {
    server::serve(|session| play(session, false)).await
}

/// Serves the same without subscriptions and the commands for many partitions.
pub(crate) async fn serve_older() -> String {
    server::serve(|session| play(session, true)).await
}

/// Answers until the program disconnects.
async fn play(mut session: Session, is_older: bool) {
    let mut fetches = 0;
    while let Some((sequence, request)) = session.request().await {
        let answers = match request {
            Req::CmdKafkaSubscribe(_) | Req::CmdKafkaListOffsets(_) | Req::CmdKafkaMetadata(_)
                if is_older =>
            {
                vec![server::failed("unknown command")]
            }
            Req::CmdKafkaSubscribe(command) => {
                subscription(&command).unwrap_or_else(|error| vec![Resp::ErrorResp(error)])
            }
            Req::CmdUnsubscribe(_) | Req::CmdCredit(_) => Vec::new(),
            request => vec![answer(request, &mut fetches).unwrap_or_else(Resp::ErrorResp)],
        };
        for answer in answers {
            session.answer(sequence, answer).await;
        }
    }
}

fn answer(request: Req, fetches: &mut i32) -> Result<Resp, ErrorResp> {
    Ok(match request {
        Req::CmdPing(ping) => Resp::PongResp(PongResp { state: ping.state }),
        Req::CmdKafkaListOffset(list) => {
            let log = existing("list offset", &list.topic, list.partition)?;
            let offset = list_offset(&log, list.timestamp, log.end);
            Resp::KafkaListOffsetResp(KafkaListOffsetResp { offset })
        }
        Req::CmdKafkaFetch(fetch) => {
            *fetches += 1;
            if fetch.topic == "moving" && *fetches == 1 {
                return Err(error("fetch message", "moving", fetch.partition, 6, "NOT_LEADER_OR_FOLLOWER"));
            }
            let log = existing("fetch message", &fetch.topic, fetch.partition)?;
            Resp::KafkaFetchResp(read(&log, &fetch)?)
        }
        Req::CmdKafkaListOffsets(list) => Resp::KafkaListOffsetsResp(list_offsets(&list)),
        Req::CmdKafkaMetadata(metadata) => Resp::KafkaMetadataResp(describe(&metadata)),
        other => panic!("unexpected command: {other:?}"),
    })
}

fn list_offsets(command: &CmdKafkaListOffsets) -> KafkaListOffsetsResp {
    let result = |list: &CmdKafkaListOffset| match log(&list.topic, list.partition) {
        Some(log) => {
            let end = stable_end(&list.topic, &log, command.isolation());
            ListedOffset { offset: list_offset(&log, list.timestamp, end), timestamp: -1, error: None }
        }
        None => ListedOffset { error: Some(bare_unknown()), ..Default::default() },
    };
    KafkaListOffsetsResp { results: command.offsets.iter().map(result).collect() }
}

fn describe(command: &CmdKafkaMetadata) -> KafkaMetadataResp {
    let described = |name: &str| {
        let partitions = (0..).take_while(|partition| log(name, *partition).is_some());
        let partitions: Vec<_> = partitions
            .map(|partition| PartitionMetadata { partition, leader: 1, ..Default::default() })
            .collect();
        let error = partitions.is_empty().then(bare_unknown);
        TopicMetadata { name: name.to_owned(), partitions, error }
    };
    let topics = match &command.topics[..] {
        // Not all of them.
        [] => ["orders", "open", "bytes"].map(described).into(),
        names => names.iter().map(|name| described(name)).collect(),
    };
    KafkaMetadataResp { topics, more: false }
}

struct Log {
    messages: Vec<KafkaMessage>,
    start: i64,
    end: i64,
}

fn log(topic: &str, partition: i32) -> Option<Log> {
    let (start, count, end) = match (topic, partition) {
        ("orders" | "open", 0) => (0, 5, 5),
        ("growing", 1) => (7, 0, 7),
        ("orders", 1) => (100, 2, 102),
        ("orders", 2) => (0, 0, 0),
        ("bytes" | "moving" | "avro", 0) => (0, 1, 1),
        ("markers" | "behind", 0) => (0, 2, 4),
        ("growing", 0) => (0, 2, 2),
        ("endless", 0) => (0, 0, i64::MAX),
        _ => return None,
    };
    Some(Log { messages: (start..start + count).map(message).collect(), start, end })
}

/// The log, or the error of a command that does this with it.
fn existing(what: &str, topic: &str, partition: i32) -> Result<Log, ErrorResp> {
    log(topic, partition).ok_or_else(|| error(what, topic, partition, 3, UNKNOWN))
}

pub(crate) fn message(offset: i64) -> KafkaMessage {
    KafkaMessage {
        offset,
        timestamp: offset * 1000,
        key: Some(format!("k{offset}").into()),
        value: Some(format!("v{offset}").into()),
        ..Default::default()
    }
}

fn list_offset(log: &Log, timestamp: i64, end: i64) -> i64 {
    match timestamp {
        -1 => end,
        -2 => log.start,
        -3 => log.messages.last().map_or(-1, |last| last.offset),
        time => log.messages.iter().find(|message| message.timestamp >= time).map_or(-1, |m| m.offset),
    }
}

/// Where the log ends at this level.
fn stable_end(topic: &str, log: &Log, isolation: Isolation) -> i64 {
    if isolation == Isolation::ReadCommitted && topic == "open" { 3 } else { log.end }
}

/// At most three messages an answer, so that a read takes several.
fn read(log: &Log, fetch: &CmdKafkaFetch) -> Result<KafkaFetchResp, ErrorResp> {
    let (topic, offset) = (fetch.topic.as_str(), fetch.offset);
    if topic == "endless" {
        return Ok(endless(offset));
    }
    if topic == "growing" && fetch.partition == 0 && offset >= log.end {
        let high_watermark = Some(offset + 1);
        return Ok(KafkaFetchResp { messages: vec![message(offset)], high_watermark, ..Default::default() });
    }
    if offset < log.start || offset > log.end {
        return Err(ErrorResp {
            earliest_offset: Some(log.start),
            latest_offset: Some(log.end),
            ..error("fetch message", topic, 0, 1, "OFFSET_OUT_OF_RANGE")
        });
    }
    let last_stable_offset = Some(stable_end(topic, log, Isolation::ReadCommitted));
    let end = stable_end(topic, log, fetch.isolation());
    let readable = log.messages.iter().filter(|message| (offset..end).contains(&message.offset));
    let given = readable.take(3).map(|message| given(topic, message.clone(), fetch.decode));
    let messages: Vec<_> = given.filter(|message| has_parts(message, &fetch.filters)).collect();
    let reads_on = messages.is_empty() && topic == "markers";
    let next_offset = match () {
        () if reads_on => (offset + 1).min(log.end),
        () if messages.is_empty() && !fetch.filters.is_empty() => end,
        () => 0,
    };
    let high_watermark = Some(log.end);
    Ok(KafkaFetchResp { messages, next_offset, high_watermark, last_stable_offset, ..Default::default() })
}

/// A message as the bridge gives it.
pub(crate) fn given(topic: &str, message: KafkaMessage, decode: bool) -> KafkaMessage {
    let schema = |id| Some(Box::new(Schema { id, ..Default::default() }));
    match (topic, decode) {
        ("avro", true) => KafkaMessage {
            key_schema: schema(8),
            key_json: "[1]".into(),
            value: Some(r#"{"id":1}"#.into()),
            value_schema: schema(7),
            ..message
        },
        _ => message,
    }
}

/// Whether the value has what filters ask for.
fn has_parts(message: &KafkaMessage, filters: &[RecordFilter]) -> bool {
    let value = serde_json::from_slice(message.value.as_deref().unwrap_or_default()).unwrap_or(Value::Null);
    filters.iter().all(|filter| value.pointer(filter.pointer()).is_some())
}

/// An answer of 1 MiB.
pub(crate) fn endless(offset: i64) -> KafkaFetchResp {
    let value = bytes::Bytes::from(vec![b'x'; 1024]);
    let messages =
        (offset..offset + 1000).map(|offset| KafkaMessage { value: Some(value.clone()), ..message(offset) });
    KafkaFetchResp { messages: messages.collect(), next_offset: 0, ..Default::default() }
}

/// The error of one result of many.
fn bare_unknown() -> ErrorResp {
    ErrorResp { code: 3, message: UNKNOWN.into(), ..Default::default() }
}

fn error(what: &str, topic: &str, partition: i32, code: i32, name: &str) -> ErrorResp {
    let message = format!("failed to {what}, topic: {topic}, partition: {partition}, err: {name}");
    ErrorResp { code, message, retriable: code == 6, ..Default::default() }
}

/// The answers to a subscription: all of each topic up to its end, one partition after the other, and three more messages of `growing`.
fn subscription(command: &CmdKafkaSubscribe) -> Result<Vec<Resp>, ErrorResp> {
    let mut topics = Vec::new();
    let mut told = Vec::new();
    for source in &command.sources {
        let begins = begins(source)?;
        let topic = source.topic.clone();
        told.extend(begins.iter().flat_map(|begin| updates(&topic, *begin, command)));
        topics.push(SubscribedTopic { topic, topic_id: "id".into(), partitions: begins });
    }
    told.insert(0, Resp::KafkaSubscribedResp(KafkaSubscribedResp { topics, snapshot: false }));
    Ok(told)
}

fn begins(source: &KafkaSource) -> Result<Vec<PartitionNext>, ErrorResp> {
    let KafkaSource { topic, partitions, next, from, .. } = source;
    let partitions = match &partitions[..] {
        [] => (0..).take_while(|partition| log(topic, *partition).is_some()).collect(),
        named => named.to_vec(),
    };
    let begin = |partition: i32| {
        let log = existing("subscribe", topic, partition)?;
        let next = next.iter().find(|next| next.partition == partition);
        let offset = match (next, from) {
            (Some(next), _) => next.offset,
            (None, Some(From::Offset(before @ ..0))) => (log.end + before).max(log.start),
            (None, Some(From::Offset(offset))) => *offset,
            (None, Some(From::Timestamp(time))) => list_offset(&log, *time, log.end),
            (None, None) => log.end,
        };
        Ok(PartitionNext { partition, offset })
    };
    partitions.into_iter().map(begin).collect()
}

fn updates(
    topic: &str,
    PartitionNext { partition, offset }: PartitionNext,
    CmdKafkaSubscribe { filters, decode, .. }: &CmdKafkaSubscribe,
) -> Vec<Resp> {
    let Some(log) = log(topic, partition) else { return Vec::new() };
    let mut told = Vec::new();
    if topic == "moving" {
        let error = Some(error("deliver messages", topic, partition, 6, "NOT_LEADER_OR_FOLLOWER"));
        told.push(event(Event::Retrying(Retrying { topic: topic.into(), partition, error, since: 0 })));
    }
    let unread = log.messages.into_iter().filter(|message| message.offset >= offset);
    let given = unread.map(|message| given(topic, message, *decode));
    let unread: Vec<_> = given.filter(|message| has_parts(message, filters)).collect();
    if !unread.is_empty() {
        told.push(delivery(topic, partition, unread, log.end));
    }
    told.push(event(Event::CaughtUp(CaughtUp {
        topic: topic.into(),
        partition,
        next_offset: log.end,
        open_transaction: None,
    })));
    if (topic, partition) == ("growing", 0) {
        told.push(delivery(topic, partition, (2..5).map(message).collect(), 5));
    }
    told
}

pub(crate) fn delivery(topic: &str, partition: i32, messages: Vec<KafkaMessage>, end: i64) -> Resp {
    let next_offset = messages.last().map_or(end, |last| last.offset + 1);
    let topic = topic.to_owned();
    Resp::KafkaDeliveryResp(KafkaDeliveryResp {
        messages,
        topic,
        partition,
        next_offset,
        high_watermark: end,
    })
}

pub(crate) fn event(event: Event) -> Resp {
    Resp::KafkaSubscriptionEvent(KafkaSubscriptionEvent { event: Some(event) })
}

const UNKNOWN: &str = "UNKNOWN_TOPIC_OR_PARTITION";

//! A client of APISIX's own protocol, without our extensions: its schema holds everything that an answer means.

mod unextended;

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message as _;
use sluicegate_protocol as extended;
use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::raw::{BINARY, Raw, masked};
use sluicegate_stack::way::Way;
use sluicegate_tests::in_ways;

use self::unextended::{
    CmdEmpty, CmdKafkaFetch, CmdKafkaListOffset, ErrorResp, KafkaFetchResp, KafkaListOffsetResp,
    KafkaMessage, PubSubReq, PubSubResp, Req, Resp, State,
};
use crate::pool::standard;
use crate::sessions::is_alive;

in_ways! {
    [tunnel direct]
    client_without_the_extensions_notices_nothing
}

/// A request, and what its answer means.
struct Row {
    what: &'static str,
    /// Behind the sequence.
    request: Vec<u8>,
    want: Want,
}

enum Want {
    Answer(Resp),
    /// The code, which APISIX leaves at 0 where we give Kafka's, and the beginning of the message, which APISIX ends
    /// with what its Kafka client says.
    Error(i32, String),
}

/// One after the other, and then all at the same time.
async fn client_without_the_extensions_notices_nothing(way: Way) {
    let (kafka, stack) = standard(way).await;
    let rows = table(&topic(kafka).await);
    let mut client = Raw::open(stack.gateway()).await;
    let numbered = |(sequence, row): (i64, &Row)| {
        let sequence = PubSubReq { sequence, req: None };
        masked(BINARY, &[sequence.encode_to_vec(), row.request.clone()].concat())
    };
    let requests: Vec<Vec<u8>> = (1..).zip(&rows).map(numbered).collect();
    for ((sequence, row), request) in (1..).zip(&rows).zip(&requests) {
        // This one has no answer.
        client.write(masked(BINARY, &PubSubReq { sequence, req: None }.encode_to_vec())).await;
        client.write(request).await;
        let answer = answer(&mut client).await;
        assert_eq!(answer.sequence, sequence, "{}", row.what);
        row.check(answer);
    }
    client.write(requests.concat()).await;
    let mut answers = BTreeMap::new();
    for _ in &rows {
        let answer = answer(&mut client).await;
        answers.insert(answer.sequence, answer);
    }
    for (sequence, row) in (1..).zip(&rows) {
        row.check(answers.remove(&sequence).expect("an answer of each sequence"));
    }
    client.write(masked(BINARY, b"\xFF")).await;
    let wrong = Resp::Error(ErrorResp { code: 0, message: "wrong command".to_owned() });
    assert_eq!(answer(&mut client).await, PubSubResp { sequence: 0, resp: Some(wrong) });
    is_alive(&mut client, "behind all").await;
    assert!(!kafka.topics().unwrap().iter().any(|topic| topic == MISSING), "no request creates a topic");
}

impl Row {
    fn new(what: &'static str, req: Req, want: Resp) -> Self {
        Self { what, request: encoded(req), want: Want::Answer(want) }
    }

    fn error(what: &'static str, req: Req, code: i32, message: impl Into<String>) -> Self {
        Self { what, request: encoded(req), want: Want::Error(code, message.into()) }
    }

    fn check(&self, answer: PubSubResp) {
        let what = self.what;
        match (answer.resp.expect("content"), &self.want) {
            (Resp::Error(error), Want::Error(code, message)) => {
                assert_eq!(error.code, *code, "{what}: {error:?}");
                assert!(error.message.starts_with(message), "{what}: {error:?} instead of {message}");
            }
            (answer, Want::Answer(want)) => assert_eq!(&answer, want, "{what}"),
            (answer, Want::Error(code, message)) => panic!("{what}: {answer:?}, not {code} {message}"),
        }
    }
}

fn encoded(req: Req) -> Vec<u8> {
    PubSubReq { sequence: 0, req: Some(req) }.encode_to_vec()
}

/// The next answer as this client understands it, which is all that it means.
async fn answer(client: &mut Raw) -> PubSubResp {
    let frame = client.frame().await;
    assert_eq!(frame.first, BINARY, "{frame:?}");
    let answer = PubSubResp::decode(&*frame.payload).unwrap();
    let understood = extended::PubSubResp::decode(Bytes::from(answer.encode_to_vec())).unwrap();
    assert_eq!(understood, without_extensions(extended::PubSubResp::decode(&*frame.payload).unwrap()));
    answer
}

fn without_extensions(answer: extended::PubSubResp) -> extended::PubSubResp {
    use extended::pub_sub_resp::Resp;
    let plain = |message: extended::KafkaMessage| {
        let extended::KafkaMessage { offset, timestamp, key, value, .. } = message;
        // A field without presence is not sent if it is empty.
        let [key, value] = [key, value].map(|bytes| bytes.filter(|bytes| !bytes.is_empty()));
        extended::KafkaMessage { offset, timestamp, key, value, ..Default::default() }
    };
    let resp = answer.resp.map(|resp| match resp {
        Resp::ErrorResp(extended::ErrorResp { code, message, .. }) => {
            Resp::ErrorResp(extended::ErrorResp { code, message, ..Default::default() })
        }
        Resp::KafkaFetchResp(fetched) => Resp::KafkaFetchResp(extended::KafkaFetchResp {
            messages: fetched.messages.into_iter().map(plain).collect(),
            ..Default::default()
        }),
        Resp::PongResp(_) | Resp::KafkaListOffsetResp(_) => resp,
        extension => panic!("{extension:?} is no answer to a command of APISIX's"),
    });
    extended::PubSubResp { resp, ..answer }
}

/// Records 0 to 4, of which the first two are deleted. Each has headers, and keys and values can be null or empty.
async fn topic(kafka: &Kafka) -> String {
    let topic = kafka.topic("unextended", 1, &[("retention.ms", "-1")]).await.unwrap();
    let bytes = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec());
    let record = |(at, (key, value)): (i64, &(Option<&str>, Option<&str>))| Record {
        key: bytes(*key),
        value: bytes(*value),
        headers: vec![("name".to_owned(), bytes(Some("value")))],
        timestamp: Some(START + at * 10),
    };
    let records: Vec<Record> = (0..).zip(&RECORDS).map(record).collect();
    kafka.produce(&topic, 0, &records, Write::default()).await.unwrap();
    kafka.delete_records_before(&topic, 0, 2).await.unwrap();
    topic
}

const RECORDS: [(Option<&str>, Option<&str>); 5] =
    [(None, None), (None, None), (Some("key"), Some("value")), (None, Some("")), (Some(""), None)];
const START: i64 = 1_700_000_000_000;
const MISSING: &str = "missing-for-apisix";

fn table(topic: &str) -> Vec<Row> {
    let ping = |state: &[u8]| State { state: state.to_vec() };
    let list = |topic: &str, partition, timestamp| {
        Req::ListOffset(CmdKafkaListOffset { topic: topic.to_owned(), partition, timestamp })
    };
    let offset = |offset| Resp::Offset(KafkaListOffsetResp { offset });
    let fetch = |topic: &str, partition, offset| {
        Req::Fetch(CmdKafkaFetch { topic: topic.to_owned(), partition, offset })
    };
    let message = |offset: usize| {
        let bytes = |part: Option<&str>| part.unwrap_or_default().as_bytes().to_vec();
        let (key, value) = RECORDS[offset];
        let offset = i64::try_from(offset).unwrap();
        KafkaMessage { offset, timestamp: START + offset * 10, key: bytes(key), value: bytes(value) }
    };
    let from = |offset| Resp::Fetched(KafkaFetchResp { messages: (offset..5).map(message).collect() });
    let failed = |what: &str, topic: &str, partition: i32, name: &str| {
        format!("failed to {what}, topic: {topic}, partition: {partition}, err: {name}")
    };
    let no_topic = |what| {
        let sentence = format!("UNKNOWN_TOPIC_OR_PARTITION: topic {MISSING} does not exist, create it first");
        failed(what, MISSING, 0, &sentence)
    };
    let no_partition = |what| {
        let sentence = format!("UNKNOWN_TOPIC_OR_PARTITION: topic {topic} has no partition 7");
        failed(what, topic, 7, &sentence)
    };
    let beyond = failed("fetch message", topic, 0, "OFFSET_OUT_OF_RANGE");
    vec![
        Row::new("ping", Req::Ping(ping(b"state\0\xFF")), Resp::Pong(ping(b"state\0\xFF"))),
        Row::new("ping without a state", Req::Ping(ping(b"")), Resp::Pong(ping(b""))),
        Row::error("cmd_empty", Req::Empty(CmdEmpty {}), 0, "unknown command"),
        Row {
            what: "the next number that APISIX can use: 35",
            request: b"\x9A\x02\x00".to_vec(),
            want: Want::Error(0, "unknown command".to_owned()),
        },
        Row::new("the log start", list(topic, 0, -2), offset(2)),
        Row::new("the log end", list(topic, 0, -1), offset(5)),
        Row::new("a record's time", list(topic, 0, START + 30), offset(3)),
        Row::new("a time between records", list(topic, 0, START + 31), offset(4)),
        Row::new("a time after all records", list(topic, 0, START + 41), offset(-1)),
        Row::error("no such topic", list(MISSING, 0, -1), 3, no_topic("list offset")),
        Row::error("no such partition", list(topic, 7, -2), 3, no_partition("list offset")),
        Row::new("all records", fetch(topic, 0, 2), from(2)),
        Row::new("from within a batch", fetch(topic, 0, 4), from(4)),
        Row::new("the end", fetch(topic, 0, 5), from(5)),
        Row::error("behind the end", fetch(topic, 0, 6), 1, beyond.as_str()),
        Row::error("a deleted record", fetch(topic, 0, 0), 1, beyond.as_str()),
        Row::error("no such topic", fetch(MISSING, 0, 0), 3, no_topic("fetch message")),
        Row::error("no such partition", fetch(topic, 7, 0), 3, no_partition("fetch message")),
    ]
}

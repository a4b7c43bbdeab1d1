//! A client of APISIX's own protocol, without our extensions: its schema holds everything that an answer means.

mod unextended;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use sluicegate_protocol as extended;
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_way;
use sluicegate_tests::through_nginx;
use tokio_tungstenite::tungstenite::Message;

use self::unextended::{
    CmdEmpty, CmdKafkaFetch, CmdKafkaListOffset, ErrorResp, KafkaFetchResp, KafkaListOffsetResp,
    KafkaMessage, PubSubReq, PubSubResp, Req, Resp, State,
};
use crate::sessions::peer::Peer;
use crate::sessions::stacks::committed;

in_every_way! {
    client_without_the_extensions_notices_nothing
}

through_nginx! {
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
    let stack = committed(way).await;
    let rows = table(&topic(Kafka::shared().await.unwrap()).await);
    let mut peer = Peer::open(&stack).await;
    let numbered = |(sequence, row): (i64, &Row)| {
        let sequence = PubSubReq { sequence, req: None };
        [sequence.encode_to_vec(), row.request.clone()].concat()
    };
    let requests: Vec<Vec<u8>> = (1..).zip(&rows).map(numbered).collect();
    for ((sequence, row), request) in (1..).zip(&rows).zip(&requests) {
        // These have no answer.
        peer.send(PubSubReq { sequence, req: None }.encode_to_vec()).await;
        peer.send(Message::text("not a request")).await;
        peer.send(request.clone()).await;
        let answer = answer(&mut peer).await;
        assert_eq!(answer.sequence, sequence, "{}", row.what);
        row.check(answer);
    }
    peer.send_together(requests).await;
    let mut answers = BTreeMap::new();
    for _ in &rows {
        let answer = answer(&mut peer).await;
        answers.insert(answer.sequence, answer);
    }
    for (sequence, row) in (1..).zip(&rows) {
        row.check(answers.remove(&sequence).expect("an answer of each sequence"));
    }
    peer.send(b"\xFF".to_vec()).await;
    let wrong = Resp::Error(ErrorResp { code: 0, message: "wrong command".to_owned() });
    assert_eq!(answer(&mut peer).await, PubSubResp { sequence: 0, resp: Some(wrong) });
    peer.is_idle().await;
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
async fn answer(peer: &mut Peer) -> PubSubResp {
    let Message::Binary(bytes) = peer.next().await else { panic!("no answer") };
    let answer = PubSubResp::decode(bytes.clone()).unwrap();
    let understood = extended::PubSubResp::decode(Bytes::from(answer.encode_to_vec())).unwrap();
    assert_eq!(understood, without_extensions(extended::PubSubResp::decode(bytes).unwrap()));
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
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", kafka.bootstrap()).create().unwrap();
    for (offset, (key, value)) in (0..).zip(RECORDS) {
        let headers = OwnedHeaders::new().insert(Header { key: "name", value: Some("value") });
        let mut record = BaseRecord::to(&topic).partition(0).timestamp(START + offset * 10).headers(headers);
        (record.key, record.payload) = (key, value);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(Duration::from_secs(20)).unwrap();
    kafka.delete_records_before(&topic, 0, 2).await.unwrap();
    topic
}

const RECORDS: [(Option<&str>, Option<&str>); 5] =
    [(None, None), (None, None), (Some("key"), Some("value")), (None, Some("")), (Some(""), None)];
const START: i64 = 1_700_000_000_000;

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
    let missing = |what, topic, partition| failed(what, topic, partition, "UNKNOWN_TOPIC_OR_PARTITION");
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
        Row::error("no such topic", list("missing", 0, -1), 3, missing("list offset", "missing", 0)),
        Row::error("no such partition", list(topic, 7, -2), 3, missing("list offset", topic, 7)),
        Row::new("all records", fetch(topic, 0, 2), from(2)),
        Row::new("from within a batch", fetch(topic, 0, 4), from(4)),
        Row::new("the end", fetch(topic, 0, 5), from(5)),
        Row::error("behind the end", fetch(topic, 0, 6), 1, beyond.as_str()),
        Row::error("a deleted record", fetch(topic, 0, 0), 1, beyond.as_str()),
        Row::error("no such topic", fetch("missing", 0, 0), 3, missing("fetch message", "missing", 0)),
        Row::error("no such partition", fetch(topic, 7, 0), 3, missing("fetch message", topic, 7)),
    ]
}

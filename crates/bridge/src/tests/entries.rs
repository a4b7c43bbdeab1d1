//! Random rights and commands, through each way in, beside what `crates/rights` grants.

mod oracle;

use std::collections::BTreeSet;

use bytes::Bytes;
use http::{HeaderMap, Method};
use proptest::prelude::*;
use prost::Message;
use serde_json::{Value, json};
use sluicegate_backend::System;
use sluicegate_backend::command::SchemaChoice;
use sluicegate_delivery::drain::Drain;
use sluicegate_delivery::grant::Grant;
use sluicegate_delivery::testing::script::Script;
use sluicegate_dialect as dialect;
use sluicegate_dialect::http::resource::{Get, Post};
use sluicegate_protocol as wire;
use sluicegate_protocol::codec::Codec;
use sluicegate_protocol::http_route::Resource;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    CmdKafkaFetch, CmdKafkaListOffset, CmdKafkaListOffsets, CmdKafkaMetadata, CmdKafkaMultiFetch,
    CmdKafkaProduce, CmdKafkaSubscribe, CmdNatsFetch, CmdNatsListSequences, CmdNatsPublish, CmdNatsSubscribe,
    ErrorResp, HttpProduce, HttpRoute, KafkaSource, NatsSource, PartitionOffset, ProduceRecord, PubSubReq,
    PubSubResp, PublishMessage, Reason, StreamTime, grpc, metadata, schema_choice,
};
use sluicegate_telemetry::traces;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use self::oracle::{KEY, Rights};
use crate::endpoint::rights;
use crate::http::tests::{headers, rest, streamed, told};
use crate::session::{self, Overload, Transport};

/// The names of existing logs, and of one that is listed only.
const TOPICS: [&str; 5] = ["0", "00", "1", "1.5", "gone"];

/// A group of consumers.
const GROUP: &str = "1.5";

/// [`KEY`] in JSON.
const JSON_KEY: &str = "\"0-1\"";

/// A record of version 3 with this key.
const STREAMED: &str = r#"{"key":{"type":"STRING","data":"0-1"}}"#;

/// A command on some topics, in Protobuf and in JSON.
type Case = (Req, Value);

fn each<T>(topics: &[&str], value: impl Fn(String) -> T) -> Vec<T> {
    topics.iter().map(|topic| value((*topic).to_owned())).collect()
}

fn of_kafka(topics: &[&str]) -> Vec<Case> {
    let first = topics[0].to_owned();
    let log = |topic: String| CmdKafkaListOffset { topic, ..Default::default() };
    let partitions = each(topics, |topic| PartitionOffset { topic, ..Default::default() });
    let records = each(topics, |topic| ProduceRecord { topic, key: Some(KEY.into()), ..Default::default() });
    let sources = each(topics, |topic| KafkaSource { topic, ..Default::default() });
    let (offsets, names) = (each(topics, log), each(topics, |topic| topic));
    let commands = [
        Req::CmdKafkaFetch(CmdKafkaFetch { topic: first.clone(), ..Default::default() }),
        Req::CmdKafkaListOffset(log(first.clone())),
        Req::CmdKafkaMultiFetch(CmdKafkaMultiFetch { partitions, ..Default::default() }),
        Req::CmdKafkaListOffsets(CmdKafkaListOffsets { offsets, ..Default::default() }),
        Req::CmdKafkaMetadata(CmdKafkaMetadata { topics: names, ..Default::default() }),
        Req::CmdKafkaProduce(CmdKafkaProduce { records, ..CmdKafkaProduce::default() }),
        Req::CmdKafkaSubscribe(CmdKafkaSubscribe { sources: sources.clone(), ..Default::default() }),
        Req::CmdKafkaSubscribe(CmdKafkaSubscribe {
            sources,
            group: Some(GROUP.into()),
            ..Default::default()
        }),
    ];
    let place = |topic: String| json!({"topic": topic, "partition": 0, "offset": 0});
    let time = |topic: String| json!({"topic": topic, "partition": 0, "timestamp": 0});
    let in_json = [
        json!({"fetch": place(first.clone())}),
        json!({"list_offset": time(first)}),
        json!({"multi_fetch": {"partitions": each(topics, place)}}),
        json!({"list_offsets": {"offsets": each(topics, time)}}),
        json!({"metadata": {"topics": topics}}),
        json!({"produce": {"records": each(topics, |topic| json!({"topic": topic, "key": KEY, "value": 1}))}}),
        json!({"subscribe": {"sources": each(topics, |topic| json!({"topic": topic}))}}),
        json!({"subscribe": {"sources": each(topics, |topic| json!({"topic": topic})), "group": GROUP}}),
    ];
    commands.into_iter().zip(in_json).collect()
}

fn of_nats(streams: &[&str]) -> Vec<Case> {
    let first = streams[0].to_owned();
    let times = each(streams, |stream| StreamTime { stream, timestamp: 0 });
    let messages =
        each(streams, |stream| PublishMessage { stream, subject: KEY.into(), ..Default::default() });
    let sources = each(streams, |stream| NatsSource { stream, ..Default::default() });
    let commands = [
        Req::CmdNatsFetch(CmdNatsFetch { stream: first.clone(), ..Default::default() }),
        Req::CmdNatsListSequences(CmdNatsListSequences { times }),
        Req::CmdNatsPublish(CmdNatsPublish { messages, ..CmdNatsPublish::default() }),
        Req::CmdNatsSubscribe(CmdNatsSubscribe { sources, ..Default::default() }),
    ];
    let message = |stream: String| json!({"stream": stream, "subject": KEY, "data": 1});
    let in_json = [
        json!({"fetch": {"stream": first, "sequence": 0}}),
        json!({"list_sequences": {"times": each(streams, |stream| json!({"stream": stream, "timestamp": 0}))}}),
        json!({"publish": {"messages": each(streams, message)}}),
        json!({"subscribe": {"sources": each(streams, |stream| json!({"stream": stream}))}}),
    ];
    commands.into_iter().zip(in_json).collect()
}

/// The first answer of a session.
async fn answer(grant: Grant, codec: Codec, message: &[u8]) -> Bytes {
    let limits = session::tests::limits();
    let (mut client, server) = tokio::io::duplex(1 << 20);
    let transport = Transport::stream(server, Overload::StopReading);
    let session = async { session::run(transport, codec, grant.into(), &limits, Drain::default()).await };
    let session = traces::current().scope(session);
    let ask = async {
        let head = grpc::head(u32::try_from(message.len()).unwrap());
        client.write_all(&[&head, message].concat()).await.unwrap();
        let mut head = [0; grpc::HEAD_LEN];
        client.read_exact(&mut head).await.unwrap();
        let mut answer = vec![0; usize::try_from(grpc::message_len(head).unwrap()).unwrap()];
        client.read_exact(&mut answer).await.unwrap();
        Bytes::from(answer)
    };
    tokio::select! {
        answer = ask => answer,
        end = session => panic!("{end:?}"),
    }
}

/// Whether an answer denies each of `topics`, with the identifier that finds the denial in the logs.
fn denied_in_protobuf(answer: &[u8], topics: &[&str]) -> Vec<bool> {
    let is_denied = |error: &ErrorResp| error.reason() == Reason::Denied && !error.trace_id.is_empty();
    let denied = |error: &Option<ErrorResp>| error.as_ref().is_some_and(is_denied);
    let errors: Vec<_> = match PubSubResp::decode(answer).unwrap().resp.unwrap() {
        Resp::ErrorResp(error) => vec![Some(error); topics.len()],
        Resp::KafkaMultiFetchResp(resp) => resp.results.into_iter().map(|result| result.error).collect(),
        Resp::KafkaListOffsetsResp(resp) => resp.results.into_iter().map(|result| result.error).collect(),
        Resp::KafkaProduceResp(resp) => resp.results.into_iter().map(|result| result.error).collect(),
        Resp::NatsListSequencesResp(resp) => resp.results.into_iter().map(|result| result.error).collect(),
        Resp::NatsPublishResp(resp) => resp.results.into_iter().map(|result| result.error).collect(),
        Resp::KafkaMetadataResp(resp) => {
            let of = |topic: &&str| resp.topics.iter().find(|described| described.name == **topic).unwrap();
            topics.iter().map(|topic| of(topic).error.clone()).collect()
        }
        _ => vec![None; topics.len()],
    };
    errors.iter().map(denied).collect()
}

/// Whether each part of an answer with records has some. None: it is another answer.
fn have_records(answer: &[u8]) -> Option<Vec<bool>> {
    match PubSubResp::decode(answer).unwrap().resp.unwrap() {
        Resp::KafkaFetchResp(resp) => Some(vec![!resp.messages.is_empty()]),
        Resp::NatsFetchResp(resp) => Some(vec![!resp.messages.is_empty()]),
        Resp::KafkaMultiFetchResp(resp) => {
            let fetched = resp.results.into_iter().map(|result| result.fetched.unwrap_or_default());
            Some(fetched.map(|fetched| !fetched.messages.is_empty()).collect())
        }
        _ => None,
    }
}

/// The same in JSON.
fn have_records_in_json(answer: &[u8]) -> Option<Vec<bool>> {
    let answer: Value = serde_json::from_slice(answer).unwrap();
    let has = |value: &Value| value["messages"].as_array().is_some_and(|messages| !messages.is_empty());
    match (answer["messages"].is_array(), answer["results"].as_array()) {
        (true, _) => Some(vec![has(&answer)]),
        (false, Some(results)) => Some(results.iter().map(has).collect()),
        (false, None) => None,
    }
}

fn denied_in_json(answer: &[u8], topics: &[&str]) -> Vec<bool> {
    let answer: Value = serde_json::from_slice(answer).unwrap();
    let is_denied = |error: &Value| error["reason"] == "DENIED" && error["trace_id"].is_string();
    let denied = |value: &Value| is_denied(&value["error"]);
    match (answer["results"].as_array(), answer["topics"].as_array()) {
        (Some(results), _) => results.iter().map(denied).collect(),
        (_, Some(described)) => {
            let of = |topic: &&str| described.iter().find(|described| described["name"] == **topic).unwrap();
            topics.iter().map(|topic| denied(of(topic))).collect()
        }
        _ => vec![denied(&answer); topics.len()],
    }
}

async fn check_sessions(rights: &Rights, system: System, topics: &[&str]) {
    let cases = match system {
        System::Kafka => of_kafka(topics),
        System::Nats => of_nats(topics),
    };
    for (req, json) in cases {
        let (name, _) = json.as_object().unwrap().iter().next().unwrap();
        let is_one = matches!(&**name, "fetch" | "list_offset");
        let topics = if is_one { &topics[..1] } else { topics };
        let cannot_read = |topic: &&str| !rights.reads(topic);
        let want: Vec<bool> = match &**name {
            "produce" | "publish" => topics.iter().map(|topic| !rights.writes(topic, KEY)).collect(),
            // The rights of one topic decide for all.
            "subscribe" => {
                let group = json[name]["group"].as_str();
                let cannot_consume = group.is_some_and(|group| !rights.consumes(group));
                vec![cannot_consume || topics.iter().any(cannot_read); topics.len()]
            }
            _ => topics.iter().map(cannot_read).collect(),
        };
        let message = PubSubReq { sequence: 1, req: Some(req) }.encode_to_vec();
        let answered = answer(rights.grant(system).await, Codec::Protobuf, &message).await;
        let denied = denied_in_protobuf(&answered, topics);
        assert_eq!(denied, want, "{name} of {topics:?} on {system:?}: {rights:?}");
        let text = String::from_utf8_lossy(&answered);
        let other = if matches!(&**name, "produce" | "publish") { "may not read" } else { "may not write" };
        assert!(!text.contains(other), "{name} of {topics:?} on {system:?}: {text} {rights:?}");
        let has_records = |topic: &&str| rights.reads_records(topic) && *topic != "gone";
        let want_records: Vec<bool> = topics.iter().map(has_records).collect();
        if let Some(read) = have_records(&answered) {
            assert_eq!(read, want_records, "records of {topics:?} on {system:?}: {rights:?}");
        }
        let answered = answer(rights.grant(system).await, Codec::Json, json.to_string().as_bytes()).await;
        assert_eq!(denied_in_json(&answered, topics), want, "{json} on {system:?}: {rights:?}");
        if let ("fetch" | "multi_fetch", Some(read)) = (&**name, have_records_in_json(&answered)) {
            assert_eq!(read, want_records, "records of {json} on {system:?}: {rights:?}");
        }
    }
}

/// Each row of the table of resources, and the list of topics.
async fn check_http(rights: &Rights, system: System, topic: &str) {
    let ask = async |method, path: &str, body| {
        let lines = [("content-type", "application/json"), ("accept", "application/json, text/event-stream")];
        let grant = rights.grant(system).await;
        told(crate::http::ask(&grant, &rest(path), method, &headers(&lines), body).await)
    };
    let (key, body) = match system {
        System::Kafka => (JSON_KEY, r#"{"records":[{"key":"0-1","value":1}]}"#),
        System::Nats => (KEY, r#"{"messages":[{"subject":"0-1","data":1}]}"#),
    };
    for row in dialect::of(system).words().resources.rows {
        let path = ["{topic}", "{stream}"]
            .into_iter()
            .fold(row.path.to_owned(), |path, name| path.replace(name, topic));
        let path = path
            .replace("{cluster}", "test")
            .replace("{partition}", "0")
            .replace("{key}", KEY)
            .replace("{subject}", KEY);
        for method in [Method::GET, Method::HEAD].into_iter().filter(|_| row.get.is_some()) {
            let (status, text) = ask(method, &path, "").await;
            let found: Option<Value> = serde_json::from_str(&text).ok().filter(|_| status == 200);
            match row.get {
                Some(Get::List) => {
                    let all = ["a", "b.1", "b.2", "gone"].into_iter().filter(|name| rights.reads(name));
                    let want = rights.can_read().then(|| json!(all.collect::<Vec<_>>()));
                    assert_eq!((status == 403, found), (want.is_none(), want), "{path}: {text} {rights:?}");
                    continue;
                }
                Some(Get::Records | Get::TopicRecords) if found.is_some() => {
                    let read =
                        found.is_some_and(|found| found.as_array().is_some_and(|found| !found.is_empty()));
                    assert_eq!(read, rights.reads_records(topic), "{path}: {text} {rights:?}");
                }
                _ => {}
            }
            let is_denied = match row.get {
                // The route has no tables, and describes nothing.
                Some(Get::Key | Get::Brokers) => true,
                Some(Get::Clusters | Get::Cluster) => false,
                _ => !rights.reads(topic),
            };
            assert_eq!(status == 403, is_denied, "{path}: {text} {rights:?}");
        }
        if row.posts == Some(Post::Stream) {
            let grant = rights.grant(system).await;
            let (lines, body) = (headers(&[("content-type", "application/json")]), STREAMED);
            let response = crate::http::ask(&grant, &rest(&path), Method::POST, &lines, body).await;
            let (status, lines) = streamed(response).await;
            let is_denied = status == 403 || lines.iter().any(|line| line.contains("\"error_code\":403,"));
            assert_eq!(is_denied, !rights.writes(topic, KEY), "{path}: {status} {lines:?} {rights:?}");
        } else if row.posts.is_some() {
            let (status, text) = ask(Method::POST, &path, body).await;
            assert_eq!(status == 403, !rights.writes(topic, key), "{path}: {text} {rights:?}");
        }
    }
    let produce = HttpProduce { topic: topic.into(), key: Some(KEY.into()), ..Default::default() };
    let route = HttpRoute { resource: Some(Resource::Produce(produce)), ..Default::default() };
    let grant = rights.grant(system).await;
    let (status, text) = told(crate::http::ask(&grant, &route, Method::POST, &HeaderMap::new(), "x").await);
    assert_eq!(status == 403, !rights.writes(topic, KEY), "produce to {topic}: {text} {rights:?}");
}

/// The schemas of the values that reach a cluster by a route with these headers: of records in a session in protobuf and in
/// JSON, of records and of a single body in plain HTTP.
async fn schemas_of(lines: &[(&str, &str)]) -> Vec<Option<SchemaChoice>> {
    let (cluster, script) = Script::cluster(1 << 20);
    let grant = Grant::all(&cluster).with_schemas(rights::schemas(&headers(lines)).ok().unwrap());
    let produce = |record| {
        Req::CmdKafkaProduce(CmdKafkaProduce { records: vec![record], ..CmdKafkaProduce::default() })
    };
    let record = ProduceRecord { topic: "0".into(), value: Some("1".into()), ..Default::default() };
    let of = Some(schema_choice::Of::Id(7));
    let named = ProduceRecord { value_schema: Some(wire::SchemaChoice { of }), ..record.clone() };
    for record in [record, named] {
        let message = PubSubReq { sequence: 1, req: Some(produce(record)) }.encode_to_vec();
        answer(grant.clone(), Codec::Protobuf, &message).await;
    }
    for (format, schema) in [("text", None), ("json", None), ("json", Some("s"))] {
        let record = json!({"topic": "0", "value": "1", "value_schema": schema});
        let command = json!({"produce": {"format": format, "records": [record]}}).to_string();
        answer(grant.clone(), Codec::Json, command.as_bytes()).await;
    }
    let produce = HttpProduce { topic: "0".into(), ..Default::default() };
    let single = HttpRoute { resource: Some(Resource::Produce(produce)), ..Default::default() };
    for (content_type, route, body) in [
        ("application/vnd.kafka.binary.v2+json", &rest("/topics/0"), r#"{"records":[{"value":""}]}"#),
        ("application/json", &rest("/topics/0"), r#"{"records":[{"value":1}]}"#),
        ("text/plain", &single, "1"),
        ("application/json", &single, "1"),
    ] {
        let lines = headers(&[("content-type", content_type)]);
        let (status, text) = told(crate::http::ask(&grant, route, Method::POST, &lines, body).await);
        assert_eq!(status, 200, "{content_type}: {text}");
    }
    script.schemas()
}

#[tokio::test(start_paused = true)]
async fn each_way_in_encodes_json_if_its_route_says_so() {
    let (id, subject) = (Some(SchemaChoice::Id(7)), Some(SchemaChoice::Subject("s".into())));
    for (lines, json) in [
        (&[][..], None),
        (&[(metadata::ENCODE, "false"), (metadata::REGISTER_SCHEMAS, "true")], None),
        (&[(metadata::ENCODE, "true")], Some(SchemaChoice::Topic)),
    ] {
        let sessions = [None, id.clone(), None, json.clone(), subject.clone()];
        let http = [None, json.clone(), None, json];
        assert_eq!(schemas_of(lines).await, [&sessions[..], &http].concat(), "{lines:?}");
    }
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(64)
}

proptest! {
    // About 75 commands each. PROPTEST_CASES sets another number.
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn each_way_in_denies_what_the_rights_do_not_have(
        rights in Rights::any(),
        topics in prop::collection::btree_set(prop::sample::select(TOPICS.to_vec()), 1..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let topics: BTreeSet<&str> = topics;
        let topics: Vec<&str> = topics.into_iter().collect();
        runtime.unwrap().block_on(async {
            for system in [System::Kafka, System::Nats] {
                check_sessions(&rights, system, &topics).await;
                check_http(&rights, system, topics[0]).await;
            }
        });
    }
}

//! Random rights and commands, through each way in, beside what `crates/rights` grants.

mod oracle;

use std::collections::BTreeSet;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, Method};
use proptest::prelude::*;
use prost::Message;
use serde_json::{Value, json};
use sluicegate_backend::System;
use sluicegate_delivery::drain::Drain;
use sluicegate_delivery::grant::Grant;
use sluicegate_protocol::codec::Codec;
use sluicegate_protocol::http_route::Resource;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    CmdKafkaFetch, CmdKafkaListOffset, CmdKafkaListOffsets, CmdKafkaMetadata, CmdKafkaMultiFetch,
    CmdKafkaProduce, CmdKafkaSubscribe, CmdNatsFetch, CmdNatsListSequences, CmdNatsPublish, CmdNatsSubscribe,
    ErrorResp, HttpProduce, HttpRest, HttpRoute, KafkaSource, NatsSource, PartitionOffset, ProduceRecord,
    PubSubReq, PubSubResp, PublishMessage, Reason, StreamTime, grpc,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use self::oracle::{KEY, Rights};
use crate::session::{self, Overload, Transport};

/// The names of existing logs, and of one that is listed only.
const TOPICS: [&str; 5] = ["0", "00", "1", "1.5", "gone"];

/// [`KEY`] in JSON.
const JSON_KEY: &str = "\"0-1\"";

/// A command on some topics, in the words of each system and codec.
struct Case {
    writes: bool,
    /// Whether the rights of one topic decide for all.
    is_whole: bool,
    req: Req,
    json: Value,
}

impl Case {
    fn read(req: Req, json: Value) -> Self {
        Self { writes: false, is_whole: false, req, json }
    }

    fn write(req: Req, json: Value) -> Self {
        Self { writes: true, ..Self::read(req, json) }
    }

    fn whole(req: Req, json: Value) -> Self {
        Self { is_whole: true, ..Self::read(req, json) }
    }
}

fn each(topics: &[String], value: fn(&String) -> Value) -> Vec<Value> {
    topics.iter().map(value).collect()
}

fn of_kafka(topics: &[&str]) -> Vec<Case> {
    let log = |topic: &String| CmdKafkaListOffset { topic: topic.clone(), ..Default::default() };
    let place = |topic: &String| PartitionOffset { topic: topic.clone(), ..Default::default() };
    let source = |topic: &String| KafkaSource { topic: topic.clone(), ..Default::default() };
    let record =
        |topic: &String| ProduceRecord { topic: topic.clone(), key: Some(KEY.into()), ..Default::default() };
    let topics: &Vec<String> = &topics.iter().map(|topic| (*topic).to_owned()).collect();
    let first = || topics[0].clone();
    let partitions = topics.iter().map(place).collect();
    let offsets = topics.iter().map(log).collect();
    let records = topics.iter().map(record).collect();
    let sources = topics.iter().map(source).collect();
    vec![
        Case::read(
            Req::CmdKafkaFetch(CmdKafkaFetch { topic: first(), ..Default::default() }),
            json!({"fetch": {"topic": first(), "partition": 0, "offset": 0}}),
        ),
        Case::read(
            Req::CmdKafkaListOffset(log(&topics[0])),
            json!({"list_offset": {"topic": first(), "partition": 0, "timestamp": 0}}),
        ),
        Case::read(
            Req::CmdKafkaMultiFetch(CmdKafkaMultiFetch { partitions, ..Default::default() }),
            json!({"multi_fetch": {"partitions": each(topics, |topic| {
                json!({"topic": topic, "partition": 0, "offset": 0})
            })}}),
        ),
        Case::read(
            Req::CmdKafkaListOffsets(CmdKafkaListOffsets { offsets, ..Default::default() }),
            json!({"list_offsets": {"offsets": each(topics, |topic| {
                json!({"topic": topic, "partition": 0, "timestamp": 0})
            })}}),
        ),
        Case::read(
            Req::CmdKafkaMetadata(CmdKafkaMetadata { topics: topics.clone(), ..Default::default() }),
            json!({"metadata": {"topics": topics}}),
        ),
        Case::write(
            Req::CmdKafkaProduce(CmdKafkaProduce { records }),
            json!({"produce": {"records": each(topics, |topic| json!({"topic": topic, "key": KEY, "value": 1}))}}),
        ),
        Case::whole(
            Req::CmdKafkaSubscribe(CmdKafkaSubscribe { sources, ..Default::default() }),
            json!({"subscribe": {"sources": each(topics, |topic| json!({"topic": topic}))}}),
        ),
    ]
}

fn of_nats(streams: &[&str]) -> Vec<Case> {
    let message = |stream: &String| PublishMessage {
        stream: stream.clone(),
        subject: KEY.into(),
        ..Default::default()
    };
    let source = |stream: &String| NatsSource { stream: stream.clone(), ..Default::default() };
    let streams: &Vec<String> = &streams.iter().map(|stream| (*stream).to_owned()).collect();
    let first = || streams[0].clone();
    let times = streams.iter().map(|stream| StreamTime { stream: stream.clone(), timestamp: 0 }).collect();
    let messages = streams.iter().map(message).collect();
    let sources = streams.iter().map(source).collect();
    vec![
        Case::read(
            Req::CmdNatsFetch(CmdNatsFetch { stream: first(), ..Default::default() }),
            json!({"fetch": {"stream": first(), "sequence": 0}}),
        ),
        Case::read(
            Req::CmdNatsListSequences(CmdNatsListSequences { times }),
            json!({"list_sequences": {"times": each(streams, |stream| json!({"stream": stream, "timestamp": 0}))}}),
        ),
        Case::write(
            Req::CmdNatsPublish(CmdNatsPublish { messages }),
            json!({"publish": {"messages": each(streams, |stream| {
                json!({"stream": stream, "subject": KEY, "data": 1})
            })}}),
        ),
        Case::whole(
            Req::CmdNatsSubscribe(CmdNatsSubscribe { sources, ..Default::default() }),
            json!({"subscribe": {"sources": each(streams, |stream| json!({"stream": stream}))}}),
        ),
    ]
}

/// The first answer of a session.
async fn answer(grant: Grant, codec: Codec, message: &[u8]) -> Bytes {
    let limits = session::tests::limits();
    let (mut client, server) = tokio::io::duplex(1 << 20);
    let transport = Transport::stream(server, Overload::StopReading);
    let session = async { session::run(transport, codec, grant.into(), &limits, Drain::default()).await };
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

/// Whether an answer denies each of `topics`.
fn denied_in_protobuf(answer: &[u8], topics: &[&str]) -> Vec<bool> {
    let denied =
        |error: &Option<ErrorResp>| error.as_ref().is_some_and(|error| error.reason() == Reason::Denied);
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
    let denied = |value: &Value| value["error"]["reason"] == "DENIED";
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
    for Case { writes, is_whole, req, json } in cases {
        let (name, _) = json.as_object().unwrap().iter().next().unwrap();
        let is_one = matches!(&**name, "fetch" | "list_offset");
        let topics = if is_one { &topics[..1] } else { topics };
        let may = |topic: &&str| if writes { rights.writes(topic, KEY) } else { rights.reads(topic) };
        let want = match is_whole {
            true => vec![!topics.iter().all(may); topics.len()],
            false => topics.iter().map(|topic| !may(topic)).collect(),
        };
        let message = PubSubReq { sequence: 1, req: Some(req) }.encode_to_vec();
        let answered = answer(rights.grant(system).await, Codec::Protobuf, &message).await;
        let denied = denied_in_protobuf(&answered, topics);
        assert_eq!(denied, want, "{name} of {topics:?} on {system:?}: {rights:?}");
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

/// Asks for a resource of a path. Gives the status and the body.
async fn ask(rights: &Rights, system: System, method: Method, path: String, body: &str) -> (u16, String) {
    let route = HttpRoute { path, resource: Some(Resource::Rest(HttpRest {})), ..Default::default() };
    let headers = [(CONTENT_TYPE, "application/json"), (ACCEPT, "application/json, text/event-stream")];
    let headers = headers.into_iter().map(|(name, value)| (name, value.parse().unwrap())).collect();
    crate::http::ask(&rights.grant(system).await, &route, method, &headers, body).await
}

async fn check_http(rights: &Rights, system: System, topic: &str) {
    let (root, reads, writes, body) = match system {
        System::Kafka => (
            "topics",
            &[
                "",
                "/records",
                "/events",
                "/partitions/0/records",
                "/partitions/0/offsets",
                "/partitions/0/events",
            ][..],
            &["", "/partitions/0"][..],
            r#"{"records":[{"key":"0-1","value":1}]}"#,
        ),
        System::Nats => (
            "streams",
            &["", "/messages", "/sequences", "/events"][..],
            &[""][..],
            r#"{"messages":[{"subject":"0-1","data":1}]}"#,
        ),
    };
    for resource in reads {
        for method in [Method::GET, Method::HEAD] {
            let path = format!("/{root}/{topic}{resource}");
            let (status, text) = ask(rights, system, method, path, "").await;
            assert_eq!(status == 403, !rights.reads(topic), "{topic}{resource}: {text} {rights:?}");
            let is_list = resource.ends_with("records") || resource.ends_with("messages");
            if let Some(listed) =
                serde_json::from_str::<Value>(&text).ok().filter(|_| is_list && status == 200)
            {
                let read = listed.as_array().is_some_and(|listed| !listed.is_empty());
                assert_eq!(read, rights.reads_records(topic), "{topic}{resource}: {text} {rights:?}");
            }
        }
    }
    let key = if matches!(system, System::Kafka) { JSON_KEY } else { KEY };
    for resource in writes {
        let (status, text) =
            ask(rights, system, Method::POST, format!("/{root}/{topic}{resource}"), body).await;
        // Without the right to write at all, a resource has no such method.
        assert_eq!(
            matches!(status, 403 | 405),
            !rights.writes(topic, key),
            "{topic}{resource}: {text} {rights:?}"
        );
    }
    let (status, text) = ask(rights, system, Method::GET, format!("/{root}"), "").await;
    let listed =
        ["a", "b.1", "b.2", "gone"].into_iter().filter(|name| rights.reads(name)).collect::<Vec<_>>();
    let want = if rights.can_read() { (200, Some(json!(listed))) } else { (403, None) };
    assert_eq!((status, serde_json::from_str(&text).ok().filter(|_| status == 200)), want, "{rights:?}");

    let produce = HttpProduce { topic: topic.into(), key: Some(KEY.into()), ..Default::default() };
    let route = HttpRoute { resource: Some(Resource::Produce(produce)), ..Default::default() };
    let grant = rights.grant(system).await;
    let (status, text) = crate::http::ask(&grant, &route, Method::POST, &HeaderMap::new(), "x").await;
    assert_eq!(status == 403, !rights.writes(topic, KEY), "produce to {topic}: {text} {rights:?}");
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(256)
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

//! A message of NATS has the field numbers of its twin of Kafka, so that records of both are read and filtered alike.

use std::fmt::Debug;

use crate::{
    CmdKafkaFetch, CmdKafkaListOffset, CmdKafkaListOffsets, CmdKafkaProduce, CmdKafkaSubscribe, CmdNatsFetch,
    CmdNatsListSequences, CmdNatsPublish, CmdNatsSubscribe, ErrorResp, Header, KafkaFetchResp, KafkaMessage,
    KafkaSource, NatsFetchResp, NatsMessage, NatsSource, ProduceRecord, PublishMessage, RecordFilter,
    StreamTime, kafka_source, nats_source,
};
use prost::Message;

#[track_caller]
fn check<A, B>(nats: &A, kafka: &B)
where
    A: Message + Default + PartialEq + Debug,
    B: Message + Default + PartialEq + Debug,
{
    assert_eq!(B::decode(&nats.encode_to_vec()[..]).unwrap(), *kafka);
    assert_eq!(A::decode(&kafka.encode_to_vec()[..]).unwrap(), *nats);
}

fn headers() -> Vec<Header> {
    vec![Header { key: "h".into(), value: Some("v".into()) }]
}

#[test]
fn message_is_a_record() {
    let error = Some(Box::new(ErrorResp { code: 9, ..Default::default() }));
    let message = NatsMessage {
        sequence: 7,
        timestamp: 8,
        subject: "s".into(),
        data: "d".into(),
        headers: headers(),
        error: error.clone(),
    };
    let record = KafkaMessage {
        offset: 7,
        timestamp: 8,
        key: Some("s".into()),
        value: Some("d".into()),
        headers: headers(),
        error,
        ..Default::default()
    };
    check(&message, &record);
    let nats =
        NatsFetchResp { messages: vec![message], next_sequence: 8, end: Some(9), first_sequence: Some(1) };
    let kafka = KafkaFetchResp {
        messages: vec![record],
        next_offset: 8,
        high_watermark: Some(9),
        log_start_offset: Some(1),
        last_stable_offset: None,
    };
    check(&nats, &kafka);
}

#[test]
fn commands_have_their_lists_in_the_same_fields() {
    let times = vec![StreamTime { stream: "s".into(), timestamp: -1 }];
    let offsets = vec![CmdKafkaListOffset { topic: "s".into(), partition: 0, timestamp: -1 }];
    check(&CmdNatsListSequences { times }, &CmdKafkaListOffsets { offsets, ..Default::default() });

    let filters =
        vec![RecordFilter { equals: vec!["a".into()], prefixes: vec!["b".into()], ..Default::default() }];
    let from = Some(nats_source::From::Sequence(5));
    let source = NatsSource { stream: "s".into(), from, stream_id: "id".into() };
    let nats = CmdNatsSubscribe { sources: vec![source], filters: filters.clone(), ..Default::default() };
    let from = Some(kafka_source::From::Offset(5));
    let source = KafkaSource { topic: "s".into(), from, topic_id: "id".into(), ..Default::default() };
    check(
        &nats,
        &CmdKafkaSubscribe { sources: vec![source], filters: filters.clone(), ..Default::default() },
    );
    let fetch = CmdNatsFetch { stream: "s".into(), filters: filters.clone(), ..Default::default() };
    check(&fetch, &CmdKafkaFetch { topic: "s".into(), filters, ..Default::default() });

    let message = PublishMessage {
        stream: "s".into(),
        subject: "a.b".into(),
        data: "d".into(),
        headers: headers(),
        ..Default::default()
    };
    let record = ProduceRecord {
        topic: "s".into(),
        key: Some("a.b".into()),
        value: Some("d".into()),
        headers: headers(),
        ..Default::default()
    };
    check(
        &CmdNatsPublish { messages: vec![message], ..CmdNatsPublish::default() },
        &CmdKafkaProduce { records: vec![record], ..CmdKafkaProduce::default() },
    );
}

//! Our encodings and decodings against those of `kafka-protocol`, in every version.

use bytes::{Buf, BytesMut};
use kafka_protocol::messages::api_versions_response::{ApiVersion, ApiVersionsResponse};
use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, FetchResponse, FetchableTopicResponse, PartitionData,
};
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{self, ResponseHeader};
use kafka_protocol::protocol::{Decodable, HeaderVersion, decode_request_header_from_buffer};
use proptest::prelude::*;

use super::list_offsets::ListOffsetsAnswer;
use super::request::topic_name;
use super::sasl::SaslHandshakeAnswer;
use super::*;
use crate::error_code::ErrorCode;
use crate::topic::Replica;

/// A request as a broker reads it, to its last byte.
fn received<A: Api, R: Decodable>(request: &A, version: i16) -> R {
    let frame = encode(request, version, 77, &StrBytes::from_static_str("me")).expect("an encodable request");
    let mut frame = Bytes::from(frame);
    assert_eq!(frame.get_i32(), i32::try_from(frame.len()).expect("a short frame"));
    let header = decode_request_header_from_buffer(&mut frame).expect("a header");
    assert_eq!((header.request_api_key, header.request_api_version), (A::KEY as i16, version));
    assert_eq!((header.correlation_id, header.client_id.as_deref()), (77, Some("me")));
    let request = R::decode(&mut frame, version).expect("a request");
    assert!(frame.is_empty(), "{} bytes left in version {version}", frame.len());
    request
}

/// A response as a broker sends it, without its correlation id.
fn sent<R: Encodable + HeaderVersion>(response: &R, version: i16) -> Bytes {
    let mut bytes = BytesMut::new();
    ResponseHeader::default().encode(&mut bytes, R::header_version(version)).expect("a header");
    response.encode(&mut bytes, version).expect("an encodable response");
    bytes.split_off(4).freeze()
}

fn read<A: Api>(request: &A, version: i16, bytes: Bytes) -> Result<A::Answer, WireError> {
    decode(request, version, bytes).map(|(answer, _)| answer)
}

/// In every version: what is read from the whole response, and that none of its beginnings is read as anything else.
#[track_caller]
fn check<A, R>(request: &A, response: impl Fn(i16) -> R, want: impl Fn(i16) -> A::Answer)
where
    A: Api<Answer: PartialEq + std::fmt::Debug>,
    R: Encodable + HeaderVersion,
{
    for version in *A::VERSIONS.start()..=request.max_version() {
        let bytes = sent(&response(version), version);
        assert_eq!(read(request, version, bytes.clone()).as_ref(), Ok(&want(version)), "version {version}");
        for cut in 0..bytes.len() {
            let read = read(request, version, bytes.slice(..cut));
            assert!(read.is_err() || read == Ok(want(version)), "version {version} cut at byte {cut}");
        }
    }
}

pub(super) fn fetch_partition(partition: i32) -> FetchPartition<'static> {
    FetchPartition {
        topic: "t",
        topic_id: TopicId::new(ID),
        partition,
        leader_epoch: 7,
        offset: 1 << 40,
        max_bytes: 5_000,
    }
}

pub(super) fn fetch_request() -> FetchRequest<'static> {
    FetchRequest {
        partitions: vec![fetch_partition(3)],
        max_bytes: 6_000,
        max_wait: 250,
        committed: true,
        rack: Some(StrBytes::from_static_str("r")),
    }
}

const ID: u128 = 0x0123_4567_89AB_CDEF_0011_2233_4455_6677;

pub(super) fn list_offsets_request() -> ListOffsetsRequest<'static> {
    ListOffsetsRequest { topic: "t", partition: 3, leader_epoch: 7, timestamp: -2, committed: true }
}

fn metadata_request() -> MetadataRequest {
    MetadataRequest { topics: Some(vec!["t".to_owned(), "u".to_owned()]) }
}

#[test]
fn broker_decodes_fetch() {
    for version in FetchRequest::VERSIONS {
        let request: messages::FetchRequest = received(&fetch_request(), version);
        assert_eq!((request.replica_id.0, request.isolation_level), (-1, 1));
        assert_eq!((request.max_wait_ms, request.min_bytes, request.max_bytes), (250, 1, 6_000));
        assert_eq!((request.session_id, request.session_epoch), (0, -1));
        let topic = &request.topics[0];
        let (name, id) = if version >= 13 { ("", ID) } else { ("t", 0) };
        assert_eq!((&topic.topic.0[..], topic.topic_id.as_u128()), (name, id), "version {version}");
        assert_eq!((request.topics.len(), topic.partitions.len()), (1, 1));
        assert_eq!(&request.rack_id[..], if version >= 11 { "r" } else { "" });
        let partition = &topic.partitions[0];
        assert_eq!((partition.partition, partition.fetch_offset), (3, 1 << 40));
        assert_eq!(partition.partition_max_bytes, 5_000);
        assert_eq!(partition.current_leader_epoch, if version >= 9 { 7 } else { -1 });
    }
}

#[test]
fn broker_decodes_list_offsets() {
    for version in ListOffsetsRequest::VERSIONS {
        let request: messages::ListOffsetsRequest = received(&list_offsets_request(), version);
        assert_eq!((request.replica_id.0, request.isolation_level), (-1, 1));
        let partition = &request.topics[0].partitions[0];
        assert_eq!(&request.topics[0].name.0[..], "t");
        assert_eq!((partition.partition_index, partition.timestamp), (3, -2));
        assert_eq!(partition.current_leader_epoch, if version >= 4 { 7 } else { -1 });
    }
}

#[test]
fn metadata_request_creates_no_topic() {
    for version in MetadataRequest::VERSIONS {
        let all: messages::MetadataRequest = received(&MetadataRequest { topics: None }, version);
        assert_eq!((all.topics, all.allow_auto_topic_creation), (None, false), "version {version}");
        for topics in [Some(Vec::new()), metadata_request().topics] {
            let request: messages::MetadataRequest =
                received(&MetadataRequest { topics: topics.clone() }, version);
            assert!(!request.allow_auto_topic_creation, "version {version}");
            let asked = request.topics.expect("a list");
            let asked: Vec<String> =
                asked.iter().map(|topic| topic.name.clone().unwrap().to_string()).collect();
            assert_eq!(Some(asked), topics, "version {version}");
        }
    }
}

#[test]
fn broker_decodes_api_versions() {
    for version in VersionsRequest::VERSIONS {
        let request: messages::ApiVersionsRequest = received(&VersionsRequest, version);
        let name = if version >= VersionsRequest::FLEXIBLE { "sluicegate" } else { "" };
        assert_eq!(request.client_software_name.as_str(), name, "version {version}");
    }
}

#[test]
fn versions_are_decoded() {
    let fetch = ApiVersion::default().with_api_key(1).with_min_version(4).with_max_version(11);
    let response = ApiVersionsResponse::default().with_api_keys(vec![fetch]);
    let refused = ApiVersionsResponse::default().with_error_code(35);
    for version in VersionsRequest::VERSIONS {
        let versions = read(&VersionsRequest, version, sent(&response, version)).expect("versions");
        assert_eq!((versions.error, versions.pick(&fetch_request())), (None, Ok(11)));
        assert!(versions.pick(&metadata_request()).is_err());
        // In version 0, whichever was asked for.
        let versions = read(&VersionsRequest, version, sent(&refused, 0)).expect("versions");
        assert_eq!(versions.error, ErrorCode::of(35));
    }
}

fn metadata_response(version: i16) -> MetadataResponse {
    let partition = MetadataResponsePartition::default()
        .with_partition_index(4)
        .with_leader_id(2.into())
        .with_leader_epoch(if version >= 7 { 9 } else { -1 })
        .with_replica_nodes(vec![2.into(), 1.into(), 3.into()])
        .with_isr_nodes(vec![3.into(), 2.into()])
        .with_offline_replicas(if version >= 5 { vec![1.into()] } else { Vec::new() });
    let topic = MetadataResponseTopic::default()
        .with_name(Some(topic_name("t")))
        .with_topic_id(uuid::Uuid::from_u128(if version >= 10 { ID } else { 0 }))
        .with_partitions(vec![partition]);
    let absent = MetadataResponseTopic::default()
        .with_name(Some(topic_name("u")))
        .with_is_internal(true)
        .with_error_code(3);
    let broker = MetadataResponseBroker::default()
        .with_node_id(2.into())
        .with_host(StrBytes::from_static_str("host"))
        .with_port(9092)
        .with_rack(Some(StrBytes::from_static_str("rack")));
    MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_cluster_id(Some(StrBytes::from_static_str("cluster")))
        .with_topics(vec![topic, absent])
}

fn metadata_answer(version: i16) -> MetadataAnswer {
    let epoch = if version >= 7 { 9 } else { -1 };
    let replicas = [(2, true), (1, false), (3, true)];
    let replicas = replicas.map(|(broker, in_sync)| Replica { broker, in_sync }).into();
    let partitions = vec![PartitionAnswer { error: None, partition: 4, leader: 2, epoch, replicas }];
    let id = TopicId::new(ID).filter(|_| version >= 10);
    MetadataAnswer {
        brokers: vec![(2, "host".to_owned(), 9092)],
        topics: vec![
            TopicAnswer { error: None, name: "t".to_owned(), internal: false, id, partitions },
            TopicAnswer {
                error: ErrorCode::of(3),
                name: "u".to_owned(),
                internal: true,
                id: None,
                partitions: Vec::new(),
            },
        ],
    }
}

#[test]
fn metadata_is_decoded() {
    check(&metadata_request(), metadata_response, metadata_answer);
}

#[test]
fn list_of_all_topics_is_decoded() {
    let names_only = |version| {
        let mut answer = metadata_answer(version);
        answer.topics.iter_mut().for_each(|topic| topic.partitions.clear());
        answer
    };
    check(&MetadataRequest { topics: None }, metadata_response, names_only);
}

#[test]
fn offsets_are_decoded() {
    let response = |version| {
        let partition = ListOffsetsPartitionResponse::default()
            .with_partition_index(3)
            .with_timestamp(5)
            .with_offset(42)
            .with_leader_epoch(if version >= 4 { 9 } else { -1 });
        let topic =
            ListOffsetsTopicResponse::default().with_name(topic_name("t")).with_partitions(vec![partition]);
        ListOffsetsResponse::default().with_topics(vec![topic])
    };
    check(&list_offsets_request(), response, |_| ListOffsetsAnswer { error: None, timestamp: 5, offset: 42 });
}

#[test]
fn latest_timestamp_is_an_error_before_version_7() {
    let request = ListOffsetsRequest { timestamp: MAX_TIMESTAMP, ..list_offsets_request() };
    let partition = ListOffsetsPartitionResponse::default().with_partition_index(3);
    let topic =
        ListOffsetsTopicResponse::default().with_name(topic_name("t")).with_partitions(vec![partition]);
    let response = |_| ListOffsetsResponse::default().with_topics(vec![topic.clone()]);
    check(&request, response, |version| ListOffsetsAnswer {
        error: if version < 7 { ErrorCode::of(35) } else { None },
        timestamp: -1,
        offset: -1,
    });
}

fn fetch_response(version: i16, topic: &'static str, partition: i32) -> FetchResponse {
    let aborted = AbortedTransaction::default().with_producer_id(1.into()).with_first_offset(2);
    let data = PartitionData::default()
        .with_partition_index(partition)
        .with_high_watermark(100)
        .with_last_stable_offset(90)
        .with_log_start_offset(10)
        .with_aborted_transactions(Some(vec![aborted]))
        .with_preferred_read_replica(if version >= 11 { 5.into() } else { (-1).into() })
        .with_records(Some(Bytes::from_static(b"batches")));
    let id = if topic == "t" { ID } else { ID + 1 };
    let topic = FetchableTopicResponse::default()
        .with_topic(topic_name(topic))
        .with_topic_id(uuid::Uuid::from_u128(id))
        .with_partitions(vec![data]);
    FetchResponse::default().with_responses(vec![topic])
}

fn fetched(version: i16, records: &'static [u8]) -> FetchAnswer {
    FetchAnswer {
        error: None,
        // Where an answer has a name only, another topic may have it by then.
        high_watermark: 100,
        last_stable_offset: 90,
        log_start_offset: if version >= 5 { 10 } else { -1 },
        aborted: vec![sluicegate_records::AbortedTransaction { producer_id: 1, first_offset: 2 }],
        preferred_read_replica: (version >= 11).then_some(5),
        records: Bytes::from_static(records),
    }
}

#[test]
fn fetched_records_are_decoded() {
    check(
        &fetch_request(),
        |version| fetch_response(version, "t", 3),
        |version| vec![fetched(version, b"batches")],
    );
}

/// Answers keep the order of the request, whatever the order of the response.
#[test]
fn each_partition_has_its_answer() {
    let request = FetchRequest { partitions: [3, 4, 5].map(fetch_partition).to_vec(), ..fetch_request() };
    for order in [[3, 4, 5], [5, 3, 4], [4, 5, 3]] {
        let response = |version| {
            let mut response = fetch_response(version, "t", 3);
            let data = response.responses[0].partitions[0].clone();
            response.responses[0].partitions = order
                .map(|partition| {
                    data.clone().with_partition_index(partition).with_high_watermark(partition.into())
                })
                .to_vec();
            response
        };
        let answer = |version, high_watermark| FetchAnswer { high_watermark, ..fetched(version, b"batches") };
        check(&request, response, |version| [3, 4, 5].map(|end| answer(version, end)).to_vec());
    }
}

#[test]
fn partitions_are_grouped_by_topic() {
    let other = |partition| FetchPartition {
        topic: "u",
        topic_id: TopicId::new(ID + 1),
        ..fetch_partition(partition)
    };
    let partitions = vec![fetch_partition(3), fetch_partition(4), other(3)];
    let request = FetchRequest { partitions, ..fetch_request() };
    for version in FetchRequest::VERSIONS {
        let received: messages::FetchRequest = received(&request, version);
        let topics: Vec<Vec<i32>> = received
            .topics
            .iter()
            .map(|topic| topic.partitions.iter().map(|partition| partition.partition).collect())
            .collect();
        assert_eq!(topics, [vec![3, 4], vec![3]], "version {version}");
    }
}

#[test]
fn null_lists_are_empty() {
    let response = |version| {
        let mut response = fetch_response(version, "t", 3);
        response.responses[0].partitions[0].aborted_transactions = None;
        response.responses[0].partitions[0].records = None;
        response
    };
    check(&fetch_request(), response, |version| {
        vec![FetchAnswer { aborted: Vec::new(), ..fetched(version, b"") }]
    });
}

#[test]
fn fetch_error_applies_to_the_partition() {
    for version in [12, 13] {
        let bytes = sent(&FetchResponse::default().with_error_code(56), version);
        let answer = read(&fetch_request(), version, bytes).expect("an answer");
        assert!(matches!(&answer[..], [answer] if answer.error == ErrorCode::of(56)));
    }
}

#[test]
fn response_for_another_partition_is_rejected() {
    for (topic, partition) in [("u", 3), ("t", 4)] {
        for version in FetchRequest::VERSIONS {
            let bytes = sent(&fetch_response(version, topic, partition), version);
            assert_eq!(read(&fetch_request(), version, bytes), Err(WireError::Partition));
        }
    }
    let bytes = sent(&ListOffsetsResponse::default(), 7);
    assert_eq!(read(&list_offsets_request(), 7, bytes), Err(WireError::Partition));
}

/// In every version: how long the broker wants to be left alone after `response`.
#[track_caller]
fn check_throttle<A: Api, R: Encodable + HeaderVersion>(request: &A, from: i16, response: impl Fn(i16) -> R) {
    for version in A::VERSIONS {
        let (_, throttle_time) =
            decode(request, version, sent(&response(version), version)).expect("an answer");
        let want = if version >= from { 1_500 } else { 0 };
        assert_eq!(throttle_time, Duration::from_millis(want), "version {version}");
    }
}

#[test]
fn throttle_time_is_decoded_since_kip_219() {
    check_throttle(&fetch_request(), 8, |version| {
        fetch_response(version, "t", 3).with_throttle_time_ms(1_500)
    });
    check_throttle(&metadata_request(), 6, |_| MetadataResponse::default().with_throttle_time_ms(1_500));
    check_throttle(&list_offsets_request(), 3, |_| {
        let partition = ListOffsetsPartitionResponse::default().with_partition_index(3);
        let topic =
            ListOffsetsTopicResponse::default().with_name(topic_name("t")).with_partitions(vec![partition]);
        ListOffsetsResponse::default().with_throttle_time_ms(1_500).with_topics(vec![topic])
    });
}

#[test]
fn negative_throttle_time_is_none() {
    let bytes = sent(&MetadataResponse::default().with_throttle_time_ms(-1), 12);
    assert_eq!(decode(&metadata_request(), 12, bytes).expect("an answer").1, Duration::ZERO);
}

#[test]
fn throttled_fetch_is_recognized() {
    for version in FetchRequest::VERSIONS {
        let bytes = sent(&FetchResponse::default().with_throttle_time_ms(700), version);
        let want = match version {
            ..8 => WireError::Partition,
            _ => WireError::Throttled(Duration::from_millis(700)),
        };
        assert_eq!(read(&fetch_request(), version, bytes), Err(want), "version {version}");
        let bytes = sent(&FetchResponse::default(), version);
        assert_eq!(read(&fetch_request(), version, bytes), Err(WireError::Partition), "version {version}");
    }
}

#[test]
fn broker_decodes_authentication() {
    let request: messages::SaslHandshakeRequest = received(&SaslHandshakeRequest { mechanism: "PLAIN" }, 1);
    assert_eq!(&request.mechanism[..], "PLAIN");
    for version in SaslAuthenticateRequest::VERSIONS {
        let request: messages::SaslAuthenticateRequest = received(&authenticate_request(), version);
        assert_eq!(request.auth_bytes, "message");
    }
}

fn authenticate_request() -> SaslAuthenticateRequest {
    SaslAuthenticateRequest { message: Bytes::from_static(b"message") }
}

#[test]
fn mechanisms_are_decoded() {
    let mechanisms = ["PLAIN", "OAUTHBEARER"];
    let response = |_| {
        messages::SaslHandshakeResponse::default()
            .with_error_code(33)
            .with_mechanisms(mechanisms.map(StrBytes::from_static_str).to_vec())
    };
    let want = |_| SaslHandshakeAnswer {
        error: ErrorCode::of(33),
        mechanisms: mechanisms.map(str::to_owned).to_vec(),
    };
    check(&SaslHandshakeRequest { mechanism: "PLAIN" }, response, want);
}

#[test]
fn authentication_result_is_decoded() {
    let response = |version| {
        messages::SaslAuthenticateResponse::default()
            .with_error_code(58)
            .with_error_message(Some(StrBytes::from_static_str("no")))
            .with_auth_bytes(Bytes::from_static(b"answer"))
            .with_session_lifetime_ms(if version >= 1 { 5_000 } else { 0 })
    };
    let want = |version| SaslAuthenticateAnswer {
        error: ErrorCode::of(58),
        message: "no".to_owned(),
        bytes: Bytes::from_static(b"answer"),
        lifetime: (version >= 1).then_some(Duration::from_secs(5)),
    };
    check(&authenticate_request(), response, want);
}

/// Whatever comes, it is read or refused.
fn read_all(bytes: &Bytes) {
    for version in VersionsRequest::VERSIONS {
        let _ = decode(&VersionsRequest, version, bytes.clone());
    }
    let _ = decode(&SaslHandshakeRequest { mechanism: "PLAIN" }, 1, bytes.clone());
    for version in SaslAuthenticateRequest::VERSIONS {
        let _ = decode(&authenticate_request(), version, bytes.clone());
    }
    for version in MetadataRequest::VERSIONS {
        let _ = decode(&metadata_request(), version, bytes.clone());
    }
    for version in ListOffsetsRequest::VERSIONS {
        let _ = decode(&list_offsets_request(), version, bytes.clone());
    }
    for version in FetchRequest::VERSIONS {
        let _ = decode(&fetch_request(), version, bytes.clone());
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic_or_overallocate(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        read_all(&Bytes::from(bytes));
    }

    #[test]
    fn mutated_responses_never_panic(
        version in FetchRequest::VERSIONS,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = sent(&fetch_response(version, "t", 3), version).to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        read_all(&Bytes::from(bytes));
    }
}

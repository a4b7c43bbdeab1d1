//! Our encodings and decodings against those of `kafka-protocol`, in every version.

mod fetch;
mod groups;
mod list_offsets;
mod metadata;
mod produce;
mod versions;

use bytes::{Buf, BytesMut};
use kafka_protocol::messages::api_versions_response::{ApiVersion, ApiVersionsResponse};
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{self, ResponseHeader};
use kafka_protocol::protocol::{Decodable, HeaderVersion, decode_request_header_from_buffer};
use proptest::prelude::*;

use self::fetch::{fetch_partition, fetch_request};
use self::list_offsets::list_offsets_request;
use self::metadata::metadata_request;
use super::sasl::SaslHandshakeAnswer;
use super::*;
use crate::testing;

const ID: u128 = 0x0123_4567_89AB_CDEF_0011_2233_4455_6677;

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

/// Checks the request as a broker reads it in each version.
fn each<A: Api, R: Decodable>(request: &A, check: impl Fn(i16, R)) {
    for version in A::VERSIONS {
        check(version, received(request, version));
    }
}

/// A response as a broker sends it, without its correlation id.
pub(crate) fn sent<R: Encodable + HeaderVersion>(response: &R, version: i16) -> Bytes {
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

#[test]
fn throttle_time_is_decoded_since_kip_219() {
    #[track_caller]
    fn check<A: Api, R: Encodable + HeaderVersion>(
        request: &A,
        since: i16,
        response: impl Fn(i16, i32) -> R,
    ) {
        for (version, time) in A::VERSIONS.flat_map(|version| [(version, 1_500), (version, -1)]) {
            let (_, throttle_time) =
                decode(request, version, sent(&response(version, time), version)).expect("an answer");
            let want = if version >= since && time > 0 { 1_500 } else { 0 };
            assert_eq!(throttle_time, Duration::from_millis(want), "version {version}");
        }
    }
    check(&fetch_request(), 8, |version, time| {
        fetch::fetch_response(version, "t", 3).with_throttle_time_ms(time)
    });
    check(&list_offsets_request(), 3, |_, time| {
        list_offsets::response(Default::default()).with_throttle_time_ms(time)
    });
    check(&metadata_request(), 6, |_, time| {
        messages::MetadataResponse::default().with_throttle_time_ms(time)
    });
}

#[test]
fn answer_for_another_partition_is_rejected() {
    let offsets = sent(&messages::ListOffsetsResponse::default(), 7);
    assert_eq!(read(&list_offsets_request(), 7, offsets), Err(WireError::Partition));
    let other = epoch_end_response(EpochEndOffset::default().with_partition(4));
    assert_eq!(read(&epoch_end_request(), 4, sent(&other, 4)), Err(WireError::Partition));
    for (topic, partition) in [("u", 3), ("t", 4)] {
        for version in FetchRequest::VERSIONS {
            let bytes = sent(&fetch::fetch_response(version, topic, partition), version);
            assert_eq!(read(&fetch_request(), version, bytes), Err(WireError::Partition));
        }
    }
}

fn epoch_end_request() -> EpochEndRequest<'static> {
    EpochEndRequest { topic: "t", partition: 3, leader_epoch: 7, epoch: 5 }
}

fn epoch_end_response(partition: EpochEndOffset) -> OffsetForLeaderEpochResponse {
    let topic =
        OffsetForLeaderTopicResult::default().with_topic(topic_name("t")).with_partitions(vec![partition]);
    OffsetForLeaderEpochResponse::default().with_topics(vec![topic])
}

#[test]
fn epoch_end_is_asked_for_and_decoded() {
    let partition = || EpochEndOffset::default().with_partition(3);
    for (partition, error, offset) in [
        (partition().with_leader_epoch(4).with_end_offset(42), None, 42),
        (partition().with_error_code(74), ErrorCode::of(74), -1),
    ] {
        let response = epoch_end_response(partition);
        check(&epoch_end_request(), |_| response.clone(), |_| EpochEndAnswer { error, offset });
    }
    each(&epoch_end_request(), |_, request: messages::OffsetForLeaderEpochRequest| {
        let partition = &request.topics[0].partitions[0];
        assert_eq!((request.replica_id.0, &request.topics[0].topic.0[..]), (-1, "t"));
        assert_eq!((partition.partition, partition.current_leader_epoch, partition.leader_epoch), (3, 7, 5));
    });
}

#[test]
fn mechanism_is_asked_for_and_mechanisms_decoded() {
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
    let request = SaslHandshakeRequest { mechanism: "PLAIN" };
    check(&request, response, want);
    each(&request, |_, request: messages::SaslHandshakeRequest| assert_eq!(&request.mechanism[..], "PLAIN"));
}

#[test]
fn authentication_is_asked_for_and_its_result_decoded() {
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
    let request = SaslAuthenticateRequest { message: Bytes::from_static(b"message") };
    check(&request, response, want);
    each(&request, |_, request: messages::SaslAuthenticateRequest| assert_eq!(request.auth_bytes, "message"));
}

#[test]
fn properties_are_asked_for_and_decoded() {
    const LIFE: &str = "delete.retention.ms";
    let config = |name: &str, value: Option<&str>, is_sensitive: bool| {
        let synonym = DescribeConfigsSynonym::default().with_name(text("log.cleaner")).with_source(5);
        DescribeConfigsResourceResult::default()
            .with_name(text(name))
            .with_value(value.map(text))
            .with_is_sensitive(is_sensitive)
            .with_synonyms(vec![synonym])
    };
    let found =
        vec![config("other", None, false), config("secret", Some("s"), true), config(LIFE, Some("1"), false)];
    for (name, code, configs, told) in [
        (Some(LIFE), 0, &found[..], &[(LIFE, "1")][..]),
        (None, 0, &found, &[("other", ""), (LIFE, "1")]),
        (None, 29, &[], &[]),
    ] {
        let result = DescribeConfigsResult::default().with_error_code(code).with_resource_type(2);
        let result = result.with_resource_name(text("t")).with_configs(configs.to_vec());
        let response = DescribeConfigsResponse::default().with_results(vec![result]);
        let properties: Vec<_> =
            told.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let want = |_| ConfigAnswer { error: ErrorCode::of(code), properties: properties.clone() };
        let request = ConfigRequest { resource: Resource::Topic("t"), name };
        check(&request, |_| response.clone(), want);
        each(&request, |_, request: messages::DescribeConfigsRequest| {
            let resource = &request.resources[0];
            assert_eq!((resource.resource_type, &resource.resource_name[..]), (2, "t"));
            assert_eq!(resource.configuration_keys, name.map(|name| vec![text(name)]));
        });
    }
}

#[test]
fn versions_are_asked_for_and_decoded() {
    each(&VersionsRequest, |version, request: messages::ApiVersionsRequest| {
        let name = if version >= VersionsRequest::FLEXIBLE { "sluicegate" } else { "" };
        assert_eq!(request.client_software_name.as_str(), name, "version {version}");
    });
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

proptest! {
    #[test]
    fn random_bytes_never_panic_or_overallocate(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let bytes = Bytes::from(bytes);
        for (request, version) in (0..19).flat_map(|request| (0..=18).map(move |version| (request, version))) {
            testing::answer(request, version, &bytes);
        }
    }
}

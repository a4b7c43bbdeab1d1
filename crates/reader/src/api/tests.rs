//! Our encodings and decodings against those of `kafka-protocol`, in every version.

mod epoch_end;
mod fetch;
mod list_offsets;
mod metadata;
mod sasl;
mod topic_config;
mod versions;

use bytes::{Buf, BytesMut};
use kafka_protocol::messages::offset_for_leader_epoch_response::EpochEndOffset;
use kafka_protocol::messages::{self, ResponseHeader};
use kafka_protocol::protocol::{Decodable, HeaderVersion, decode_request_header_from_buffer};
use proptest::prelude::*;

pub(super) use self::fetch::{fetch_partition, fetch_request};
pub(super) use self::list_offsets::list_offsets_request;
use super::*;
use crate::error_code::ErrorCode;
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
    check(&metadata::metadata_request(), 6, |_, time| {
        messages::MetadataResponse::default().with_throttle_time_ms(time)
    });
}

#[test]
fn answer_for_another_partition_is_rejected() {
    let offsets = sent(&messages::ListOffsetsResponse::default(), 7);
    assert_eq!(read(&list_offsets_request(), 7, offsets), Err(WireError::Partition));
    let other = epoch_end::response(EpochEndOffset::default().with_partition(4));
    assert_eq!(read(&epoch_end::epoch_end_request(), 4, sent(&other, 4)), Err(WireError::Partition));
    for (topic, partition) in [("u", 3), ("t", 4)] {
        for version in FetchRequest::VERSIONS {
            let bytes = sent(&fetch::fetch_response(version, topic, partition), version);
            assert_eq!(read(&fetch_request(), version, bytes), Err(WireError::Partition));
        }
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic_or_overallocate(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let bytes = Bytes::from(bytes);
        for (request, version) in (0..8).flat_map(|request| (0..=18).map(move |version| (request, version))) {
            testing::answer(request, version, &bytes);
        }
    }
}

//! Kafka's requests and responses, and the versions of them that a broker supports.
//!
//! `kafka-protocol` encodes requests. Responses are decoded here, for the reasons in [`crate::wire`].

mod config;
mod consumer_group_describe;
mod consumer_protocol;
mod describe_groups;
mod describe_producers;
mod epoch_end;
mod fetch;
mod find_coordinator;
mod join_group;
mod list_offsets;
mod membership;
mod metadata;
mod offset_commit;
mod offset_fetch;
mod produce;
mod sasl;
mod sync_group;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
pub(crate) use config::{ConfigAnswer, ConfigRequest, Resource};
pub(crate) use consumer_group_describe::ConsumerGroupDescribeRequest;
pub use consumer_protocol::{Assignment, Subscription};
pub(crate) use describe_groups::DescribeGroupsRequest;
pub(crate) use describe_producers::DescribeProducersRequest;
pub use describe_producers::KnownProducer;
pub(crate) use epoch_end::{EpochEndAnswer, EpochEndRequest};
pub(crate) use fetch::{FetchAnswer, FetchPartition, FetchRequest};
pub(crate) use find_coordinator::{FindCoordinatorAnswer, FindCoordinatorRequest};
pub(crate) use join_group::JoinGroupRequest;
pub use join_group::JoinedMember;
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, GroupId, RequestHeader, TopicName};
use kafka_protocol::protocol::{Encodable, StrBytes};
pub(crate) use list_offsets::{AnsweredOffset, AskedOffset, ListOffsetsAnswer, ListOffsetsRequest};
pub(crate) use membership::{HeartbeatRequest, LeaveGroupRequest};
pub use metadata::Replica;
pub(crate) use metadata::{MetadataAnswer, MetadataRequest, PartitionAnswer, TopicAnswer};
pub(crate) use offset_commit::OffsetCommitRequest;
pub(crate) use offset_fetch::{FetchedOffset, OffsetFetchRequest};
pub(crate) use produce::{ProduceAnswer, ProduceRequest};
pub(crate) use sasl::{SaslAuthenticateAnswer, SaslAuthenticateRequest, SaslHandshakeRequest};
pub(crate) use sync_group::SyncGroupRequest;

use crate::error::ErrorCode;
use crate::wire::{Wire, WireError};

/// A request and its response.
pub(crate) trait Api {
    const KEY: ApiKey;
    /// The supported versions.
    const VERSIONS: RangeInclusive<i16>;
    /// The first version with varint lengths and tagged fields (KIP-482).
    const FLEXIBLE: i16;
    type Body: Encodable;
    type Answer;

    /// The highest version for this request.
    fn max_version(&self) -> i16 {
        *Self::VERSIONS.end()
    }

    fn body(&self, version: i16) -> Self::Body;

    fn decode(&self, wire: &mut Wire, version: i16) -> Result<Self::Answer, WireError>;
}

/// Encodes a frame: length, header, body.
///
/// Fails if the request cannot be expressed in that version, which a correct [`Api::VERSIONS`] rules out.
pub(crate) fn encode<A: Api>(
    request: &A,
    version: i16,
    id: i32,
    client_id: &StrBytes,
) -> Result<Vec<u8>, String> {
    let header = RequestHeader::default()
        .with_request_api_key(A::KEY as i16)
        .with_request_api_version(version)
        .with_correlation_id(id)
        .with_client_id(Some(client_id.clone()));
    let mut frame = vec![0; LENGTH];
    header.encode(&mut frame, A::KEY.request_header_version(version)).map_err(|error| error.to_string())?;
    request.body(version).encode(&mut frame, version).map_err(|error| error.to_string())?;
    let len = u32::try_from(frame.len().saturating_sub(LENGTH)).map_err(|error| error.to_string())?;
    if let Some(prefix) = frame.first_chunk_mut() {
        *prefix = len.to_be_bytes();
    }
    Ok(frame)
}

/// Decodes a response without its correlation id. Gives the throttle time as well.
pub(crate) fn decode<A: Api>(
    request: &A,
    version: i16,
    response: Bytes,
) -> Result<(A::Answer, Duration), WireError> {
    let mut wire = Wire::new(response, version >= A::FLEXIBLE);
    // KIP-511: "ApiVersionsResponse … will always use header version 0", so that any client can read it.
    if A::KEY != ApiKey::ApiVersions {
        wire.end()?;
    }
    let answer = request.decode(&mut wire, version)?;
    Ok((answer, wire.throttle_time()))
}

/// A validated name, for `kafka-protocol`.
fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

fn group_id(group: &str) -> GroupId {
    GroupId(text(group))
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}

/// A member of a group, as its requests name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// The group's name.
    pub group: Arc<str>,
    /// The name by which it comes back (`group.instance.id`).
    pub instance: Option<Arc<str>>,
    /// The id that the coordinator has given it; empty before.
    pub id: Arc<str>,
    /// The generation of the group whose member it is; −1 if of none.
    pub generation: i32,
}

impl GroupMember {
    /// Of no generation.
    pub fn new(group: Arc<str>, instance: Option<Arc<str>>) -> Self {
        Self { group, instance, id: Arc::default(), generation: -1 }
    }
}

/// A position in a log that a group keeps.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupOffset {
    /// The log's topic.
    pub topic: Arc<str>,
    /// Its number.
    pub partition: i32,
    /// The offset of the next record to read.
    pub offset: i64,
    /// A text of the client's.
    pub metadata: Arc<str>,
}

/// The type of the protocols by which consumers share logs.
const CONSUMER: &str = "consumer";

/// The size of a frame's length field.
const LENGTH: usize = 4;

/// Every broker supports version 0; librdkafka uses version 3.
pub(crate) struct VersionsRequest;

/// The versions of a broker.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Versions {
    pub(crate) error: Option<ErrorCode>,
    speaks: Vec<(i16, RangeInclusive<i16>)>,
}

impl Versions {
    /// Whether the list is empty. A null array counts as empty here; it aborts the process in librdkafka 2.12.
    pub(crate) fn is_empty(&self) -> bool {
        self.speaks.is_empty()
    }

    /// The highest version that both sides support.
    pub(crate) fn pick<A: Api>(&self, request: &A) -> Result<i16, String> {
        let (name, ours) = (A::KEY, *A::VERSIONS.start()..=request.max_version());
        let Some((_, theirs)) = self.speaks.iter().find(|(key, _)| *key == A::KEY as i16) else {
            return Err(format!("does not support {name:?}"));
        };
        let version = *ours.end().min(theirs.end());
        if ours.contains(&version) && theirs.contains(&version) {
            Ok(version)
        } else {
            Err(format!("supports {name:?} in versions {theirs:?}, expected one of {ours:?}"))
        }
    }
}

impl Api for VersionsRequest {
    const KEY: ApiKey = ApiKey::ApiVersions;
    const VERSIONS: RangeInclusive<i16> = 0..=3;
    const FLEXIBLE: i16 = 3;
    type Body = ApiVersionsRequest;
    type Answer = Versions;

    /// Versions below 3 omit the names.
    fn body(&self, _version: i16) -> ApiVersionsRequest {
        ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("sluicegate"))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")))
    }

    fn decode(&self, wire: &mut Wire, _version: i16) -> Result<Versions, WireError> {
        let error = ErrorCode::of(wire.i16()?);
        let mut speaks = Vec::new();
        if error.is_some() {
            // KIP-511: a broker that does not support the version of the request answers in version 0.
            return Ok(Versions { error, speaks });
        }
        for _ in 0..wire.array(6)? {
            let key = wire.i16()?;
            speaks.push((key, wire.i16()?..=wire.i16()?));
            wire.end()?;
        }
        Ok(Versions { error, speaks })
    }
}

#[cfg(test)]
pub(crate) mod tests;

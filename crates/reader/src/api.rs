//! Kafka's requests and responses.
//!
//! `kafka-protocol` encodes requests. Responses are decoded here, for the reasons in [`crate::wire`].

mod epoch_end;
mod fetch;
mod list_offsets;
mod metadata;
mod sasl;
mod topic_config;
mod versions;

use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;
pub(crate) use epoch_end::{EpochEndAnswer, EpochEndRequest};
pub(crate) use fetch::{FetchAnswer, FetchPartition, FetchRequest};
use kafka_protocol::messages::{ApiKey, RequestHeader, TopicName};
use kafka_protocol::protocol::{Encodable, StrBytes};
pub(crate) use list_offsets::{AnsweredOffset, AskedOffset, ListOffsetsAnswer, ListOffsetsRequest};
pub use metadata::Replica;
pub(crate) use metadata::{MetadataAnswer, MetadataRequest, PartitionAnswer, TopicAnswer};
pub(crate) use sasl::{SaslAuthenticateAnswer, SaslAuthenticateRequest, SaslHandshakeRequest};
pub(crate) use topic_config::{TopicConfigAnswer, TopicConfigRequest};
pub(crate) use versions::{Versions, VersionsRequest};

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
    TopicName(StrBytes::from_string(name.to_owned()))
}

/// The size of a frame's length field.
const LENGTH: usize = 4;

#[cfg(test)]
pub(crate) mod tests;

//! ApiVersions: the versions that a broker supports.

use std::ops::RangeInclusive;

use kafka_protocol::messages::{ApiKey, ApiVersionsRequest};
use kafka_protocol::protocol::StrBytes;

use super::Api;
use crate::error_code::ErrorCode;
use crate::wire::{Wire, WireError};

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
mod tests {
    use super::super::tests::{fetch_partition, fetch_request, list_offsets_request};
    use super::super::{FetchPartition, FetchRequest};
    use super::*;

    fn pick(theirs: RangeInclusive<i16>, request: &FetchRequest<'_>) -> Result<i16, String> {
        Versions { error: None, speaks: vec![(ApiKey::Fetch as i16, theirs)] }.pick(request)
    }

    fn fetch(theirs: RangeInclusive<i16>) -> Result<i16, String> {
        pick(theirs, &fetch_request())
    }

    #[test]
    fn highest_common_version_within_the_limit_of_the_request_is_used() {
        assert_eq!(fetch(4..=17), Ok(17));
        assert_eq!(fetch(0..=11), Ok(11));
        assert_eq!(fetch(18..=25), Ok(18));
        let named = FetchPartition { topic_id: None, ..fetch_partition(4) };
        let partitions = vec![fetch_partition(3), named];
        assert_eq!(pick(4..=18, &FetchRequest { partitions, ..fetch_request() }), Ok(12));
        assert_eq!(pick(4..=18, &FetchRequest { rack: None, ..fetch_request() }), Ok(10));
        assert_eq!(
            fetch(19..=20),
            Err("supports Fetch in versions 19..=20, expected one of 4..=18".to_owned())
        );
        assert_eq!(fetch(0..=3), Err("supports Fetch in versions 0..=3, expected one of 4..=18".to_owned()));
        let none = Versions { error: None, speaks: Vec::new() };
        assert_eq!(none.pick(&list_offsets_request()), Err("does not support ListOffsets".to_owned()));
    }
}

//! ApiVersions: which versions of which requests a broker speaks.

use std::ops::RangeInclusive;

use kafka_protocol::messages::{ApiKey, ApiVersionsRequest};

use super::Api;
use crate::error::ErrorCode;
use crate::wire::{Wire, WireError};

/// Asks with version 0, which every broker answers.
pub(crate) struct VersionsRequest;

/// What a broker said it speaks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Versions {
    pub(crate) error: Option<ErrorCode>,
    speaks: Vec<(i16, RangeInclusive<i16>)>,
}

impl Versions {
    /// The version to use: the highest that both sides speak.
    pub(crate) fn pick<A: Api>(&self) -> Result<i16, String> {
        let (name, ours) = (A::KEY, A::VERSIONS);
        let Some((_, theirs)) = self.speaks.iter().find(|(key, _)| *key == A::KEY as i16) else {
            return Err(format!("does not speak {name:?}"));
        };
        let version = *ours.end().min(theirs.end());
        if ours.contains(&version) && theirs.contains(&version) {
            Ok(version)
        } else {
            Err(format!("speaks {name:?} in versions {theirs:?}, expected one of {ours:?}"))
        }
    }
}

impl Api for VersionsRequest {
    const KEY: ApiKey = ApiKey::ApiVersions;
    const VERSIONS: RangeInclusive<i16> = 0..=0;
    const FLEXIBLE: i16 = 3;
    type Body = ApiVersionsRequest;
    type Answer = Versions;

    fn body(&self, _version: i16) -> ApiVersionsRequest {
        ApiVersionsRequest::default()
    }

    fn decode(&self, wire: &mut Wire, _version: i16) -> Result<Versions, WireError> {
        let error = ErrorCode::of(wire.i16()?);
        let mut speaks = Vec::new();
        for _ in 0..wire.array(6)? {
            let key = wire.i16()?;
            speaks.push((key, wire.i16()?..=wire.i16()?));
        }
        Ok(Versions { error, speaks })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{FetchRequest, ListOffsetsRequest};
    use super::*;

    fn fetch(theirs: RangeInclusive<i16>) -> Result<i16, String> {
        Versions { error: None, speaks: vec![(ApiKey::Fetch as i16, theirs)] }.pick::<FetchRequest>()
    }

    #[test]
    fn the_highest_version_of_both_is_used() {
        assert_eq!(fetch(4..=18), Ok(12));
        assert_eq!(fetch(0..=11), Ok(11));
        assert_eq!(fetch(12..=13), Ok(12));
    }

    #[test]
    fn a_broker_too_old_or_too_new_is_refused_with_both_ranges() {
        assert_eq!(
            fetch(13..=18),
            Err("speaks Fetch in versions 13..=18, expected one of 4..=12".to_owned())
        );
        assert_eq!(fetch(0..=3), Err("speaks Fetch in versions 0..=3, expected one of 4..=12".to_owned()));
        let none = Versions { error: None, speaks: Vec::new() };
        assert_eq!(none.pick::<ListOffsetsRequest>(), Err("does not speak ListOffsets".to_owned()));
    }
}

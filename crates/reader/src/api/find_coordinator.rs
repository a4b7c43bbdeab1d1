//! FindCoordinator: the broker that has a group.

use std::ops::RangeInclusive;

use kafka_protocol::messages::{ApiKey, find_coordinator_request as body};

use super::{Api, text};
use crate::error::ErrorCode;
use crate::wire::{Wire, WireError};

pub(crate) struct FindCoordinatorRequest {
    pub(crate) group: String,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FindCoordinatorAnswer {
    pub(crate) error: Option<ErrorCode>,
    pub(crate) host: String,
    /// −1 with an error.
    pub(crate) port: i32,
}

impl Api for FindCoordinatorRequest {
    const KEY: ApiKey = ApiKey::FindCoordinator;
    /// Since version 4, one request can ask for several groups.
    const VERSIONS: RangeInclusive<i16> = 2..=3;
    const FLEXIBLE: i16 = 3;
    type Body = body::FindCoordinatorRequest;
    type Answer = FindCoordinatorAnswer;

    fn body(&self, _version: i16) -> body::FindCoordinatorRequest {
        body::FindCoordinatorRequest::default().with_key(text(&self.group)).with_key_type(GROUP)
    }

    fn decode(&self, wire: &mut Wire, _version: i16) -> Result<FindCoordinatorAnswer, WireError> {
        wire.take_throttle_time(true)?;
        let error = ErrorCode::of(wire.i16()?);
        wire.string()?; // the error's message
        wire.i32()?; // node id
        Ok(FindCoordinatorAnswer { error, host: wire.string()?, port: wire.i32()? })
    }
}

/// The type of a group among keys of coordinators.
const GROUP: i8 = 0;

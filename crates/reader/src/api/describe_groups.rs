//! DescribeGroups: the members of a group.

use std::ops::RangeInclusive;

use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, describe_groups_request as body};

use super::{Api, group_id};
use crate::error::ErrorCode;
use crate::wire::{Wire, WireError};

pub(crate) struct DescribeGroupsRequest<'a> {
    pub(crate) group: &'a str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DescribeGroupsAnswer {
    pub(crate) error: Option<ErrorCode>,
    /// Such as `Stable`.
    pub(crate) state: String,
    /// The members that are instances, with their words to the leader: each a [`Subscription`](super::Subscription), empty
    /// unless the group is stable.
    pub(crate) members: Vec<(String, Bytes)>,
}

impl Api for DescribeGroupsRequest<'_> {
    const KEY: ApiKey = ApiKey::DescribeGroups;
    /// Version 4 added names of instances.
    const VERSIONS: RangeInclusive<i16> = 4..=5;
    const FLEXIBLE: i16 = 5;
    type Body = body::DescribeGroupsRequest;
    type Answer = DescribeGroupsAnswer;

    fn body(&self, _version: i16) -> body::DescribeGroupsRequest {
        body::DescribeGroupsRequest::default().with_groups(vec![group_id(self.group)])
    }

    fn decode(&self, wire: &mut Wire, _version: i16) -> Result<DescribeGroupsAnswer, WireError> {
        wire.take_throttle_time(true)?;
        let mut found = None;
        for _ in 0..wire.array(11)? {
            let error = ErrorCode::of(wire.i16()?);
            let is_it = wire.string()? == self.group;
            let state = wire.string()?;
            wire.string()?; // the protocols' type
            wire.string()?; // the protocol
            let mut members = Vec::new();
            for _ in 0..wire.array(7)? {
                wire.string()?; // the member's id
                let instance = wire.string()?;
                wire.string()?; // its client id
                wire.string()?; // its host
                let told = wire.bytes()?;
                wire.bytes()?; // its assignment
                wire.end()?;
                if is_it && !instance.is_empty() {
                    members.push((instance, told));
                }
            }
            wire.i32()?; // authorized operations
            wire.end()?;
            if is_it {
                found = Some(DescribeGroupsAnswer { error, state, members });
            }
        }
        found.ok_or(WireError::Group)
    }
}

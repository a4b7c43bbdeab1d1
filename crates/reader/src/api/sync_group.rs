//! SyncGroup: gives the leader's assignment to all members. The broker holds the request until it has the assignment.

use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, sync_group_request as body};

use super::{Api, CONSUMER, GroupMember, group_id, text};
use crate::error::ErrorCode;
use crate::wire::{Wire, WireError};

pub(crate) struct SyncGroupRequest<'a> {
    pub(crate) member: &'a GroupMember,
    /// The protocol that the group has chosen.
    pub(crate) protocol: &'a str,
    /// By member; of the leader alone.
    pub(crate) assignments: &'a [(Arc<str>, Bytes)],
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SyncGroupAnswer {
    pub(crate) error: Option<ErrorCode>,
    /// The member's [`Assignment`](super::Assignment); empty if the leader has given it none.
    pub(crate) assignment: Bytes,
}

impl Api for SyncGroupRequest<'_> {
    const KEY: ApiKey = ApiKey::SyncGroup;
    /// Version 3 added names of instances.
    const VERSIONS: RangeInclusive<i16> = 3..=5;
    const FLEXIBLE: i16 = 4;
    type Body = body::SyncGroupRequest;
    type Answer = SyncGroupAnswer;

    fn body(&self, _version: i16) -> body::SyncGroupRequest {
        let assignment = |(member, assignment): &(Arc<str>, Bytes)| {
            body::SyncGroupRequestAssignment::default()
                .with_member_id(text(member))
                .with_assignment(assignment.clone())
        };
        body::SyncGroupRequest::default()
            .with_group_id(group_id(&self.member.group))
            .with_generation_id(self.member.generation)
            .with_member_id(text(&self.member.id))
            .with_group_instance_id(self.member.instance.as_deref().map(text))
            .with_protocol_type(Some(text(CONSUMER)))
            .with_protocol_name(Some(text(self.protocol)))
            .with_assignments(self.assignments.iter().map(assignment).collect())
    }

    fn decode(&self, wire: &mut Wire, version: i16) -> Result<SyncGroupAnswer, WireError> {
        wire.take_throttle_time(true)?;
        let error = ErrorCode::of(wire.i16()?);
        if version >= 5 {
            wire.string()?; // the protocols' type
            wire.string()?; // the protocol
        }
        Ok(SyncGroupAnswer { error, assignment: wire.bytes()? })
    }
}

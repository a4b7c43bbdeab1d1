//! Heartbeat: keeps a member in its group. LeaveGroup: removes it.

use std::ops::RangeInclusive;

use kafka_protocol::messages::{ApiKey, heartbeat_request, leave_group_request};

use super::{Api, GroupMember, group_id, text};
use crate::error::ErrorCode;
use crate::wire::{Wire, WireError};

pub(crate) struct HeartbeatRequest<'a>(pub(crate) &'a GroupMember);

impl Api for HeartbeatRequest<'_> {
    const KEY: ApiKey = ApiKey::Heartbeat;
    /// Version 3 added names of instances.
    const VERSIONS: RangeInclusive<i16> = 3..=4;
    const FLEXIBLE: i16 = 4;
    type Body = heartbeat_request::HeartbeatRequest;
    type Answer = Option<ErrorCode>;

    fn body(&self, _version: i16) -> heartbeat_request::HeartbeatRequest {
        heartbeat_request::HeartbeatRequest::default()
            .with_group_id(group_id(&self.0.group))
            .with_generation_id(self.0.generation)
            .with_member_id(text(&self.0.id))
            .with_group_instance_id(self.0.instance.as_deref().map(text))
    }

    fn decode(&self, wire: &mut Wire, _version: i16) -> Result<Option<ErrorCode>, WireError> {
        wire.take_throttle_time(true)?;
        Ok(ErrorCode::of(wire.i16()?))
    }
}

pub(crate) struct LeaveGroupRequest<'a>(pub(crate) &'a GroupMember);

impl Api for LeaveGroupRequest<'_> {
    const KEY: ApiKey = ApiKey::LeaveGroup;
    /// Since version 3, members with names of instances can leave.
    const VERSIONS: RangeInclusive<i16> = 3..=5;
    const FLEXIBLE: i16 = 4;
    type Body = leave_group_request::LeaveGroupRequest;
    type Answer = Option<ErrorCode>;

    fn body(&self, _version: i16) -> leave_group_request::LeaveGroupRequest {
        let member = leave_group_request::MemberIdentity::default()
            .with_member_id(text(&self.0.id))
            .with_group_instance_id(self.0.instance.as_deref().map(text));
        leave_group_request::LeaveGroupRequest::default()
            .with_group_id(group_id(&self.0.group))
            .with_members(vec![member])
    }

    fn decode(&self, wire: &mut Wire, _version: i16) -> Result<Option<ErrorCode>, WireError> {
        wire.take_throttle_time(true)?;
        let mut error = ErrorCode::of(wire.i16()?);
        for _ in 0..wire.array(4)? {
            wire.string()?; // the member's id
            wire.string()?; // its instance
            error = error.or(ErrorCode::of(wire.i16()?));
            wire.end()?;
        }
        Ok(error)
    }
}

//! JoinGroup: becomes a member of a group's next generation. The broker holds the request until that begins.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, join_group_request as body};

use super::{Api, CONSUMER, GroupMember, group_id, millis, text};
use crate::error::ErrorCode;
use crate::wire::{Wire, WireError};

pub(crate) struct JoinGroupRequest<'a> {
    pub(crate) member: &'a GroupMember,
    pub(crate) session_timeout: Duration,
    /// The time that the group waits for a member to join the next generation.
    pub(crate) rebalance_timeout: Duration,
    /// The protocols that the member knows, the one that it likes most first.
    pub(crate) protocols: &'a [&'static str],
    /// The word to the leader, the same for each protocol.
    pub(crate) subscription: &'a Bytes,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct JoinGroupAnswer {
    pub(crate) error: Option<ErrorCode>,
    /// With MEMBER_ID_REQUIRED, the id to join with.
    pub(crate) member_id: Arc<str>,
    pub(crate) generation: i32,
    /// The protocol that all members know.
    pub(crate) protocol: String,
    pub(crate) is_leader: bool,
    /// Whether the leader takes the assignment over from the generation's former leader (KIP-814).
    pub(crate) skips_assignment: bool,
    /// For the leader: all members.
    pub(crate) members: Vec<JoinedMember>,
}

/// One of the members among which the leader assigns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id in the group.
    pub id: Arc<str>,
    /// The name by which it comes back.
    pub instance: Option<Arc<str>>,
    /// The word to the leader: a [`Subscription`](super::Subscription).
    pub subscription: Bytes,
}

impl Api for JoinGroupRequest<'_> {
    const KEY: ApiKey = ApiKey::JoinGroup;
    /// Version 5 added names of instances, 9 leaders that skip the assignment.
    const VERSIONS: RangeInclusive<i16> = 5..=9;
    const FLEXIBLE: i16 = 6;
    type Body = body::JoinGroupRequest;
    type Answer = JoinGroupAnswer;

    fn body(&self, _version: i16) -> body::JoinGroupRequest {
        let protocol = |name: &&'static str| {
            body::JoinGroupRequestProtocol::default()
                .with_name(text(name))
                .with_metadata(self.subscription.clone())
        };
        body::JoinGroupRequest::default()
            .with_group_id(group_id(&self.member.group))
            .with_session_timeout_ms(millis(self.session_timeout))
            .with_rebalance_timeout_ms(millis(self.rebalance_timeout))
            .with_member_id(text(&self.member.id))
            .with_group_instance_id(self.member.instance.as_deref().map(text))
            .with_protocol_type(text(CONSUMER))
            .with_protocols(self.protocols.iter().map(protocol).collect())
    }

    fn decode(&self, wire: &mut Wire, version: i16) -> Result<JoinGroupAnswer, WireError> {
        wire.take_throttle_time(true)?;
        let error = ErrorCode::of(wire.i16()?);
        let generation = wire.i32()?;
        if version >= 7 {
            wire.string()?; // the protocols' type
        }
        let protocol = wire.string()?;
        let leader = wire.string()?;
        let skips_assignment = version >= 9 && wire.i8()? != 0;
        let member_id = wire.string()?;
        let mut members = Vec::new();
        for _ in 0..wire.array(4)? {
            let (id, instance) = (wire.string()?.into(), wire.name()?);
            members.push(JoinedMember { id, instance, subscription: wire.bytes()? });
            wire.end()?;
        }
        let is_leader = error.is_none() && leader == member_id;
        let member_id = member_id.into();
        Ok(JoinGroupAnswer { error, member_id, generation, protocol, is_leader, skips_assignment, members })
    }
}

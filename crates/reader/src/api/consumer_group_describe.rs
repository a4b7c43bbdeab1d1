//! ConsumerGroupDescribe: the members of a group that has members of KIP-848's protocol, of which DescribeGroups tells
//! nothing.

use std::ops::RangeInclusive;

use kafka_protocol::messages::{ApiKey, consumer_group_describe_request as body};

use super::{Api, Subscription, group_id};
use crate::error::ErrorCode;
use crate::wire::{Wire, WireError};

pub(crate) struct ConsumerGroupDescribeRequest<'a> {
    pub(crate) group: &'a str,
    /// The member to tell of.
    pub(crate) instance: &'a str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConsumerGroupDescribeAnswer {
    pub(crate) error: Option<ErrorCode>,
    /// `None` if the group has no such member.
    pub(crate) subscription: Option<Subscription>,
}

impl Api for ConsumerGroupDescribeRequest<'_> {
    const KEY: ApiKey = ApiKey::ConsumerGroupDescribe;
    const VERSIONS: RangeInclusive<i16> = 0..=1;
    const FLEXIBLE: i16 = 0;
    type Body = body::ConsumerGroupDescribeRequest;
    type Answer = ConsumerGroupDescribeAnswer;

    fn body(&self, _version: i16) -> body::ConsumerGroupDescribeRequest {
        body::ConsumerGroupDescribeRequest::default().with_group_ids(vec![group_id(self.group)])
    }

    fn decode(&self, wire: &mut Wire, version: i16) -> Result<ConsumerGroupDescribeAnswer, WireError> {
        wire.take_throttle_time(true)?;
        let mut found = None;
        for _ in 0..wire.array(20)? {
            let error = ErrorCode::of(wire.i16()?);
            wire.string()?; // the error's message
            let is_it = wire.string()? == self.group;
            wire.string()?; // its state
            wire.i32()?; // its epoch
            wire.i32()?; // the epoch of its assignment
            wire.string()?; // its assignor
            let mut subscription = None;
            for _ in 0..wire.array(15)? {
                wire.string()?; // the member's id
                let is_member = wire.string()? == self.instance;
                let rack = wire.name()?;
                wire.i32()?; // its epoch
                wire.string()?; // its client id
                wire.string()?; // its host
                let topics = (0..wire.array(1)?).map(|_| Ok(wire.string()?.into()));
                let topics = topics.collect::<Result<_, WireError>>()?;
                wire.string()?; // a pattern of topics
                assignment(wire)?;
                assignment(wire)?; // the one that it shall have
                if version >= 1 {
                    wire.i8()?; // its protocol
                }
                wire.end()?;
                if is_member {
                    subscription = Some(Subscription { topics, rack });
                }
            }
            wire.i32()?; // authorized operations
            wire.end()?;
            if is_it {
                found = Some(ConsumerGroupDescribeAnswer { error, subscription });
            }
        }
        found.ok_or(WireError::Group)
    }
}

fn assignment(wire: &mut Wire) -> Result<(), WireError> {
    for _ in 0..wire.array(19)? {
        wire.uuid()?;
        wire.string()?; // the topic's name
        for _ in 0..wire.array(4)? {
            wire.i32()?; // a partition
        }
        wire.end()?;
    }
    wire.end()
}

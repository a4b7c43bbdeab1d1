//! OffsetCommit: keeps positions in a group.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use kafka_protocol::messages::{ApiKey, offset_commit_request as body};

use super::{Api, GroupMember, GroupOffset, group_id, text, topic_name};
use crate::error::ErrorCode;
use crate::wire::{Wire, WireError};

pub(crate) struct OffsetCommitRequest<'a> {
    pub(crate) member: &'a GroupMember,
    pub(crate) offsets: &'a [GroupOffset],
}

impl Api for OffsetCommitRequest<'_> {
    const KEY: ApiKey = ApiKey::OffsetCommit;
    /// Version 7 added names of instances. Version 9 is for members of another protocol (KIP-848).
    const VERSIONS: RangeInclusive<i16> = 7..=8;
    const FLEXIBLE: i16 = 8;
    type Body = body::OffsetCommitRequest;
    /// One per offset of the request, in its order.
    type Answer = Vec<Option<ErrorCode>>;

    fn body(&self, _version: i16) -> body::OffsetCommitRequest {
        let partition = |of: &GroupOffset| {
            body::OffsetCommitRequestPartition::default()
                .with_partition_index(of.partition)
                .with_committed_offset(of.offset)
                .with_committed_metadata(Some(text(&of.metadata)))
        };
        let mut topics = BTreeMap::<&str, Vec<_>>::new();
        for of in self.offsets {
            topics.entry(&of.topic).or_default().push(partition(of));
        }
        let topic = |(name, partitions): (&str, _)| {
            body::OffsetCommitRequestTopic::default().with_name(topic_name(name)).with_partitions(partitions)
        };
        body::OffsetCommitRequest::default()
            .with_group_id(group_id(&self.member.group))
            .with_generation_id_or_member_epoch(self.member.generation)
            .with_member_id(text(&self.member.id))
            .with_group_instance_id(self.member.instance.as_deref().map(text))
            .with_topics(topics.into_iter().map(topic).collect())
    }

    fn decode(&self, wire: &mut Wire, _version: i16) -> Result<Vec<Option<ErrorCode>>, WireError> {
        wire.take_throttle_time(true)?;
        let mut answered = BTreeMap::new();
        for _ in 0..wire.array(3)? {
            let topic = wire.string()?;
            for _ in 0..wire.array(6)? {
                let (partition, error) = (wire.i32()?, ErrorCode::of(wire.i16()?));
                wire.end()?;
                answered.insert((topic.clone(), partition), error);
            }
            wire.end()?;
        }
        let of = |of: &GroupOffset| answered.get(&(of.topic.to_string(), of.partition)).copied();
        self.offsets.iter().map(of).collect::<Option<_>>().ok_or(WireError::Partition)
    }
}

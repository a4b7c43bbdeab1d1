//! The decoders of brokers' answers, for tests of other crates.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::api::{
    self, Api, AskedOffset, Assignment, ConfigRequest, ConsumerGroupDescribeRequest, DescribeGroupsRequest,
    DescribeProducersRequest, EpochEndRequest, FetchPartition, FetchRequest, FindCoordinatorRequest,
    GroupMember, GroupOffset, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, ListOffsetsRequest,
    MetadataRequest, OffsetCommitRequest, OffsetFetchRequest, ProduceRequest, Resource,
    SaslAuthenticateRequest, SaslHandshakeRequest, Subscription, SyncGroupRequest, VersionsRequest,
};

pub use crate::sasl::check_challenge;

/// Decodes an answer to the request number `request` of nineteen in a version of ours, without its correlation id. Gives
/// whether it is one. The requests are about the partitions 0 and 1 of the topic `t`, whose id is 1, and about the group `g`.
///
/// # Panics
/// If more is decoded than the answer can have.
pub fn answer(request: u8, version: u8, answer: &Bytes) -> bool {
    read(request % 19, version, answer).is_some()
}

fn read(request: u8, version: u8, answer: &Bytes) -> Option<()> {
    let bounded = |count: usize| assert!(count <= answer.len(), "{count} parts of {} bytes", answer.len());
    let member = &GroupMember::new("g".into(), Some("i".into()));
    let (logs, subscription) = ([0, 1].map(|partition| ("t".into(), partition)), &Bytes::new());
    let time = Duration::from_secs(1);
    match request {
        0 => decode(&VersionsRequest, version, answer).map(drop),
        1 => decode(&SaslHandshakeRequest { mechanism: "PLAIN" }, version, answer).map(drop),
        2 => decode(&SaslAuthenticateRequest { message: Bytes::new() }, version, answer).map(drop),
        3 => decode(&MetadataRequest { topics: Some(vec!["t".into()]) }, version, answer).map(drop),
        4 => {
            let asked =
                |partition| AskedOffset { topic: "t".into(), partition, timestamp: -1, leader_epoch: -1 };
            let request = ListOffsetsRequest { committed: true, partitions: [0, 1].map(asked).into() };
            let offsets = decode(&request, version, answer)?;
            assert_eq!(offsets.len(), request.partitions.len());
            Some(())
        }
        5 => {
            let request = EpochEndRequest { topic: "t", partition: 0, leader_epoch: 3, epoch: 2 };
            decode(&request, version, answer).map(drop)
        }
        6 => {
            let (resource, name) = (Resource::Topic("t"), Some("retention.ms"));
            decode(&ConfigRequest { resource, name }, version, answer).map(drop)
        }
        7 => {
            let (topic, topic_id) = ("t", (version > 12).then_some(1));
            let (leader_epoch, offset, max_bytes) = (3, 42, 1 << 20);
            let of =
                |partition| FetchPartition { topic, topic_id, partition, leader_epoch, offset, max_bytes };
            let partitions = [0, 1].map(of).into();
            let request = FetchRequest { partitions, max_bytes, max_wait: 0, committed: true, rack: None };
            let partitions = decode(&request, version, answer)?;
            assert_eq!(partitions.len(), request.partitions.len());
            bounded(partitions.iter().map(|partition| partition.records.len()).sum());
            Some(())
        }
        8 => decode(&FindCoordinatorRequest { group: "g".to_owned() }, version, answer).map(drop),
        9 => {
            let (session_timeout, rebalance_timeout, protocols) = (time, time, &["range"]);
            let request =
                JoinGroupRequest { member, session_timeout, rebalance_timeout, protocols, subscription };
            let joined = decode(&request, version, answer)?;
            joined.members.into_iter().for_each(|member| drop(Subscription::decode(member.subscription)));
            Some(())
        }
        10 => {
            let request = SyncGroupRequest { member, protocol: "range", assignments: &[] };
            let Assignment(logs) = Assignment::decode(decode(&request, version, answer)?.assignment)?;
            bounded(logs.len());
            Some(())
        }
        11 => decode(&HeartbeatRequest(member), version, answer).map(drop),
        12 => decode(&LeaveGroupRequest(member), version, answer).map(drop),
        13 => {
            let metadata = Arc::<str>::default();
            let of =
                |(topic, partition)| GroupOffset { topic, partition, offset: 0, metadata: metadata.clone() };
            let offsets = &logs.map(of);
            let answered = decode(&OffsetCommitRequest { member, offsets }, version, answer)?;
            assert_eq!(answered.len(), offsets.len());
            Some(())
        }
        14 => {
            let answered = decode(&OffsetFetchRequest { group: "g", logs: &logs }, version, answer)?;
            assert!(answered.error.is_some() || answered.offsets.len() == logs.len());
            Some(())
        }
        15 => decode(&DescribeGroupsRequest { group: "g" }, version, answer).map(drop),
        16 => decode(&ConsumerGroupDescribeRequest { group: "g", instance: "i" }, version, answer).map(drop),
        17 => {
            let (timeout, batch) = (Duration::ZERO, &Bytes::new());
            let request = ProduceRequest { topic: "t", topic_id: Some(1), partition: 0, timeout, batch };
            decode(&request, version, answer).map(drop)
        }
        _ => {
            let request = DescribeProducersRequest { topic: "t", partition: 0, from_id: 0 };
            bounded(decode(&request, version, answer)?.producers.len());
            Some(())
        }
    }
}

#[cfg(test)]
pub(crate) fn target(topic: &str, partition: i32) -> crate::topic_partition::TopicPartition<'_> {
    let log = sluicegate_shared_log::Log { topic, partition };
    crate::topic_partition::TopicPartition::parse(log).expect("a valid partition")
}

fn decode<A: Api>(request: &A, version: u8, answer: &Bytes) -> Option<A::Answer> {
    let (first, last) = A::VERSIONS.into_inner();
    let version = i16::from(version).clamp(first, last);
    api::decode(request, version, answer.clone()).ok().map(|(answer, _)| answer)
}

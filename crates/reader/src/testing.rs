//! The decoders of brokers' answers, for tests of other crates.

use bytes::Bytes;

use crate::api::{
    self, Api, AskedOffset, EpochEndRequest, FetchPartition, FetchRequest, ListOffsetsRequest,
    MetadataRequest, SaslAuthenticateRequest, SaslHandshakeRequest, TopicConfigRequest, VersionsRequest,
};

pub use crate::sasl::check_challenge;

/// Decodes an answer to the request number `request` of eight in a version of ours, without its correlation id. Gives
/// whether it is one. The requests are about the partitions 0 and 1 of the topic `t`, whose id is 1.
///
/// # Panics
/// If more is decoded than the answer can have.
pub fn answer(request: u8, version: u8, answer: &Bytes) -> bool {
    match request & 7 {
        0 => decode(&VersionsRequest, version, answer).is_some(),
        1 => decode(&SaslHandshakeRequest { mechanism: "PLAIN" }, version, answer).is_some(),
        2 => decode(&SaslAuthenticateRequest { message: Bytes::new() }, version, answer).is_some(),
        3 => decode(&MetadataRequest { topics: Some(vec!["t".into()]) }, version, answer).is_some(),
        4 => offsets(version, answer).is_some(),
        5 => {
            let request = EpochEndRequest { topic: "t", partition: 0, leader_epoch: 3, epoch: 2 };
            decode(&request, version, answer).is_some()
        }
        6 => decode(&TopicConfigRequest { topic: "t", name: "retention.ms" }, version, answer).is_some(),
        _ => fetched(version, answer).is_some(),
    }
}

#[cfg(test)]
pub(crate) fn target(topic: &str, partition: i32) -> crate::topic_partition::TopicPartition<'_> {
    let log = sluicegate_shared_log::Log { topic, partition };
    crate::topic_partition::TopicPartition::parse(log).expect("a valid partition")
}

fn offsets(version: u8, answer: &Bytes) -> Option<()> {
    let asked = |partition| AskedOffset { topic: "t".into(), partition, timestamp: -1, leader_epoch: -1 };
    let request = ListOffsetsRequest { committed: true, partitions: [0, 1].map(asked).into() };
    let offsets = decode(&request, version, answer)?;
    assert_eq!(offsets.len(), request.partitions.len());
    Some(())
}

fn fetched(version: u8, answer: &Bytes) -> Option<()> {
    let topic_id = Some(1).filter(|_| version > 12);
    let partition = |partition| FetchPartition {
        topic: "t",
        topic_id,
        partition,
        leader_epoch: 3,
        offset: 42,
        max_bytes: 1 << 20,
    };
    let partitions = [0, 1].map(partition).into();
    let request = FetchRequest { partitions, max_bytes: 1 << 20, max_wait: 0, committed: true, rack: None };
    let partitions = decode(&request, version, answer)?;
    assert_eq!(partitions.len(), request.partitions.len());
    let records: usize = partitions.iter().map(|partition| partition.records.len()).sum();
    assert!(records <= answer.len(), "{records} bytes of records in {}", answer.len());
    Some(())
}

fn decode<A: Api>(request: &A, version: u8, answer: &Bytes) -> Option<A::Answer> {
    let (first, last) = A::VERSIONS.into_inner();
    let version = i16::from(version).clamp(first, last);
    api::decode(request, version, answer.clone()).ok().map(|(answer, _)| answer)
}

//! The decoders of brokers' answers, for tests of other crates.

use bytes::Bytes;

use crate::api::{
    self, Api, AskedOffset, EpochEndRequest, FetchPartition, FetchRequest, ListOffsetsRequest,
    MetadataRequest, SaslAuthenticateRequest, SaslHandshakeRequest, TopicConfigRequest, VersionsRequest,
};
use crate::wire::WireError;

pub use crate::sasl::check_challenge;

/// Decodes an answer to the request number `request` of eight in a version of ours, without its correlation id.
///
/// # Panics
/// If more is decoded than the answer can have.
pub fn answer(request: u8, version: u8, answer: &Bytes) {
    let asked = |partition| AskedOffset { topic: "t".into(), partition, timestamp: -1, leader_epoch: -1 };
    let fetched = |partition| FetchPartition {
        topic: "t",
        topic_id: None,
        partition,
        leader_epoch: 3,
        offset: 42,
        max_bytes: 1 << 20,
    };
    match request & 7 {
        0 => drop(decode(&VersionsRequest, version, answer)),
        1 => drop(decode(&SaslHandshakeRequest { mechanism: "PLAIN" }, version, answer)),
        2 => drop(decode(&SaslAuthenticateRequest { message: Bytes::new() }, version, answer)),
        3 => drop(decode(&MetadataRequest { topics: Some(vec!["t".into()]) }, version, answer)),
        4 => {
            let request = ListOffsetsRequest { committed: true, partitions: [0, 1].map(asked).into() };
            if let Ok(offsets) = decode(&request, version, answer) {
                assert_eq!(offsets.len(), request.partitions.len());
            }
        }
        5 => {
            let request = EpochEndRequest { topic: "t", partition: 0, leader_epoch: 3, epoch: 2 };
            drop(decode(&request, version, answer));
        }
        6 => drop(decode(&TopicConfigRequest { topic: "t", name: "retention.ms" }, version, answer)),
        _ => {
            let partitions = [0, 1].map(fetched).into();
            let request =
                FetchRequest { partitions, max_bytes: 1 << 20, max_wait: 0, committed: true, rack: None };
            if let Ok(partitions) = decode(&request, version, answer) {
                assert_eq!(partitions.len(), request.partitions.len());
                let records: usize = partitions.iter().map(|partition| partition.records.len()).sum();
                assert!(records <= answer.len(), "{records} bytes of records in {}", answer.len());
            }
        }
    }
}

fn decode<A: Api>(request: &A, version: u8, answer: &Bytes) -> Result<A::Answer, WireError> {
    let (first, last) = A::VERSIONS.into_inner();
    let version = i16::from(version).clamp(first, last);
    api::decode(request, version, answer.clone()).map(|(answer, _)| answer)
}

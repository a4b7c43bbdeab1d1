//! ListOffsets.

use std::collections::BTreeMap;

use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use sluicegate_shared_log::MAX_TIMESTAMP;

use super::*;

pub(in crate::api) fn list_offsets_request() -> ListOffsetsRequest {
    asking(&[("t", 3, -2)])
}

fn asking(partitions: &[(&str, i32, i64)]) -> ListOffsetsRequest {
    let asked = |&(topic, partition, timestamp): &(&str, i32, i64)| AskedOffset {
        topic: topic.to_owned(),
        partition,
        timestamp,
        leader_epoch: 7,
    };
    ListOffsetsRequest { committed: true, partitions: partitions.iter().map(asked).collect() }
}

fn answered(answer: AnsweredOffset) -> BTreeMap<(String, i32), AnsweredOffset> {
    BTreeMap::from([(("t".to_owned(), 3), answer)])
}

#[test]
fn broker_decodes_list_offsets() {
    each(&list_offsets_request(), |version, request: messages::ListOffsetsRequest| {
        assert_eq!((request.replica_id.0, request.isolation_level), (-1, 1));
        let partition = &request.topics[0].partitions[0];
        assert_eq!(&request.topics[0].name.0[..], "t");
        assert_eq!((partition.partition_index, partition.timestamp), (3, -2));
        assert_eq!(partition.current_leader_epoch, if version >= 4 { 7 } else { -1 });
    });
    let request = asking(&[("a", 0, -1), ("a", 1, -1), ("b", 0, 5)]);
    let request: messages::ListOffsetsRequest = received(&request, 7);
    let topics: Vec<_> =
        request.topics.iter().map(|topic| (&topic.name.0[..], topic.partitions.len())).collect();
    assert_eq!(topics, [("a", 2), ("b", 1)]);
}

/// An answer for the partition that was asked for.
pub(super) fn response(partition: ListOffsetsPartitionResponse) -> ListOffsetsResponse {
    let partitions = vec![partition.with_partition_index(3)];
    let topic = ListOffsetsTopicResponse::default().with_name(topic_name("t")).with_partitions(partitions);
    ListOffsetsResponse::default().with_topics(vec![topic])
}

#[test]
fn offsets_are_decoded() {
    let found = |version| {
        let found = ListOffsetsPartitionResponse::default().with_timestamp(5).with_offset(42);
        response(found.with_leader_epoch(if version >= 4 { 9 } else { -1 }))
    };
    check(&list_offsets_request(), found, |_| {
        answered(AnsweredOffset { error: None, timestamp: 5, offset: 42 })
    });
}

#[test]
fn latest_timestamp_is_an_error_before_version_7() {
    let request = asking(&[("t", 3, MAX_TIMESTAMP)]);
    check(
        &request,
        |_| response(ListOffsetsPartitionResponse::default()),
        |version| {
            let error = if version < 7 { ErrorCode::of(35) } else { None };
            answered(AnsweredOffset { error, timestamp: -1, offset: -1 })
        },
    );
}

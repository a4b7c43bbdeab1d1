//! OffsetForLeaderEpoch.

use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};

use super::*;

pub(super) fn epoch_end_request() -> EpochEndRequest<'static> {
    EpochEndRequest { topic: "t", partition: 3, leader_epoch: 7, epoch: 5 }
}

pub(super) fn response(partition: EpochEndOffset) -> OffsetForLeaderEpochResponse {
    let topic =
        OffsetForLeaderTopicResult::default().with_topic(topic_name("t")).with_partitions(vec![partition]);
    OffsetForLeaderEpochResponse::default().with_topics(vec![topic])
}

#[test]
fn epoch_end_is_asked_for_and_decoded() {
    let partition = || EpochEndOffset::default().with_partition(3);
    for (partition, error, offset) in [
        (partition().with_leader_epoch(4).with_end_offset(42), None, 42),
        (partition().with_error_code(74), ErrorCode::of(74), -1),
    ] {
        let response = response(partition);
        check(&epoch_end_request(), |_| response.clone(), |_| EpochEndAnswer { error, offset });
    }
    for version in EpochEndRequest::VERSIONS {
        let request: messages::OffsetForLeaderEpochRequest = received(&epoch_end_request(), version);
        let partition = &request.topics[0].partitions[0];
        assert_eq!((request.replica_id.0, &request.topics[0].topic.0[..]), (-1, "t"));
        assert_eq!((partition.partition, partition.current_leader_epoch, partition.leader_epoch), (3, 7, 5));
    }
}

//! ListOffsets and OffsetForLeaderEpoch: where logs begin and end, and where the records of an epoch do.

use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{ListOffsetsRequest, OffsetForLeaderEpochRequest};

use super::super::State;
use super::super::batch::TIMESTAMP;
use super::served::{Reader, Served};

pub(super) fn list(state: &State, broker: usize, request: &ListOffsetsRequest) -> ListOffsetsResponse {
    let committed = request.isolation_level == 1;
    let topics = request.topics.iter().map(|asked| {
        let topic = state.topics.get(asked.name.as_str());
        let partition = |partition: &ListOffsetsPartition| {
            let place = (partition.partition_index, partition.current_leader_epoch);
            let answer =
                ListOffsetsPartitionResponse::default().with_partition_index(partition.partition_index);
            match Served::of(state, broker, topic, place, Reader::OfLeaders) {
                Err(code) => answer.with_error_code(code),
                Ok(served) if partition.timestamp == -1 && served.is_new() => {
                    answer.with_error_code(OFFSET_NOT_AVAILABLE)
                }
                Ok(served) => {
                    let (timestamp, offset) = find(&served, partition.timestamp, committed);
                    answer.with_timestamp(timestamp).with_offset(offset)
                }
            }
        };
        ListOffsetsTopicResponse::default()
            .with_name(asked.name.clone())
            .with_partitions(asked.partitions.iter().map(partition).collect())
    });
    ListOffsetsResponse::default().with_topics(topics.collect())
}

/// The timestamp and offset that a timestamp asks for.
fn find(served: &Served<'_>, timestamp: i64, committed: bool) -> (i64, i64) {
    let end = if committed { served.stable } else { served.committed };
    let first = || served.log.batches.keys().map(|base| (*base).max(served.start)).find(|base| *base < end);
    match timestamp {
        -1 => (-1, end),
        -2 => (-1, served.start),
        timestamp if timestamp > TIMESTAMP => (-1, -1),
        _ => first().map_or((-1, -1), |first| (TIMESTAMP, first)),
    }
}

pub(super) fn ends_of_epochs(
    state: &State,
    broker: usize,
    request: &OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.iter().map(|asked| {
        let topic = state.topics.get(asked.topic.as_str());
        let partitions = asked.partitions.iter().map(|partition| {
            let answer = EpochEndOffset::default().with_partition(partition.partition);
            let place = (partition.partition, partition.current_leader_epoch);
            match Served::of(state, broker, topic, place, Reader::OfLeaders) {
                Err(code) => answer.with_error_code(code),
                Ok(served) => match served.log.end_of_epoch(partition.leader_epoch) {
                    None => answer.with_leader_epoch(-1).with_end_offset(-1),
                    Some((epoch, end)) => answer.with_leader_epoch(epoch).with_end_offset(end),
                },
            }
        });
        OffsetForLeaderTopicResult::default()
            .with_topic(asked.topic.clone())
            .with_partitions(partitions.collect())
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}

const OFFSET_NOT_AVAILABLE: i16 = 78;

//! Writes of producers, and what a partition tells of them.

use std::collections::HashMap;

use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{ProduceResponse, describe_producers_response as told};
use uuid::Uuid;

use super::*;
use crate::api::describe_producers::DescribeProducersAnswer;

static BATCH: Bytes = Bytes::from_static(b"batch");

fn request(topic_id: Option<u128>) -> ProduceRequest<'static> {
    ProduceRequest { topic: "t", topic_id, partition: 3, timeout: Duration::from_secs(2), batch: &BATCH }
}

#[test]
fn batches_are_sent_and_their_places_decoded() {
    let response = |version: i16| {
        let invalid = BatchIndexAndErrorMessage::default().with_batch_index(1);
        let partition = PartitionProduceResponse::default()
            .with_index(3)
            .with_error_code(45)
            .with_base_offset(7)
            .with_log_append_time_ms(9)
            .with_log_start_offset(if version >= 5 { 1 } else { -1 })
            .with_record_errors(if version >= 8 { vec![invalid] } else { Vec::new() });
        let leader = LeaderIdAndEpoch::default().with_leader_id(2.into()).with_leader_epoch(4);
        let partition = if version >= 10 { partition.with_current_leader(leader) } else { partition };
        let topic = TopicProduceResponse::default().with_partition_responses(vec![partition]);
        let topic = match version {
            13.. => topic.with_topic_id(Uuid::from_u128(ID)),
            _ => topic.with_name(topic_name("t")),
        };
        ProduceResponse::default().with_responses(vec![topic])
    };
    let want = |version: i16| ProduceAnswer {
        error: ErrorCode::of(45),
        offset: 7,
        appended_at: 9,
        invalid: if version >= 8 { vec![1] } else { Vec::new() },
    };
    for topic_id in [Some(ID), None] {
        let request = request(topic_id);
        check(&request, response, want);
        for version in 3..=request.max_version() {
            let sent: messages::ProduceRequest = received(&request, version);
            let (topic, partition) = (&sent.topic_data[0], &sent.topic_data[0].partition_data[0]);
            assert_eq!((sent.acks, sent.timeout_ms, sent.transactional_id), (-1, 2_000, None));
            assert_eq!((partition.index, partition.records.as_ref()), (3, Some(&BATCH)));
            match version {
                13.. => assert_eq!(topic.topic_id.as_u128(), ID),
                _ => assert_eq!(&topic.name.0[..], "t"),
            }
        }
    }
}

#[test]
fn producers_are_asked_for_and_decoded() {
    let request = DescribeProducersRequest { topic: "t", partition: 3, from_id: 10 };
    let producer = |id: i64| {
        told::ProducerState::default()
            .with_producer_id(id.into())
            .with_producer_epoch(2)
            .with_last_sequence(5)
            .with_last_timestamp(6)
    };
    let partition = told::PartitionResponse::default()
        .with_partition_index(3)
        .with_active_producers([9, 10, 11].map(producer).to_vec());
    let other = told::PartitionResponse::default().with_partition_index(4).with_error_code(6);
    let topic =
        told::TopicResponse::default().with_name(topic_name("t")).with_partitions(vec![partition, other]);
    let response = messages::DescribeProducersResponse::default().with_topics(vec![topic]);
    let known = KnownProducer { epoch: 2, last_sequence: 5, last_timestamp: 6 };
    let producers = || HashMap::from([(10, known), (11, known)]);
    check(
        &request,
        |_| response.clone(),
        |_| DescribeProducersAnswer { error: None, producers: producers() },
    );
    let sent: messages::DescribeProducersRequest = received(&request, 0);
    assert_eq!((&sent.topics[0].name.0[..], &sent.topics[0].partition_indexes[..]), ("t", &[3][..]));
}

//! Fetch.

use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, FetchResponse, FetchableTopicResponse, PartitionData,
};

use super::*;

pub(in crate::api) fn fetch_partition(partition: i32) -> FetchPartition<'static> {
    FetchPartition {
        topic: "t",
        topic_id: Some(ID),
        partition,
        leader_epoch: 7,
        offset: 1 << 40,
        max_bytes: 5_000,
    }
}

pub(in crate::api) fn fetch_request() -> FetchRequest<'static> {
    FetchRequest {
        partitions: vec![fetch_partition(3)],
        max_bytes: 6_000,
        max_wait: 250,
        committed: true,
        rack: Some(StrBytes::from_static_str("r")),
    }
}

#[test]
fn broker_decodes_fetch() {
    each(&fetch_request(), |version, request: messages::FetchRequest| {
        assert_eq!((request.replica_id.0, request.isolation_level), (-1, 1));
        assert_eq!((request.max_wait_ms, request.min_bytes, request.max_bytes), (250, 1, 6_000));
        assert_eq!((request.session_id, request.session_epoch), (0, -1));
        let topic = &request.topics[0];
        let (name, id) = if version >= 13 { ("", ID) } else { ("t", 0) };
        assert_eq!((&topic.topic.0[..], topic.topic_id.as_u128()), (name, id), "version {version}");
        assert_eq!((request.topics.len(), topic.partitions.len()), (1, 1));
        assert_eq!(&request.rack_id[..], if version >= 11 { "r" } else { "" });
        let partition = &topic.partitions[0];
        assert_eq!((partition.partition, partition.fetch_offset), (3, 1 << 40));
        assert_eq!(partition.partition_max_bytes, 5_000);
        assert_eq!(partition.current_leader_epoch, if version >= 9 { 7 } else { -1 });
    });
}

pub(super) fn fetch_response(version: i16, topic: &'static str, partition: i32) -> FetchResponse {
    let aborted = AbortedTransaction::default().with_producer_id(1.into()).with_first_offset(2);
    let data = PartitionData::default()
        .with_partition_index(partition)
        .with_high_watermark(100)
        .with_last_stable_offset(90)
        .with_log_start_offset(10)
        .with_aborted_transactions(Some(vec![aborted]))
        .with_preferred_read_replica(if version >= 11 { 5.into() } else { (-1).into() })
        .with_records(Some(Bytes::from_static(b"batches")));
    let id = if topic == "t" { ID } else { ID + 1 };
    let topic = FetchableTopicResponse::default()
        .with_topic(topic_name(topic))
        .with_topic_id(uuid::Uuid::from_u128(id))
        .with_partitions(vec![data]);
    FetchResponse::default().with_responses(vec![topic])
}

fn fetched(version: i16, records: &'static [u8]) -> FetchAnswer {
    FetchAnswer {
        error: None,
        high_watermark: 100,
        last_stable_offset: 90,
        log_start_offset: if version >= 5 { 10 } else { -1 },
        aborted: vec![sluicegate_records::AbortedTransaction { producer_id: 1, first_offset: 2 }],
        preferred_read_replica: (version >= 11).then_some(5),
        records: Bytes::from_static(records),
    }
}

/// Answers keep the order of the request, whatever the order of the response.
#[test]
fn each_partition_has_its_answer() {
    let request = FetchRequest { partitions: [3, 4, 5].map(fetch_partition).to_vec(), ..fetch_request() };
    for order in [[3, 4, 5], [5, 3, 4], [4, 5, 3]] {
        let response = |version| {
            let mut response = fetch_response(version, "t", 3);
            let data = response.responses[0].partitions[0].clone();
            response.responses[0].partitions = order
                .map(|partition| {
                    data.clone().with_partition_index(partition).with_high_watermark(partition.into())
                })
                .to_vec();
            response
        };
        let answer = |version, high_watermark| FetchAnswer { high_watermark, ..fetched(version, b"batches") };
        check(&request, response, |version| [3, 4, 5].map(|end| answer(version, end)).to_vec());
    }
}

#[test]
fn partitions_are_grouped_by_topic() {
    let other =
        |partition| FetchPartition { topic: "u", topic_id: Some(ID + 1), ..fetch_partition(partition) };
    let partitions = vec![fetch_partition(3), fetch_partition(4), other(3)];
    let request = FetchRequest { partitions, ..fetch_request() };
    each(&request, |version, received: messages::FetchRequest| {
        let topics: Vec<Vec<i32>> = received
            .topics
            .iter()
            .map(|topic| topic.partitions.iter().map(|partition| partition.partition).collect())
            .collect();
        assert_eq!(topics, [vec![3, 4], vec![3]], "version {version}");
    });
}

#[test]
fn null_lists_are_empty() {
    let response = |version| {
        let mut response = fetch_response(version, "t", 3);
        response.responses[0].partitions[0].aborted_transactions = None;
        response.responses[0].partitions[0].records = None;
        response
    };
    check(&fetch_request(), response, |version| {
        vec![FetchAnswer { aborted: Vec::new(), ..fetched(version, b"") }]
    });
}

#[test]
fn throttled_fetch_and_error_of_all_partitions_are_recognized() {
    for version in FetchRequest::VERSIONS {
        let bytes = sent(&FetchResponse::default().with_throttle_time_ms(700), version);
        let want = match version {
            ..8 => WireError::Partition,
            _ => WireError::Throttled(Duration::from_millis(700)),
        };
        assert_eq!(read(&fetch_request(), version, bytes), Err(want), "version {version}");
        let bytes = sent(&FetchResponse::default(), version);
        assert_eq!(read(&fetch_request(), version, bytes), Err(WireError::Partition), "version {version}");
    }
    for version in [12, 13] {
        let bytes = sent(&FetchResponse::default().with_error_code(56), version);
        let answer = read(&fetch_request(), version, bytes).expect("an answer");
        assert!(matches!(&answer[..], [answer] if answer.error == ErrorCode::of(56)));
    }
}

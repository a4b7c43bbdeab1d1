//! Metadata.

use kafka_protocol::messages::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};

use super::*;

pub(super) fn metadata_request() -> MetadataRequest {
    MetadataRequest { topics: Some(vec!["t".to_owned(), "u".to_owned()]) }
}

#[test]
fn metadata_request_creates_no_topic() {
    each(&MetadataRequest { topics: None }, |version, all: messages::MetadataRequest| {
        assert_eq!((all.topics, all.allow_auto_topic_creation), (None, false), "version {version}");
        for topics in [Some(Vec::new()), metadata_request().topics] {
            let request: messages::MetadataRequest =
                received(&MetadataRequest { topics: topics.clone() }, version);
            assert!(!request.allow_auto_topic_creation, "version {version}");
            let asked = request.topics.expect("a list");
            let asked: Vec<String> =
                asked.iter().map(|topic| topic.name.clone().unwrap().to_string()).collect();
            assert_eq!(Some(asked), topics, "version {version}");
        }
    });
}

fn metadata_response(version: i16) -> MetadataResponse {
    let partition = MetadataResponsePartition::default()
        .with_partition_index(4)
        .with_leader_id(2.into())
        .with_leader_epoch(if version >= 7 { 9 } else { -1 })
        .with_replica_nodes(vec![2.into(), 1.into(), 3.into()])
        .with_isr_nodes(vec![3.into(), 2.into()])
        .with_offline_replicas(if version >= 5 { vec![1.into()] } else { Vec::new() });
    let topic = MetadataResponseTopic::default()
        .with_name(Some(topic_name("t")))
        .with_topic_id(uuid::Uuid::from_u128(if version >= 10 { ID } else { 0 }))
        .with_partitions(vec![partition]);
    let absent = MetadataResponseTopic::default()
        .with_name(Some(topic_name("u")))
        .with_is_internal(true)
        .with_error_code(3);
    let broker = MetadataResponseBroker::default()
        .with_node_id(2.into())
        .with_host(StrBytes::from_static_str("host"))
        .with_port(9092)
        .with_rack(Some(StrBytes::from_static_str("rack")));
    MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_cluster_id(Some(StrBytes::from_static_str("cluster")))
        .with_topics(vec![topic, absent])
}

fn metadata_answer(version: i16) -> MetadataAnswer {
    let epoch = if version >= 7 { 9 } else { -1 };
    let replicas = [(2, true), (1, false), (3, true)];
    let replicas = replicas.map(|(broker, in_sync)| Replica { broker, in_sync }).into();
    let partitions = vec![PartitionAnswer { error: None, partition: 4, leader: 2, epoch, replicas }];
    let (id, error) = ((version >= 10).then_some(ID), ErrorCode::of(3));
    let absent =
        TopicAnswer { error, name: "u".to_owned(), internal: true, id: None, partitions: Vec::new() };
    MetadataAnswer {
        cluster_id: Some("cluster".to_owned()),
        brokers: vec![(2, "host".to_owned(), 9092)],
        topics: vec![
            TopicAnswer { error: None, name: "t".to_owned(), internal: false, id, partitions },
            absent,
        ],
    }
}

#[test]
fn metadata_is_decoded() {
    check(&metadata_request(), metadata_response, metadata_answer);
    let names_only = |version| {
        let mut answer = metadata_answer(version);
        answer.topics.iter_mut().for_each(|topic| topic.partitions.clear());
        answer
    };
    check(&MetadataRequest { topics: None }, metadata_response, names_only);
}

//! Answers to requests of Kafka's protocol, as brokers of Kafka 4 give them.
//!
//! - here: parses requests; the brokers, topics and settings
//! - [`served`]: which part of a log a broker can serve
//! - [`fetch`], [`offsets`]: records, offsets and ends of epochs; [`produce`]: batches of producers

mod fetch;
mod offsets;
mod produce;
mod served;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::api_versions_response::{ApiVersion, ApiVersionsResponse};
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult,
};
use kafka_protocol::messages::fetch_response::FetchResponse;
use kafka_protocol::messages::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    ApiVersionsRequest, DescribeConfigsRequest, FetchRequest, MetadataRequest, ProduceRequest,
    ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{
    Decodable, Encodable, HeaderVersion, StrBytes, decode_request_header_from_buffer,
};
use tokio::time::Instant;
use uuid::Uuid;

use super::{Kafka, Partition, State};

/// A broker's answer to the request in `frame`, with its length; `None`: no client of the simulation sends such a one.
pub(crate) async fn answer(kafka: &Kafka, broker: usize, mut frame: Bytes) -> Option<Bytes> {
    let header = decode_request_header_from_buffer(&mut frame).ok()?;
    let (version, id) = (header.request_api_version, header.correlation_id);
    let throttled = throttle(&kafka.state(), broker);
    match header.request_api_key {
        0 => {
            let request = ProduceRequest::decode(&mut frame, version).ok()?;
            encode(id, version, &produce::answer(kafka, broker, &request).await)
        }
        1 => {
            let request = FetchRequest::decode(&mut frame, version).ok()?;
            match throttled {
                0 => encode(id, version, &fetch::answer(kafka, broker, &request).await),
                millis => encode(id, version, &FetchResponse::default().with_throttle_time_ms(millis)),
            }
        }
        2 => answered(frame, id, version, |asked| offsets::list(&kafka.state(), broker, &asked)),
        3 => answered(frame, id, version, |asked| metadata(&kafka.state(), broker, &asked)),
        18 => answered(frame, id, version, |_: ApiVersionsRequest| versions()),
        23 => answered(frame, id, version, |asked| offsets::ends_of_epochs(&kafka.state(), broker, &asked)),
        32 => answered(frame, id, version, |asked| configs(&kafka.state(), &asked)),
        61 => answered(frame, id, version, |asked| produce::producers(&kafka.state(), broker, &asked)),
        _ => None,
    }
}

/// The answer to a request that needs no wait.
fn answered<Q: Decodable, R: Encodable + HeaderVersion>(
    mut frame: Bytes,
    id: i32,
    version: i16,
    answer: impl FnOnce(Q) -> R,
) -> Option<Bytes> {
    encode(id, version, &answer(Q::decode(&mut frame, version).ok()?))
}

fn encode<R: Encodable + HeaderVersion>(id: i32, version: i16, response: &R) -> Option<Bytes> {
    let mut body = BytesMut::new();
    let header = ResponseHeader::default().with_correlation_id(id);
    header.encode(&mut body, R::header_version(version)).ok()?;
    response.encode(&mut body, version).ok()?;
    let len = i32::try_from(body.len()).ok()?;
    Some([&len.to_be_bytes()[..], &body].concat().into())
}

fn throttle(state: &State, broker: usize) -> i32 {
    let throttles = state.brokers.get(broker).and_then(|broker| broker.throttles);
    let delay =
        throttles.filter(|(_, until)| Instant::now() < *until).map_or(Duration::ZERO, |(delay, _)| delay);
    i32::try_from(delay.as_millis()).unwrap_or(0)
}

fn versions() -> ApiVersionsResponse {
    let speaks =
        |(key, min, max)| ApiVersion::default().with_api_key(key).with_min_version(min).with_max_version(max);
    let keys =
        [(0, 3, 13), (1, 4, 18), (2, 1, 11), (3, 0, 13), (18, 0, 4), (23, 2, 4), (32, 1, 4), (61, 0, 0)];
    ApiVersionsResponse::default().with_api_keys(keys.map(speaks).to_vec())
}

fn metadata(state: &State, asked: usize, request: &MetadataRequest) -> MetadataResponse {
    let lag = state.brokers.get(asked).map_or(Duration::ZERO, |broker| broker.lag);
    let brokers = state.brokers.iter().enumerate().filter(|(_, broker)| broker.is_up).map(|(number, _)| {
        MetadataResponseBroker::default()
            .with_node_id(node(number).into())
            .with_host(StrBytes::from_string(host(number)))
            .with_port(PORT)
    });
    let partition = |(number, partition): (usize, &Partition)| {
        let leader = partition.leader_known_after(lag);
        let replicas: Vec<_> = (0..state.brokers.len()).map(|number| node(number).into()).collect();
        MetadataResponsePartition::default()
            .with_partition_index(small(number))
            .with_leader_id(node(leader.broker).into())
            .with_leader_epoch(leader.epoch)
            .with_replica_nodes(replicas.clone())
            .with_isr_nodes(replicas)
    };
    let topic = |name: &str| {
        let answer = MetadataResponseTopic::default()
            .with_name(Some(TopicName(StrBytes::from_string(name.to_owned()))));
        match state.topics.get(name) {
            None => answer.with_error_code(UNKNOWN_TOPIC_OR_PARTITION),
            Some(topic) => answer
                .with_topic_id(Uuid::from_u128(topic.id))
                .with_partitions(topic.partitions.iter().enumerate().map(partition).collect()),
        }
    };
    let topics = match &request.topics {
        None => state.topics.keys().map(|name| topic(name)).collect(),
        Some(topics) => {
            topics.iter().flat_map(|asked| &asked.name).map(|name| topic(name.as_str())).collect()
        }
    };
    MetadataResponse::default().with_brokers(brokers.collect()).with_topics(topics)
}

/// Of `delete.retention.ms` for a topic, and `producer.id.expiration.ms` for a broker.
fn configs(state: &State, request: &DescribeConfigsRequest) -> DescribeConfigsResponse {
    let results = request.resources.iter().map(|resource| {
        let topic = state.topics.get(resource.resource_name.as_str());
        let life = match resource.resource_type {
            BROKER => Some(state.producer_life),
            _ => topic.map(|topic| topic.tombstone_life),
        };
        let millis = life.map(|life| StrBytes::from_string(life.as_millis().to_string()));
        let result = |name: &StrBytes| {
            DescribeConfigsResourceResult::default().with_name(name.clone()).with_value(millis.clone())
        };
        DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone())
            .with_configs(resource.configuration_keys.iter().flatten().map(result).collect())
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

/// The host name of a broker.
pub(crate) fn host(broker: usize) -> String {
    format!("broker-{broker}")
}

/// The broker with this host name.
pub(crate) fn broker_of(host: &str) -> Option<usize> {
    host.strip_prefix("broker-")?.parse().ok()
}

fn node(broker: usize) -> i32 {
    small(broker + 1)
}

fn small(number: usize) -> i32 {
    number.try_into().unwrap_or(i32::MAX)
}

/// The type of a broker among resources.
const BROKER: i8 = 4;

/// The port of all brokers.
pub(crate) const PORT: i32 = 9092;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const NOT_LEADER_OR_FOLLOWER: i16 = 6;
const UNKNOWN_TOPIC_ID: i16 = 100;

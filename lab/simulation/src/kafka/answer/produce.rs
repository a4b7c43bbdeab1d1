//! Produce: a batch of an idempotent producer, which all replicas get later. DescribeProducers: what a partition knows of
//! them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kafka_protocol::messages::describe_producers_response::{
    DescribeProducersResponse, PartitionResponse, ProducerState, TopicResponse,
};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{DescribeProducersRequest, ProduceRequest, ProduceResponse};
use kafka_protocol::records::RecordBatchDecoder;
use tokio::time::sleep;

use super::super::{Kafka, Partition, State};
use super::served::{Reader, Served};
use super::{NOT_LEADER_OR_FOLLOWER, UNKNOWN_TOPIC_ID, UNKNOWN_TOPIC_OR_PARTITION};

/// The batch's place, once replicas have it.
pub(super) async fn answer(kafka: &Kafka, broker: usize, request: &ProduceRequest) -> ProduceResponse {
    let mut responses = Vec::new();
    for topic in &request.topic_data {
        let mut partitions = Vec::new();
        for data in &topic.partition_data {
            let batch = data.records.clone().unwrap_or_default();
            let written = write(kafka, broker, topic.topic_id.as_u128(), data.index, batch).await;
            let (code, base) = written.map_or_else(|code| (code, -1), |base| (0, base));
            let partition = PartitionProduceResponse::default().with_index(data.index);
            partitions.push(partition.with_error_code(code).with_base_offset(base));
        }
        let response = TopicProduceResponse::default().with_topic_id(topic.topic_id);
        responses.push(response.with_partition_responses(partitions));
    }
    ProduceResponse::default().with_responses(responses)
}

async fn write(
    kafka: &Kafka,
    broker: usize,
    topic_id: u128,
    index: i32,
    mut batch: bytes::Bytes,
) -> Result<i64, i16> {
    let records = RecordBatchDecoder::decode(&mut batch).map_err(|_| CORRUPT_MESSAGE)?.records;
    let first = records.first().ok_or(CORRUPT_MESSAGE)?;
    let claim = (first.producer_id, first.producer_epoch, first.sequence);
    let entries = records.iter().map(|record| (record.key.clone(), record.value.clone())).collect();
    let number = usize::try_from(index).map_err(|_| UNKNOWN_TOPIC_OR_PARTITION)?;
    let (name, epoch, base, end) = kafka.change(|state| {
        let name = state.topics.iter().find(|(_, topic)| topic.id == topic_id).map(|(name, _)| name.clone());
        let name = name.ok_or(UNKNOWN_TOPIC_ID)?;
        leads(state, &name, index, broker)?;
        let life = state.producer_life;
        let log = state.log(&name, number).ok_or(UNKNOWN_TOPIC_OR_PARTITION)?;
        let base = log.append_once(claim, entries, life)?;
        Ok::<_, i16>((name, log.epoch, base, log.end))
    })?;
    sleep(Duration::from_micros(fastrand::u64(..60_000))).await;
    kafka.replicate(&name, number, (topic_id, epoch), end);
    let mut state = kafka.state();
    let is_it = state.topics.get(&name).is_some_and(|topic| topic.id == topic_id);
    let log = state.log(&name, number).filter(|log| is_it && log.has_kept((epoch, end - 1), log.epoch));
    match log.is_some_and(|log| log.committed >= end) {
        true => Ok(base),
        false if fastrand::bool() => Err(NOT_ENOUGH_REPLICAS_AFTER_APPEND),
        false => Err(NOT_LEADER_OR_FOLLOWER),
    }
}

/// Checks that a broker is the leader of a partition, and knows it.
fn leads(state: &State, name: &str, index: i32, broker: usize) -> Result<(), i16> {
    let topic = state.topics.get(name);
    let served = Served::of(state, broker, topic, (index, -1), Reader::OfLeaders)?;
    let number = usize::try_from(index).unwrap_or(usize::MAX);
    let leader = state.partition(name, number).map(Partition::leader);
    match leader.is_some_and(|leader| (leader.broker, leader.epoch) == (broker, served.log.epoch)) {
        true => Ok(()),
        false => Err(NOT_LEADER_OR_FOLLOWER),
    }
}

pub(super) fn producers(
    state: &State,
    broker: usize,
    request: &DescribeProducersRequest,
) -> DescribeProducersResponse {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let topics = request.topics.iter().map(|asked| {
        let partition = |index: &i32| {
            let answer = PartitionResponse::default().with_partition_index(*index);
            if let Err(code) = leads(state, asked.name.as_str(), *index, broker) {
                return answer.with_error_code(code);
            }
            let number = usize::try_from(*index).unwrap_or(usize::MAX);
            let known = state.partition(asked.name.as_str(), number).into_iter();
            let known = known.flat_map(|partition| partition.log.producers(state.producer_life));
            let producers = known.map(|known| {
                let at = now.saturating_sub(known.at.elapsed());
                ProducerState::default()
                    .with_producer_id(known.id.into())
                    .with_producer_epoch(known.epoch.into())
                    .with_last_sequence(known.last)
                    .with_last_timestamp(i64::try_from(at.as_millis()).unwrap_or(0))
            });
            answer.with_active_producers(producers.collect())
        };
        TopicResponse::default()
            .with_name(asked.name.clone())
            .with_partitions(asked.partition_indexes.iter().map(partition).collect())
    });
    DescribeProducersResponse::default().with_topics(topics.collect())
}

const CORRUPT_MESSAGE: i16 = 2;
const NOT_ENOUGH_REPLICAS_AFTER_APPEND: i16 = 20;

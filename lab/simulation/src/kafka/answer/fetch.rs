//! Fetch: batches from an offset on, or a wait until there are some.

use std::time::Duration;

use bytes::BytesMut;
use kafka_protocol::messages::FetchRequest;
use kafka_protocol::messages::fetch_request::FetchPartition;
use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, FetchResponse, FetchableTopicResponse, PartitionData,
};
use tokio::time::{Instant, timeout_at};

use super::super::{Kafka, State, Topic, batch};
use super::served::{Reader, Served};
use super::{UNKNOWN_TOPIC_ID, node};

/// Answers at once if there are records or an error, else after the request's wait.
pub(super) async fn answer(kafka: &Kafka, broker: usize, request: &FetchRequest) -> FetchResponse {
    let wait = u64::try_from(request.max_wait_ms).unwrap_or(0);
    let until = Instant::now() + Duration::from_millis(wait);
    loop {
        let changed = kafka.changed();
        let (response, is_empty) = attempt(&kafka.state(), broker, request);
        if !is_empty || timeout_at(until, changed).await.is_err() {
            return response;
        }
    }
}

/// The response at the moment, and whether it says nothing new.
fn attempt(state: &State, broker: usize, request: &FetchRequest) -> (FetchResponse, bool) {
    let mut room = usize::try_from(request.max_bytes).unwrap_or(0);
    let by = if request.rack_id.is_empty() { Reader::OfLeaders } else { Reader::OfReplicas };
    let (mut is_empty, mut responses) = (true, Vec::new());
    for asked in &request.topics {
        let topic = state.topic(asked.topic.as_str(), asked.topic_id.as_u128());
        // Deleted topics are not served, only told apart from those that never were.
        let topic = topic.filter(|topic| state.topics.values().any(|current| current.id == topic.id));
        let mut partitions = Vec::new();
        for partition in &asked.partitions {
            let committed = request.isolation_level == 1;
            let data = one(state, broker, topic, partition, by, committed, room);
            let data = data.unwrap_or_else(|code| {
                let code = if topic.is_none() && !asked.topic_id.is_nil() { UNKNOWN_TOPIC_ID } else { code };
                PartitionData::default()
                    .with_error_code(code)
                    .with_high_watermark(-1)
                    .with_last_stable_offset(-1)
            });
            let len = data.records.as_ref().map_or(0, |records| records.len());
            room = room.saturating_sub(len);
            is_empty &= len == 0 && data.error_code == 0 && data.preferred_read_replica == -1;
            partitions.push(data.with_partition_index(partition.partition));
        }
        responses.push(
            FetchableTopicResponse::default()
                .with_topic(asked.topic.clone())
                .with_topic_id(asked.topic_id)
                .with_partitions(partitions),
        );
    }
    (FetchResponse::default().with_responses(responses), is_empty)
}

fn one(
    state: &State,
    broker: usize,
    topic: Option<&Topic>,
    asked: &FetchPartition,
    by: Reader,
    committed: bool,
    room: usize,
) -> Result<PartitionData, i16> {
    let served = Served::of(state, broker, topic, (asked.partition, asked.current_leader_epoch), by)?;
    let data = PartitionData::default()
        .with_high_watermark(served.committed)
        .with_last_stable_offset(served.stable)
        .with_log_start_offset(served.start)
        .with_aborted_transactions(None);
    let from = asked.fetch_offset;
    if from < served.start || from > served.end {
        return Ok(data.with_error_code(OFFSET_OUT_OF_RANGE));
    }
    if by == Reader::OfReplicas
        && !served.is_follower
        && let Some(follower) = state.follower_of(served.log, broker, from)
    {
        return Ok(data.with_preferred_read_replica(node(follower).into()));
    }
    let end = if committed { served.stable } else { served.committed };
    let room = room.min(usize::try_from(asked.partition_max_bytes).unwrap_or(0));
    let mut records = BytesMut::new();
    let mut last = from;
    let first = served.log.batches.range(..=from).next_back().filter(|(_, batch)| batch.end > from);
    let first = first.map_or(from, |(base, _)| *base);
    for (base, batch) in served.log.batches.range(first..).take_while(|(_, batch)| batch.end <= end) {
        let mut encoded = BytesMut::new();
        batch::encode(*base, batch, &mut encoded);
        if !records.is_empty() && records.len() + encoded.len() > room {
            break;
        }
        records.extend_from_slice(&encoded);
        last = batch.end;
        if records.len() >= room {
            break;
        }
    }
    let aborted = served.log.aborted.iter().filter(|aborted| aborted.last >= from && aborted.first < last);
    let aborted = aborted.map(|aborted| {
        AbortedTransaction::default()
            .with_producer_id(aborted.producer.into())
            .with_first_offset(aborted.first)
    });
    let data = if committed { data.with_aborted_transactions(Some(aborted.collect())) } else { data };
    Ok(data.with_records(Some(records.freeze())))
}

const OFFSET_OUT_OF_RANGE: i16 = 1;

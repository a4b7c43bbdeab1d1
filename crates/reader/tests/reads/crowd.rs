//! Callers that wait at the ends of thousands of logs of one broker.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::fetch_response::{FetchResponse, FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{FetchRequest, RequestKind, TopicName};
use kafka_protocol::protocol::StrBytes;
use sluicegate_reader::Reader;
use sluicegate_shared_log::SeenEnds;
use tokio::task::JoinSet;

use crate::batches::one_record;
use crate::scripted::{self, Asked, Broker, EPOCH, Step, reader, usual};
use crate::support::{Read as _, at, until};

const LOGS: i32 = 2_000;

/// The long requests that find a record.
const REQUESTS: usize = 21;

/// The logs of a broker. A record is written to a log of each long request that arrives.
struct Logs {
    ends: Vec<i64>,
    /// The long requests: when they came, and how many logs they list.
    long: Vec<(Instant, usize)>,
}

impl Logs {
    fn answer(&mut self, asked: &Asked, request: &FetchRequest) -> Step {
        let topic = &request.topics[0];
        let count = topic.partitions.len();
        if request.max_wait_ms > 0 && count > 1_000 && self.long.len() < REQUESTS {
            let written = &topic.partitions[self.long.len() * 7_919 % count];
            self.ends[index(written.partition)] += 1;
            self.long.push((Instant::now(), count));
        }
        let mut is_empty = true;
        let partitions = topic.partitions.iter().map(|asked| {
            let end = self.ends[index(asked.partition)];
            let data = PartitionData::default()
                .with_partition_index(asked.partition)
                .with_high_watermark(end)
                .with_last_stable_offset(end);
            if asked.fetch_offset == end {
                return data.with_records(Some(Bytes::new()));
            }
            is_empty = false;
            data.with_records(Some(one_record(asked.fetch_offset, b'x').into()))
        });
        let topic = FetchableTopicResponse::default()
            .with_topic(topic.topic.clone())
            .with_topic_id(topic.topic_id)
            .with_partitions(partitions.collect());
        let answer = scripted::answer(asked, &FetchResponse::default().with_responses(vec![topic]));
        let wait = Duration::from_millis(request.max_wait_ms.try_into().expect("a wait"));
        if is_empty { Step::Later(wait, answer) } else { Step::Answer(answer) }
    }
}

async fn broker(logs: Arc<Mutex<Logs>>) -> Broker {
    Broker::start(move |asked, address| match &asked.kind {
        RequestKind::Fetch(request) => logs.lock().expect("no panic").answer(asked, request),
        RequestKind::Metadata(_) => Step::Answer(metadata(asked, address)),
        _ => usual(asked, address),
    })
    .await
}

/// Reads a log from its end at 0 on, as a subscription does, and counts what it gets.
async fn follow(reader: Reader, partition: i32, read: Arc<Mutex<Vec<i64>>>) {
    let mut offset = 0;
    loop {
        reader.wait_for_records("t", partition, offset, false, None, SeenEnds::ALL).await;
        let fetched = reader.read(at("t", partition, offset)).await.expect("an answer");
        let count = i64::try_from(fetched.count).expect("few records");
        assert_eq!(fetched.next_offset, offset + count, "nothing is skipped");
        offset = fetched.next_offset;
        read.lock().expect("no panic")[index(partition)] = offset;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crowd_of_logs_is_not_listed_for_each_record() {
    let ends = vec![0; index(LOGS)];
    let logs = Arc::new(Mutex::new(Logs { ends: ends.clone(), long: Vec::new() }));
    let read = Arc::new(Mutex::new(ends));
    let broker = broker(Arc::clone(&logs)).await;
    let reader = reader(&[broker.address]);
    reader.read(at("t", 0, 0)).await.expect("an answer");
    let mut callers = JoinSet::new();
    for partition in 0..LOGS {
        callers.spawn(follow(reader.clone(), partition, Arc::clone(&read)));
    }
    let long = || logs.lock().expect("no panic").long.clone();
    until(|| long().len() == REQUESTS).await;
    let long = long();
    let (last, others) = long.split_last().expect("requests");
    let listed: usize = others.iter().map(|(_, count)| count).sum();
    let elapsed = last.0.duration_since(long[0].0);
    // 50,000 a second, if no request came late.
    let allowed = elapsed * 75_000 / u32::try_from(listed).expect("few logs");
    assert!(allowed >= Duration::from_secs(1), "{listed} logs were listed within {elapsed:?}");
    // Each record arrives.
    until(|| logs.lock().expect("no panic").ends == *read.lock().expect("no panic")).await;
    callers.shutdown().await;
}

/// The broker at `address` leads all partitions of a topic.
fn metadata(asked: &Asked, address: SocketAddr) -> Bytes {
    let partition = |index| {
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(1.into())
            .with_leader_epoch(EPOCH)
    };
    let topic = MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_static_str("t"))))
        .with_topic_id(uuid::Uuid::from_u128(1))
        .with_partitions((0..LOGS).map(partition).collect());
    let broker = MetadataResponseBroker::default()
        .with_node_id(1.into())
        .with_host(StrBytes::from_string(address.ip().to_string()))
        .with_port(address.port().into());
    scripted::answer(asked, &MetadataResponse::default().with_brokers(vec![broker]).with_topics(vec![topic]))
}

fn index(partition: i32) -> usize {
    usize::try_from(partition).expect("a partition")
}

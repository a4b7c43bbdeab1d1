//! librdkafka's mock cluster with a producer, and readers of it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, pending, ready};
use futures_util::{FutureExt, StreamExt};
use prost::Message;
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use sluicegate_fair_share::ClientKey;
use sluicegate_protocol::{KafkaFetchResp, KafkaMessage};
use sluicegate_reader::{Config, DEFAULT_MAX_BYTES, EncoderPool, ReadError, Reader, SkipMeter};
use sluicegate_shared_log::{AnswerReservation, Fetched, Limits, ListedOffset, SharedLog};

use crate::log;

/// A record to produce.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) timestamp: i64,
}

/// A client with an address of its own.
pub(crate) fn source(last: u8) -> ClientKey {
    ClientKey::from(IpAddr::from([192, 0, 2, last]))
}

/// A cluster in this process. Its brokers stop when it is dropped.
pub(crate) struct Cluster {
    pub(crate) mock: MockCluster<'static, DefaultProducerContext>,
}

impl Cluster {
    pub(crate) fn start(brokers: i32) -> Self {
        Self { mock: MockCluster::new(brokers).expect("a mock cluster") }
    }

    pub(crate) fn create(&self, topic: &str, partitions: i32) {
        self.mock.create_topic(topic, partitions, 1).expect("a topic");
    }

    pub(crate) fn reader(&self) -> Reader {
        reader(&[("bootstrap.servers", &self.mock.bootstrap_servers())])
    }

    /// Writes records in one partition in order, in batches of up to `batch`.
    pub(crate) fn produce(&self, topic: &str, partition: i32, codec: &str, batch: usize, records: &[Record]) {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", self.mock.bootstrap_servers())
            .set("compression.type", codec)
            .set("batch.num.messages", batch.to_string())
            .set("linger.ms", "20")
            .set("message.max.bytes", "10000000")
            .create()
            .expect("a producer");
        for record in records {
            let mut out: BaseRecord<'_, [u8], [u8]> =
                BaseRecord::to(topic).partition(partition).timestamp(record.timestamp);
            out.key = record.key.as_deref();
            out.payload = record.value.as_deref();
            producer.send(out).map_err(|(error, _)| error).expect("room in the queue");
        }
        producer.flush(Duration::from_secs(20)).expect("everything is delivered");
    }
}

pub(crate) fn reader(properties: &[(&str, &str)]) -> Reader {
    log::capture();
    let properties: BTreeMap<String, String> =
        properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let logs = SharedLog::new(Limits { max_bytes: 1 << 24, max_age: Duration::from_secs(30) });
    Reader::new(
        Config::from_properties(&properties).expect("a usable configuration"),
        logs.add_cluster(),
        EncoderPool::new(),
    )
}

/// A fetch from a partition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fetch<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) max_bytes: usize,
    pub(crate) max_wait: Duration,
    pub(crate) min_bytes: usize,
    pub(crate) max_records: usize,
    pub(crate) fill: bool,
    pub(crate) source: ClientKey,
    pub(crate) skips: &'a dyn SkipMeter,
}

pub(crate) fn at(topic: &str, partition: i32, offset: i64) -> Fetch<'_> {
    Fetch {
        topic,
        partition,
        offset,
        max_bytes: DEFAULT_MAX_BYTES,
        max_wait: Duration::ZERO,
        min_bytes: 0,
        max_records: 0,
        fill: false,
        source: ClientKey::default(),
        skips: &(),
    }
}

impl Fetch<'_> {
    /// The same without the log and the meter.
    pub(crate) fn of_log(self) -> sluicegate_shared_log::Fetch {
        let Fetch { offset, max_bytes, max_wait: wait, min_bytes, max_records, fill, source, .. } = self;
        let committed = false;
        sluicegate_shared_log::Fetch {
            offset,
            max_bytes,
            wait,
            min_bytes,
            max_records,
            fill,
            committed,
            source,
        }
    }
}

pub(crate) trait Read {
    async fn read(&self, fetch: Fetch<'_>) -> Result<Fetched, ReadError>;
}

impl Read for Reader {
    async fn read(&self, fetch: Fetch<'_>) -> Result<Fetched, ReadError> {
        let Fetch { topic, partition, skips, .. } = fetch;
        self.fetch(topic, partition, fetch.of_log(), skips, &mut Room).await
    }
}

/// Room for any answer, for as long as a fetch waits.
struct Room;

impl AnswerReservation for Room {
    fn wait(&mut self, _: usize) -> BoxFuture<'_, ()> {
        pending().boxed()
    }

    fn refill(&mut self) -> BoxFuture<'_, bool> {
        ready(true).boxed()
    }
}

pub(crate) async fn list_offset(
    reader: &Reader,
    topic: &str,
    partition: i32,
    timestamp: i64,
    committed: bool,
) -> Result<ListedOffset, ReadError> {
    let asked = [(topic, partition, timestamp)];
    let mut listed = pin!(reader.list_offsets(ClientKey::default(), &asked, committed));
    listed.next().await.expect("an answer").1
}

pub(crate) fn messages(fetched: &Fetched) -> Vec<KafkaMessage> {
    let answer = KafkaFetchResp::decode(fetched.messages.clone()).expect("protobuf");
    assert_eq!(answer.messages.len(), fetched.count);
    answer.messages
}

/// All messages from an offset to the log end, in results of up to `max_bytes`.
pub(crate) async fn walk(
    reader: &Reader,
    topic: &str,
    partition: i32,
    from: i64,
    max_bytes: usize,
) -> Result<Vec<KafkaMessage>, ReadError> {
    let mut all = Vec::new();
    let mut offset = from;
    loop {
        let fetched = reader.read(Fetch { max_bytes, ..at(topic, partition, offset) }).await?;
        if fetched.count == 0 {
            return Ok(all);
        }
        assert!(fetched.next_offset > offset, "{} after {offset}", fetched.next_offset);
        all.extend(messages(&fetched));
        offset = fetched.next_offset;
    }
}

/// Waits until a condition holds, for up to 20 s.
#[track_caller]
pub(crate) fn until(condition: impl Fn() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !condition() {
            assert!(Instant::now() < deadline, "the condition at {caller} does not hold");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// An error with its causes.
pub(crate) fn chain(error: &ReadError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

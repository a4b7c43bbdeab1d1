//! Writes a test's records with librdkafka.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use tokio::task::spawn_blocking;

use super::Kafka;
use crate::Error;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// `None` is Kafka's null.
    pub key: Option<Vec<u8>>,
    /// `None` is Kafka's null.
    pub value: Option<Vec<u8>>,
    /// In this order. Keys can repeat, and a value of `None` is Kafka's null.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Milliseconds since 1970-01-01T00:00:00Z; by default the producer's clock.
    pub timestamp: Option<i64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Write {
    pub codec: Codec,
    /// Maximum records in a batch; by default librdkafka's.
    pub batch: Option<usize>,
    /// Waits for so many records, of at most 8 MiB together.
    pub fills: bool,
    /// Writes in one transaction with this outcome; by default in none.
    pub transaction: Option<Outcome>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Codec {
    #[default]
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    Commit,
    /// Aborted; its records stay in the log.
    Abort,
}

/// Cached producers: a new one needs half a second to get its producer id.
pub(super) type Producers = Mutex<HashMap<Write, FutureProducer>>;

impl Record {
    /// A record with this value and no key.
    pub fn of(value: impl Into<Vec<u8>>) -> Self {
        Self { value: Some(value.into()), ..Self::default() }
    }
}

impl Kafka {
    /// Writes records in this order, and returns their offsets once the broker has acknowledged all of them and, if
    /// there is one, the end of the transaction.
    pub async fn produce(
        &self,
        topic: &str,
        partition: i32,
        records: &[Record],
        how: Write,
    ) -> Result<Vec<i64>, Error> {
        if let Some(outcome) = how.transaction {
            let transaction = self.begin(how).await?;
            let offsets = transaction.write(topic, partition, records).await?;
            transaction.end(outcome).await?;
            return Ok(offsets);
        }
        let producer = self.producer(how).map_err(Error::failed(what(topic, partition, records)))?;
        write(&producer, topic, partition, records).await
    }

    /// Begins a transaction whose records are written as `how` says, but for its outcome.
    pub async fn begin(&self, how: Write) -> Result<Transaction, Error> {
        let what = || "begin a transaction".to_owned();
        let producer = self.new_producer(how, true).map_err(Error::failed(what()))?;
        let begin = producer.clone();
        blocking(move || begin.init_transactions(WITHIN).and_then(|()| begin.begin_transaction()))
            .await
            .map_err(Error::failed(what()))?;
        Ok(Transaction { producer })
    }

    /// The producer for these settings. Transactional producers are not cached: each has its own transactional id.
    fn producer(&self, how: Write) -> KafkaResult<FutureProducer> {
        let mut producers = self.producers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(producer) = producers.get(&how) {
            return Ok(producer.clone());
        }
        let producer = self.new_producer(how, false)?;
        producers.insert(how, producer.clone());
        Ok(producer)
    }

    fn new_producer(&self, how: Write, is_transactional: bool) -> KafkaResult<FutureProducer> {
        static TRANSACTIONS: AtomicU32 = AtomicU32::new(0);
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.bootstrap())
            .set("compression.type", how.codec.name())
            .set("message.max.bytes", "8388608")
            .set("queue.buffering.max.messages", "1000000")
            // Keeps the order of records across retries.
            .set("enable.idempotence", "true")
            .set("linger.ms", "20")
            // Reconnects quickly to a restarted node.
            .set("reconnect.backoff.max.ms", "250");
        if let Some(count) = how.batch {
            config.set("batch.num.messages", count.to_string());
        }
        if how.fills {
            config.set("linger.ms", "10000").set("batch.size", "8388608");
        }
        if is_transactional {
            let number = TRANSACTIONS.fetch_add(1, Ordering::Relaxed);
            config.set("transactional.id", format!("tests-{}-{number}", std::process::id()));
            config.set("transaction.timeout.ms", OPEN_MS);
        }
        config.create()
    }
}

/// A transaction that was begun. Dropping it leaves it open.
pub struct Transaction {
    producer: FutureProducer,
}

impl Transaction {
    /// Writes records in this order, and returns their offsets once the broker has acknowledged them.
    pub async fn write(&self, topic: &str, partition: i32, records: &[Record]) -> Result<Vec<i64>, Error> {
        write(&self.producer, topic, partition, records).await
    }

    /// Ends it. Its marker can be in the log a little later.
    pub async fn end(self, outcome: Outcome) -> Result<(), Error> {
        let Self { producer } = self;
        let ended = match outcome {
            Outcome::Commit => blocking(move || producer.commit_transaction(WITHIN)).await,
            Outcome::Abort => blocking(move || producer.abort_transaction(WITHIN)).await,
        };
        ended.map_err(Error::failed("end a transaction"))
    }
}

/// Queues all records before it awaits the first acknowledgement, so that they share batches.
async fn write(
    producer: &FutureProducer,
    topic: &str,
    partition: i32,
    records: &[Record],
) -> Result<Vec<i64>, Error> {
    let written = async {
        let mut deliveries = Vec::with_capacity(records.len());
        for record in records {
            let mut message = FutureRecord::<[u8], [u8]>::to(topic).partition(partition);
            message.key = record.key.as_deref();
            message.payload = record.value.as_deref();
            message.timestamp = record.timestamp;
            message.headers = headers(record);
            deliveries.push(producer.send_result(message).map_err(|(error, _)| error)?);
        }
        let mut offsets = Vec::with_capacity(records.len());
        for delivery in deliveries {
            match delivery.await {
                Ok(Ok(delivery)) => offsets.push(delivery.offset),
                Ok(Err((error, _))) => return Err(error),
                Err(_) => return Err(KafkaError::Canceled),
            }
        }
        Ok(offsets)
    };
    written.await.map_err(Error::failed(what(topic, partition, records)))
}

fn headers(record: &Record) -> Option<OwnedHeaders> {
    let headers = record.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
        headers.insert(Header { key, value: value.as_ref() })
    });
    (!record.headers.is_empty()).then_some(headers)
}

fn what(topic: &str, partition: i32, records: &[Record]) -> String {
    format!("write {} records to {topic} {partition}", records.len())
}

/// librdkafka's transaction calls block.
async fn blocking(call: impl FnOnce() -> KafkaResult<()> + Send + 'static) -> KafkaResult<()> {
    spawn_blocking(call).await.unwrap_or(Err(KafkaError::Canceled))
}

impl Codec {
    /// Every codec, for tests that try them all.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

const WITHIN: Duration = Duration::from_secs(30);
/// Longer than a test leaves a transaction open.
const OPEN_MS: &str = "600000";

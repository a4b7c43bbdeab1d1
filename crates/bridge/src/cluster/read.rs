//! What is read of a cluster: records, offsets and topics, or the error that a client is told.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sluicegate_protocol::{CmdKafkaFetch, CmdKafkaListOffset, ErrorResp};
use sluicegate_reader::{Fetch, Fetched, ReadError, Reader, Topic};

use super::{Cluster, Failure, MAX_ERROR_BYTES, Source, chain, shown};
use crate::metrics::{Kind, Outcome};

/// How fetches are made.
#[derive(Debug, Clone)]
pub(crate) struct Reads {
    /// An answer's size in bytes; one record is delivered even where it is larger.
    pub(crate) max_bytes: usize,
    /// How long a fetch at the log end waits for a record.
    pub(crate) wait: Duration,
}

impl Cluster {
    /// How fetches are made where nobody says otherwise, and the largest answer to any.
    pub(crate) fn reads(&self) -> &Reads {
        &self.reads
    }

    /// The records at the asked offset and behind it: the body of a `KafkaFetchResp`. At the log end it waits for no longer
    /// than `patience` lasts. From when that is polled, there are no more than [`WAITING_BYTES`] of them, but for a single
    /// record that is larger by itself.
    ///
    /// # Cancel safety
    /// A drop abandons the read.
    pub(crate) async fn records(
        &self,
        fetch: &CmdKafkaFetch,
        reads: &Reads,
        patience: impl Future<Output = ()>,
    ) -> Result<Bytes, Failure> {
        self.measured(Kind::Fetch, self.fetch(fetch, reads, patience)).await
    }

    /// The offset of a timestamp, as the protocol's command has it.
    ///
    /// # Cancel safety
    /// A drop abandons the read.
    pub(crate) async fn offset(&self, list: &CmdKafkaListOffset) -> Result<i64, Failure> {
        self.measured(Kind::ListOffset, self.list_offset(list)).await
    }

    /// The names of the topics that the cluster's user may see, in order, without Kafka's own.
    ///
    /// # Cancel safety
    /// A drop abandons the read.
    pub(crate) async fn topics(&self) -> Result<Arc<[String]>, Failure> {
        let listed = async {
            match &self.source {
                Source::Kafka(reader) => {
                    reader.topics().await.map_err(|error| failure("list topics", &error))
                }
                #[cfg(test)]
                Source::Script => Ok(Arc::default()),
            }
        };
        self.measured(Kind::Topics, listed).await
    }

    /// Where a topic's partitions are.
    ///
    /// # Cancel safety
    /// A drop abandons the read.
    pub(crate) async fn topic(&self, name: &str) -> Result<Topic, Failure> {
        let described = async {
            match &self.source {
                Source::Kafka(reader) => {
                    let described = reader.topic(name).await;
                    described.map_err(|error| {
                        failure(&format!("describe a topic, topic: {}", shown(name)), &error)
                    })
                }
                #[cfg(test)]
                Source::Script => Ok(Topic { partitions: Vec::new() }),
            }
        };
        self.measured(Kind::Topics, described).await
    }

    pub(super) async fn fetch(
        &self,
        fetch: &CmdKafkaFetch,
        reads: &Reads,
        patience: impl Future<Output = ()>,
    ) -> Result<Bytes, Failure> {
        let CmdKafkaFetch { topic, partition, offset: _ } = fetch;
        match &self.source {
            Source::Kafka(reader) => {
                let fetched = read(reader, fetch, reads, patience).await;
                fetched.map_err(|error| failure(&of_partition("fetch message", topic, *partition), &error))
            }
            #[cfg(test)]
            Source::Script => Ok(script(topic, *partition).await),
        }
    }

    pub(super) async fn list_offset(&self, list: &CmdKafkaListOffset) -> Result<i64, Failure> {
        let CmdKafkaListOffset { topic, partition, timestamp } = list;
        match &self.source {
            Source::Kafka(reader) => {
                let listed = reader.list_offset(topic, *partition, *timestamp).await;
                listed.map_err(|error| failure(&of_partition("list offset", topic, *partition), &error))
            }
            #[cfg(test)]
            Source::Script => Ok(*timestamp),
        }
    }
}

/// Looks first, and waits at the log end for the little that will be new there.
async fn read(
    reader: &Reader,
    fetch: &CmdKafkaFetch,
    reads: &Reads,
    patience: impl Future<Output = ()>,
) -> Result<Bytes, ReadError> {
    let CmdKafkaFetch { topic, partition, offset } = fetch;
    let Reads { max_bytes, wait } = *reads;
    let (partition, offset) = (*partition, *offset);
    let look = Fetch { topic, partition, offset, max_bytes, max_wait: Duration::ZERO, at_end: false };
    let Fetched { messages, count, next_offset } = reader.fetch(look).await?;
    if count > 0 || wait.is_zero() {
        return Ok(messages);
    }
    let max_bytes = max_bytes.min(WAITING_BYTES);
    let wait = Fetch { offset: next_offset, max_bytes, max_wait: wait, at_end: true, ..look };
    tokio::select! {
        // First: it makes room for others.
        biased;
        () = patience => Ok(messages),
        fetched = reader.fetch(wait) => Ok(fetched?.messages),
    }
}

fn of_partition(what: &str, topic: &str, partition: i32) -> String {
    format!("{what}, topic: {}, partition: {partition}", shown(topic))
}

fn failure(what: &str, error: &ReadError) -> Failure {
    let message = format!("failed to {what}, err: {}", chain(error));
    let message = message.get(..message.floor_char_boundary(MAX_ERROR_BYTES)).unwrap_or_default().to_owned();
    let outcome = if error.is_unavailable() { Outcome::Unavailable } else { Outcome::Refused };
    let (code, retriable) = (error.code().into(), error.retriable());
    Failure { outcome, error: ErrorResp { code, message, retriable, ..ErrorResp::default() } }
}

/// The answer's size of a fetch that had to wait, in bytes. Small, so that many can wait in one session.
pub(crate) const WAITING_BYTES: usize = 16 * 1024;

#[cfg(test)]
pub(super) async fn script(topic: &str, partition: i32) -> Bytes {
    tokio::time::sleep(Duration::from_millis(topic.parse().unwrap())).await;
    let value = Some(vec![0; usize::try_from(partition).unwrap()].into());
    let message = sluicegate_protocol::KafkaMessage { value, ..Default::default() };
    let fetched = sluicegate_protocol::KafkaFetchResp { messages: vec![message] };
    prost::Message::encode_to_vec(&fetched).into()
}

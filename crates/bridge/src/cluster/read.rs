//! What is read of a cluster: records, offsets and topics, or the error that a client is told.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sluicegate_protocol::{CmdKafkaFetch, CmdKafkaListOffset, ErrorResp};
use sluicegate_reader::{Fetch, Fetched, ReadError, Reader, Topic};

use super::{Cluster, Failure, MAX_ERROR_BYTES, Source, shown};
use crate::metrics::{Kind, Outcome};

/// How fetches are made.
#[derive(Debug, Clone)]
pub(crate) struct Reads {
    /// An answer's size in bytes; one record is delivered even where it is larger.
    pub(crate) max_bytes: usize,
    /// How long a fetch at the log end waits for a record.
    pub(crate) wait: Duration,
}

/// The memory that a client holds for a fetch's answer.
pub(crate) trait Room: Send {
    /// The fetch has come to the log end: gives back what an answer of [`WAITING_BYTES`] does not need. Lasts for as long as
    /// the fetch may wait.
    fn wait(self: Pin<&mut Self>) -> impl Future<Output = ()> + Send;

    /// Takes back what [`Room::wait`] gave; false if there is no room for the answer now.
    fn refill(self: Pin<&mut Self>) -> impl Future<Output = bool> + Send;
}

impl Cluster {
    /// How fetches are made where nobody says otherwise, and the largest answer to any.
    pub(crate) fn reads(&self) -> &Reads {
        &self.reads
    }

    /// The records at the asked offset and behind it: the body of a `KafkaFetchResp`. At the log end it waits for no longer
    /// than `room` says.
    ///
    /// # Cancel safety
    /// A drop abandons the read.
    pub(crate) async fn records(
        &self,
        fetch: &CmdKafkaFetch,
        reads: &Reads,
        room: impl Room,
    ) -> Result<Bytes, Failure> {
        let fetched = self.measured(Kind::Fetch, self.fetch(fetch, reads, room)).await;
        fetched.map(|fetched| fetched.messages)
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
                    reader.topics().await.map_err(|error| self.failure("list topics", &error))
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
                        self.failure(&format!("describe a topic, topic: {}", shown(name)), &error)
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
        room: impl Room,
    ) -> Result<Fetched, Failure> {
        let CmdKafkaFetch { topic, partition, offset: _ } = fetch;
        match &self.source {
            Source::Kafka(reader) => {
                let fetched = read(reader, fetch, reads, room).await;
                fetched
                    .map_err(|error| self.failure(&of_partition("fetch message", topic, *partition), &error))
            }
            #[cfg(test)]
            Source::Script => {
                Ok(Fetched { messages: script(topic, *partition).await, count: 1, next_offset: 0 })
            }
        }
    }

    pub(super) async fn list_offset(&self, list: &CmdKafkaListOffset) -> Result<i64, Failure> {
        let CmdKafkaListOffset { topic, partition, timestamp } = list;
        match &self.source {
            Source::Kafka(reader) => {
                let listed = reader.list_offset(topic, *partition, *timestamp).await;
                listed.map_err(|error| self.failure(&of_partition("list offset", topic, *partition), &error))
            }
            #[cfg(test)]
            Source::Script => Ok(*timestamp),
        }
    }

    fn failure(&self, what: &str, error: &ReadError) -> Failure {
        let message = format!("failed to {what}, err: {}", self.incidents.public(error));
        let message =
            message.get(..message.floor_char_boundary(MAX_ERROR_BYTES)).unwrap_or_default().to_owned();
        let outcome = if error.is_unavailable() { Outcome::Unavailable } else { Outcome::Refused };
        let (code, retriable) = (error.code().into(), error.retriable());
        Failure { outcome, error: ErrorResp { code, message, retriable, ..ErrorResp::default() } }
    }
}

/// Looks first, and waits at the log end for the little that will be new there. A record that turns out to be larger is read
/// again once there is room for it, as the client may be one that never takes it; without room, the answer is that there was none.
async fn read(
    reader: &Reader,
    fetch: &CmdKafkaFetch,
    reads: &Reads,
    room: impl Room,
) -> Result<Fetched, ReadError> {
    let CmdKafkaFetch { topic, partition, offset } = fetch;
    let Reads { max_bytes, wait } = *reads;
    let (partition, offset) = (*partition, *offset);
    let look = Fetch { topic, partition, offset, max_bytes, max_wait: Duration::ZERO, at_end: false };
    let looked = reader.fetch(look).await?;
    if looked.count > 0 || wait.is_zero() {
        return Ok(looked);
    }
    let look = Fetch { offset: looked.next_offset, ..look };
    let wait = Fetch { max_bytes: max_bytes.min(WAITING_BYTES), max_wait: wait, at_end: true, ..look };
    let mut room = pin!(room);
    let fetched = tokio::select! {
        // First: it makes room for others.
        biased;
        () = room.as_mut().wait() => return Ok(looked),
        fetched = reader.fetch(wait) => fetched?,
    };
    if fetched.messages.len() <= WAITING_BYTES {
        return Ok(fetched);
    }
    drop(fetched);
    if room.refill().await { reader.fetch(look).await } else { Ok(looked) }
}

fn of_partition(what: &str, topic: &str, partition: i32) -> String {
    format!("{what}, topic: {}, partition: {partition}", shown(topic))
}

/// The answer's size of a fetch that had to wait, in bytes. Small, so that many can wait in one session.
pub(crate) const WAITING_BYTES: usize = 16 * 1024;

/// Has no time to wait.
#[cfg(test)]
impl Room for () {
    async fn wait(self: Pin<&mut Self>) {}

    async fn refill(self: Pin<&mut Self>) -> bool {
        true
    }
}

#[cfg(test)]
pub(super) async fn script(topic: &str, partition: i32) -> Bytes {
    tokio::time::sleep(Duration::from_millis(topic.parse().unwrap())).await;
    let value = Some(vec![0; usize::try_from(partition).unwrap()].into());
    let message = sluicegate_protocol::KafkaMessage { value, ..Default::default() };
    let fetched = sluicegate_protocol::KafkaFetchResp { messages: vec![message], next_offset: 0 };
    prost::Message::encode_to_vec(&fetched).into()
}

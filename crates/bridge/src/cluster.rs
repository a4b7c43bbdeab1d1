//! One Kafka cluster: a command goes in, its answer comes out, whatever happens.

mod incidents;
mod produce;
mod read;

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use sluicegate_protocol::{
    CmdKafkaFetch, CmdKafkaListOffset, CmdKafkaProduce, ErrorResp, Header, KafkaFetchResp, ProduceRecord,
    Produced,
};
use sluicegate_reader::{Fetched, Reader};
use sluicegate_ws_session::source::Source as Client;
use tokio::time::{Instant, timeout};

pub(crate) use self::produce::{
    MAX_COMMAND_HEADERS, MAX_HEADERS, MAX_RECORDS, MAX_RESULT_BYTES, READ_ONLY, Turn, Turns, Writes,
};
pub(crate) use self::read::{Reads, Room, WAITING_BYTES};

use self::incidents::Incidents;
use crate::kafka_code::UNKNOWN_TOPIC_OR_PARTITION;
use crate::metrics::{ClusterMetrics, Kind, Outcome};
use crate::session::Answer;
use crate::topics::Topics;
use crate::writing::{Fate, Written};

/// What only Kafka can answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Command {
    Fetch(CmdKafkaFetch),
    ListOffset(CmdKafkaListOffset),
    Produce(CmdKafkaProduce),
}

/// One `[clusters.NAME]` of the configuration, ready to be read from and written to.
pub(crate) struct Cluster {
    source: Source,
    reads: Reads,
    /// `None`: it is only read from.
    writes: Option<Writes>,
    incidents: Incidents,
    pub(crate) metrics: ClusterMetrics,
    #[cfg(test)]
    pub(crate) script: produce::Script,
}

enum Source {
    Kafka(Reader),
    /// A topic's name says how many milliseconds a fetch takes, its partition how many bytes its value has.
    #[cfg(test)]
    Script,
}

impl Cluster {
    pub(crate) fn new(reader: Reader, reads: Reads, writes: Option<Writes>, metrics: ClusterMetrics) -> Self {
        let incidents = Incidents::new(reader.cluster());
        let source = Source::Kafka(reader);
        #[cfg(test)]
        let script = produce::Script::default();
        Self {
            source,
            reads,
            writes,
            incidents,
            metrics,
            #[cfg(test)]
            script,
        }
    }

    #[cfg(test)]
    pub(crate) fn script(max_bytes: usize) -> Self {
        let reads = Reads { max_bytes, wait: Default::default() };
        let settings = crate::writing::Settings::parse(&std::collections::BTreeMap::new()).unwrap();
        let writer = crate::writing::Writer::new(settings, crate::metrics::WriteMetrics::default());
        let writes = Some(Writes { writer, max_records: MAX_RECORDS, due: Default::default() });
        let (source, metrics) = (Source::Script, crate::metrics::Metrics::new().cluster("script"));
        let incidents = Incidents::new("script");
        Self { source, reads, writes, incidents, metrics, script: produce::Script::default() }
    }

    /// Whether a broker answers within this time. If not, the log says why.
    ///
    /// # Cancel safety
    /// A drop has no effect.
    pub(crate) async fn is_ready(&self, within: Duration) -> bool {
        let ready = match &self.source {
            Source::Kafka(reader) => timeout(within, reader.ready()).await,
            #[cfg(test)]
            Source::Script => Ok(Ok(())),
        };
        match ready {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => drop(self.incidents.public(&error)),
            Err(_) => self.incidents.not_ready(within),
        }
        false
    }

    /// Whether a topic is there. A broker that cannot be asked does not say no.
    pub(crate) async fn has_topic(&self, topic: &str) -> bool {
        match &self.source {
            Source::Kafka(reader) => match reader.check_partition(topic, 0).await {
                Ok(()) => true,
                Err(error) => i32::from(error.code()) != UNKNOWN_TOPIC_OR_PARTITION,
            },
            #[cfg(test)]
            Source::Script => true,
        }
    }

    /// The largest body of an answer to `command`, but for a single record that is larger by itself.
    pub(crate) fn max_answer_bytes(&self, command: &Command) -> usize {
        match command {
            Command::Fetch(_) => self.reads.max_bytes.max(MAX_ERROR_BYTES),
            Command::ListOffset(_) => MAX_ERROR_BYTES,
            Command::Produce(produce) => {
                produce.records.len().saturating_mul(MAX_RESULT_BYTES).max(MAX_ERROR_BYTES)
            }
        }
    }

    /// Bytes that `command` takes besides those of its message.
    pub(crate) fn decoded_bytes(command: &Command) -> usize {
        let Command::Produce(CmdKafkaProduce { records }) = command else { return 0 };
        let headers = records.iter().map(|record| record.headers.len()).fold(0, usize::saturating_add);
        let of_records = records.len().saturating_mul(size_of::<ProduceRecord>());
        headers.saturating_mul(size_of::<Header>()).saturating_add(of_records)
    }

    /// Whether records are in the producer's queue or on their way.
    pub(crate) fn has_queued_records(&self) -> bool {
        self.writes.as_ref().is_some_and(|writes| writes.writer.has_queued_records())
    }

    /// Gets ready for the first record, if records are written here at all.
    ///
    /// # Cancel safety
    /// The first record does the rest.
    pub(crate) async fn prepare_writes(&self) {
        if let Some(writes) = &self.writes {
            writes.writer.prepare().await;
        }
    }

    /// Delivers the records that wait until `by`, and ends writing.
    ///
    /// # Cancel safety
    /// They are delivered in the background for as long as the process lives.
    pub(crate) async fn end_writes(&self, by: Instant) {
        if let Some(writes) = &self.writes {
            writes.writer.close(by).await;
        }
    }

    /// The answer to `command` of a `client`, an error's included. A fetch is read into its `room`. Records for `topics` are handed over in
    /// their `turn`, others are refused.
    ///
    /// # Cancel safety
    /// A drop abandons a read and nothing else. Records are written, all or none of a command.
    pub(crate) async fn answer(
        &self,
        client: Client,
        sequence: i64,
        command: Command,
        topics: &Topics,
        turn: Turn,
        room: impl Room,
    ) -> Answer {
        let answer = match command {
            Command::Fetch(fetch) => {
                let fetched = self.measured(Kind::Fetch, self.fetch(&fetch, &self.reads, room)).await;
                fetched.map(|fetched| Answer::Messages { sequence, messages: body(fetched, fetch.offset) })
            }
            Command::ListOffset(list) => {
                self.offset(&list).await.map(|offset| Answer::offset(sequence, offset))
            }
            Command::Produce(CmdKafkaProduce { records }) => {
                let produced =
                    self.measured(Kind::Produce, self.produce(client, records, topics, turn, || {})).await;
                produced.map(|fates| Answer::produced(sequence, fates.into_iter().map(told).collect()))
            }
        };
        answer.unwrap_or_else(|failure| Answer::error(sequence, failure.error))
    }

    /// Writes records of a `client`, and tells what became of each. When the first of them is in the producer's queue, `queued` is called:
    /// from then on they are delivered or late, whoever waits for that.
    ///
    /// # Errors
    /// None of them was written, for one reason.
    ///
    /// # Cancel safety
    /// Records are written, all or none.
    pub(crate) async fn write(
        &self,
        client: Client,
        records: Vec<ProduceRecord>,
        queued: impl FnOnce(),
    ) -> Result<Vec<Fate>, Failure> {
        self.measured(Kind::Produce, self.produce(client, records, &Topics::All, Turn::default(), queued))
            .await
    }

    /// Counts how an answer came out, and how long it took.
    async fn measured<T>(
        &self,
        kind: Kind,
        answer: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let start = Instant::now();
        let result = answer.await;
        let outcome = result.as_ref().map_or_else(|failure| failure.outcome, |_| Outcome::Answered);
        self.metrics.command(kind, outcome, start.elapsed());
        result
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) outcome: Outcome,
    /// What clients are told. It names no broker, file or endpoint: those are in the log.
    pub(crate) error: ErrorResp,
}

/// The body of a `KafkaFetchResp`. Without messages it says where to read on, unless that is at the `asked` offset.
fn body(fetched: Fetched, asked: i64) -> Bytes {
    let Fetched { messages, count, next_offset } = fetched;
    if count > 0 || next_offset <= asked {
        return messages;
    }
    KafkaFetchResp { messages: Vec::new(), next_offset }.encode_to_vec().into()
}

/// What a client of a session is told of a record.
fn told(fate: Fate) -> Produced {
    match fate {
        Ok(Written { partition, offset, timestamp }) => {
            Produced { partition, offset, timestamp, error: None }
        }
        Err(error) => Produced { error: Some(error.into()), ..Produced::default() },
    }
}

/// A topic as it may be shown: a client may send anything, of any length, under that name.
fn shown(topic: &str) -> String {
    let mut shown: String = topic.chars().take(MAX_TOPIC_CHARS).flat_map(char::escape_debug).collect();
    if topic.chars().nth(MAX_TOPIC_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

/// What a client is told of a topic that its gateway's route does not let it use.
pub(crate) fn topic_denied(topic: &str) -> String {
    format!("this route does not let clients use topic {}", shown(topic))
}

/// A topic's name has at most so many in Kafka.
const MAX_TOPIC_CHARS: usize = 249;
/// Longest text of an error.
const MAX_ERROR_BYTES: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_topic_is_shown_short_and_escaped() {
        assert_eq!(shown("orders"), "orders");
        assert_eq!(shown("a\nb\u{1b}[1m"), "a\\nb\\u{1b}[1m");
        let long = shown(&"x".repeat(1 << 20));
        assert_eq!(long.chars().count(), MAX_TOPIC_CHARS + 1);
    }
}

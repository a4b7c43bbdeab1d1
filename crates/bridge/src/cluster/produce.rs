//! Writing: each record is checked by itself, handed over in the order of commands, and answered when its fate is known.

use std::collections::{HashMap, HashSet};

use futures_util::future::join_all;
use sluicegate_protocol::{ErrorResp, ProduceRecord};
use sluicegate_reader::Reader;
use sluicegate_ws_session::source::Source as Client;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{Cluster, Failure, Source, topic_denied};
use crate::kafka_code::{INVALID_REQUEST, INVALID_TIMESTAMP, TOPIC_AUTHORIZATION_FAILED};
use crate::metrics::Outcome;
use crate::topics::Topics;
#[cfg(test)]
use crate::writing::Written;
use crate::writing::{Fate, WriteError, Writer, failure};

/// How records are written.
pub(crate) struct Writes {
    pub(crate) writer: Writer,
    /// Records of one command.
    pub(crate) max_records: usize,
    /// Cancelled when commands have to be answered with what is known: the bridge is shutting down.
    pub(crate) due: CancellationToken,
}

/// A command's turn to hand over its records. A drop gives the turn to the next one.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    before: Option<oneshot::Receiver<()>>,
    _mine: Option<oneshot::Sender<()>>,
}

/// Turns in the order in which they were given.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    last: Option<oneshot::Receiver<()>>,
}

impl Turns {
    pub(crate) fn next(&mut self) -> Turn {
        let (mine, after) = oneshot::channel();
        Turn { before: self.last.replace(after), _mine: Some(mine) }
    }
}

impl Turn {
    async fn come(&mut self) {
        if let Some(before) = self.before.take() {
            // The one before says nothing: it drops its end.
            let _ = before.await;
        }
    }
}

impl Cluster {
    /// Whether the bridge may write here at all.
    pub(crate) fn is_writable(&self) -> bool {
        self.writes.is_some()
    }

    /// As [`Cluster::write`], in its `turn`.
    pub(super) async fn produce(
        &self,
        source: Client,
        records: Vec<ProduceRecord>,
        topics: &Topics,
        mut turn: Turn,
        queued: impl FnOnce(),
    ) -> Result<Vec<Fate>, Failure> {
        let Some(Writes { writer, max_records, due }) = &self.writes else {
            return Err(not_written(failure::refused(0, READ_ONLY.to_owned())));
        };
        let ending = || not_written(failure::ending());
        // Commands check at the same time, and wait for each other only to hand over. One that is refused waits, too: who
        // comes after it must not overtake who is before it.
        let checked = async {
            let refused = match too_much(&records, *max_records) {
                Some(error) => Err(error),
                None => Ok(self.check(&records, topics).await),
            };
            turn.come().await;
            refused
        };
        let refused = due.run_until_cancelled(checked).await.ok_or_else(ending)?.map_err(not_written)?;
        #[cfg(test)]
        if matches!(self.source, Source::Script) {
            return Ok(self.script.take(&records, queued).await);
        }
        let handed = due.run_until_cancelled(writer.hand_over(source, records, refused)).await;
        let handed = handed.ok_or_else(ending)?;
        let handed = handed.map_err(|error| not_written(self.incidents.public_write(error)))?;
        drop(turn);
        if handed.queued > 0 {
            queued();
        }
        Ok(writer.wait(handed, due).await)
    }

    /// Why records cannot be written, of each that cannot.
    async fn check(&self, records: &[ProduceRecord], topics: &Topics) -> Vec<Option<WriteError>> {
        // Neighbours mostly have the same target: it is looked for once.
        let same_target = || records.chunk_by(|a, b| target(a) == target(b));
        let mut targets: HashMap<(&str, i32), Option<WriteError>> =
            same_target().filter_map(<[_]>::first).map(|record| (target(record), None)).collect();
        let asked = targets.iter_mut().map(|(target, refusal)| async move {
            *refusal = match &self.source {
                // Nothing is looked up: the answer must not tell whether it exists.
                _ if !topics.contains(target.0) => {
                    Some(failure::refused(TOPIC_AUTHORIZATION_FAILED, topic_denied(target.0)))
                }
                Source::Kafka(reader) => self.missing(reader, *target).await,
                #[cfg(test)]
                Source::Script => {
                    super::read::script(target.0, 0).await;
                    None
                }
            };
        });
        join_all(asked).await;
        let refusal = |records: &[ProduceRecord]| targets.get(&target(records.first()?))?.clone();
        let refused = same_target().flat_map(|records| {
            let refusal = refusal(records);
            records.iter().map(move |record| problem(record).or_else(|| refusal.clone()))
        });
        refused.collect()
    }

    /// Why there is no such target, or that nobody knows.
    async fn missing(&self, reader: &Reader, (topic, partition): (&str, i32)) -> Option<WriteError> {
        let error = reader.check_partition(topic, partition).await.err()?;
        let message = self.incidents.public(&error);
        Some(failure::of_read(&error, message))
    }
}

/// Why a command is refused as a whole.
fn too_much(records: &[ProduceRecord], max_records: usize) -> Option<WriteError> {
    let same_topic = records.chunk_by(|a, b| a.topic == b.topic).filter_map(<[_]>::first);
    let topics: HashSet<&str> = same_topic.map(|record| record.topic.as_str()).collect();
    let (count, of, max) = if records.len() > max_records {
        (records.len(), "records", max_records)
    } else if topics.len() > MAX_TOPICS {
        (topics.len(), "topics", MAX_TOPICS)
    } else {
        return None;
    };
    let message = format!("{count} {of} in one command: expected at most {max}");
    Some(failure::refused(INVALID_REQUEST, message))
}

/// The topic, and the partition that must exist. Where there is any, there is partition 0.
fn target(record: &ProduceRecord) -> (&str, i32) {
    let partition = record.partition.unwrap_or(PARTITIONER);
    (&record.topic, if partition == PARTITIONER { 0 } else { partition })
}

/// What is wrong with a record by itself.
fn problem(record: &ProduceRecord) -> Option<WriteError> {
    let refused = |code, message: String| Some(failure::refused(code, message));
    if record.headers.len() > MAX_HEADERS {
        let message = format!("{} headers: expected at most {MAX_HEADERS}", record.headers.len());
        return refused(INVALID_REQUEST, message);
    }
    if record.headers.iter().any(|header| header.key.contains('\0')) {
        return refused(INVALID_REQUEST, "a header's key has a NUL character".to_owned());
    }
    match record.timestamp {
        // librdkafka takes 0 for its own clock.
        Some(timestamp @ ..=0) => {
            let message = format!("timestamp {timestamp}: expected 1 or more milliseconds");
            refused(INVALID_TIMESTAMP, message)
        }
        _ => None,
    }
}

fn not_written(error: WriteError) -> Failure {
    let is_unavailable = matches!(error, WriteError::Unavailable(_));
    let outcome = if is_unavailable { Outcome::Unavailable } else { Outcome::Refused };
    let error = ErrorResp::from(error);
    let message = format!("failed to produce, err: {}", error.message);
    Failure { outcome, error: ErrorResp { message, ..error } }
}

/// Answer where the bridge's configuration does not name the cluster in `write.clusters`.
pub(crate) const READ_ONLY: &str = "the bridge does not write to this cluster";
/// The largest result of one record, in bytes.
pub(crate) const MAX_RESULT_BYTES: usize = failure::MAX_MESSAGE + 56;
const _: () = assert!(MAX_RESULT_BYTES <= 256);

/// The most records that one command may have.
pub(crate) const MAX_RECORDS: usize = 1_000;
/// The most headers that a record may have.
pub(crate) const MAX_HEADERS: usize = 100;
/// The most headers that the records of one command may have together.
pub(crate) const MAX_COMMAND_HEADERS: usize = 10_000;
/// The most topics that one command may write to: each that is missing is looked up.
const MAX_TOPICS: usize = 50;
/// The partition that leaves the choice to the partitioner.
const PARTITIONER: i32 = -1;

/// Stands in for a producer: remembers what it was given, in this order.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct Script {
    taken: std::sync::Mutex<Vec<bytes::Bytes>>,
    /// Why it takes no record.
    pub(crate) refuses: std::sync::Mutex<Option<WriteError>>,
    /// How long the acknowledgement of what it took lets wait.
    pub(crate) acknowledges_in: std::sync::Mutex<std::time::Duration>,
}

#[cfg(test)]
impl Script {
    async fn take(&self, records: &[ProduceRecord], queued: impl FnOnce()) -> Vec<Fate> {
        if let Some(error) = self.refuses.lock().unwrap().clone() {
            return vec![Err(error); records.len()];
        }
        let first = {
            let mut taken = self.taken.lock().unwrap();
            let first = taken.len();
            taken.extend(records.iter().map(|record| record.value.clone().unwrap_or_default()));
            first
        };
        queued();
        let time = *self.acknowledges_in.lock().unwrap();
        tokio::time::sleep(time).await;
        let place =
            |index| Ok(Written { partition: 0, offset: i64::try_from(first + index).unwrap(), timestamp: 0 });
        (0..records.len()).map(place).collect()
    }

    pub(crate) fn taken(&self) -> Vec<bytes::Bytes> {
        self.taken.lock().unwrap().clone()
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use sluicegate_protocol::{Header, KafkaProduceResp, Produced};

    use super::*;

    fn record() -> ProduceRecord {
        ProduceRecord { topic: "t".into(), ..ProduceRecord::default() }
    }

    fn told(error: Option<WriteError>) -> ErrorResp {
        error.unwrap().into()
    }

    #[test]
    fn what_librdkafka_could_not_write_as_it_is_is_refused() {
        assert_eq!(problem(&record()), None);
        assert_eq!(problem(&ProduceRecord { timestamp: Some(1), ..record() }), None);
        for timestamp in [0, -1, i64::MIN] {
            let error = told(problem(&ProduceRecord { timestamp: Some(timestamp), ..record() }));
            assert_eq!((error.code, error.retriable), (32, false));
        }
        let header = |key: &str| Header { key: key.into(), value: None };
        for headers in [vec![header("a\0b")], vec![header("a"); MAX_HEADERS + 1]] {
            assert_eq!(told(problem(&ProduceRecord { headers, ..record() })).code, 42);
        }
        assert_eq!(problem(&ProduceRecord { headers: vec![header(""); MAX_HEADERS], ..record() }), None);
    }

    #[test]
    fn a_command_has_so_many_records_and_topics_and_no_more() {
        let topics = |count: usize| -> Vec<ProduceRecord> {
            (0..count).map(|topic| ProduceRecord { topic: topic.to_string(), ..record() }).collect()
        };
        assert_eq!(too_much(&topics(MAX_TOPICS), MAX_RECORDS), None);
        let error = told(too_much(&topics(MAX_TOPICS + 1), MAX_RECORDS));
        assert_eq!(
            (error.code, error.message.as_str()),
            (42, "51 topics in one command: expected at most 50")
        );
        assert!(told(too_much(&topics(2), 1)).message.contains("2 records"));
    }

    #[test]
    fn no_result_is_larger_than_is_reserved() {
        let error = told(Some(failure::refused(i32::MIN, "x".repeat(1000))));
        let error = ErrorResp { retriable: true, retry_after_ms: u32::MAX, unknown_outcome: true, ..error };
        let worst = Produced { partition: -1, offset: -1, timestamp: -1, error: Some(error.clone()) };
        let failed = Produced { error: Some(error), ..Produced::default() };
        let written = Produced { error: None, ..worst.clone() };
        for result in [failed, written] {
            let answer = KafkaProduceResp { results: vec![result] };
            assert!(answer.encoded_len() <= MAX_RESULT_BYTES, "{}", answer.encoded_len());
        }
    }

    #[tokio::test]
    async fn turns_come_in_the_order_in_which_they_were_given() {
        let mut turns = Turns::default();
        let [mut first, mut second, mut third] = std::array::from_fn(|_| turns.next());
        first.come().await;
        let waits = tokio::spawn(async move {
            third.come().await;
        });
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        drop(first);
        second.come().await;
        assert!(!waits.is_finished());
        drop(second);
        waits.await.unwrap();
        Turn::default().come().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_that_is_not_handed_over_when_the_bridge_ends_is_not_written() {
        let cluster = Cluster::script(1);
        let writes = cluster.writes.as_ref().unwrap();
        let looked_for = ProduceRecord { topic: "60000".into(), ..record() };
        let mut turns = Turns::default();
        let first = turns.next();
        let produced =
            cluster.produce(Client::default(), vec![looked_for], &Topics::All, turns.next(), || {});
        let end = async {
            tokio::task::yield_now().await;
            writes.due.cancel();
        };
        let (produced, ()) = tokio::join!(produced, end);
        let error = produced.unwrap_err().error;
        assert!(error.retriable && !error.unknown_outcome, "{error:?}");
        assert!(cluster.script.taken().is_empty());
        drop(first);
    }
}

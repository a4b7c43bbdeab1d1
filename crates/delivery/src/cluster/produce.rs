//! Writing: checks records one by one, hands them over in the order of their commands, and answers with their delivery
//! reports.

mod rows;
mod whole;

use std::collections::{BTreeMap, HashSet};

use futures_util::future::join_all;
use sluicegate_backend::command::Record;
use sluicegate_backend::{Account, CommandError, DeliveryReport, Fault, Log, System};
use sluicegate_fair_share::ClientKey;
use sluicegate_protocol::error_code::{INVALID_REQUEST, INVALID_TIMESTAMP, TOPIC_AUTHORIZATION_FAILED};
use sluicegate_rights::{Rows, Topics};
use sluicegate_telemetry::metrics::Kind;
use tokio_util::sync::CancellationToken;

use super::{Cluster, WRITE, WriteTicket, write_denied};

/// Records of one command.
pub(crate) struct Write {
    pub(crate) records: Vec<Record>,
    /// None: each record has a result of its own, and a repeat writes it once more.
    pub(crate) account: Option<Account>,
    pub(crate) ascends: bool,
    pub(crate) dry_run: bool,
}

/// Bounds of writes.
#[derive(Clone)]
pub struct Writes {
    /// Records per command.
    pub max_records: usize,
    /// Cancelled at shutdown, when commands must be answered with what is known.
    pub due: CancellationToken,
}

impl Cluster {
    /// Whether the bridge's configuration allows writing to the cluster.
    pub fn is_writable(&self) -> bool {
        self.parts.load().writes.is_some()
    }

    /// The error of a write if it does not. `topic` is the first one of the command.
    pub(crate) fn read_only(&self, topic: Option<&str>) -> CommandError {
        let name = self.metrics.name();
        let message =
            format!("the bridge does not write to cluster {name} (write.clusters, or route_clusters.write)");
        CommandError::forbidden(0, message).lacking(WRITE, topic)
    }

    /// Writes records of `source` in the order of tickets, and refuses those whose topic is not in `topics`, or which are
    /// not among its rows. Calls `queued` once all records are queued, and not at all if one was refused.
    ///
    /// # Errors
    /// No record was written.
    ///
    /// # Cancel safety
    /// The records are written all or none.
    pub(crate) async fn produce(
        &self,
        source: ClientKey,
        write: Write,
        topics: &Topics,
        ticket: WriteTicket,
        queued: impl FnOnce(),
    ) -> Result<Vec<DeliveryReport>, CommandError> {
        self.measured(Kind::Produce, self.write(source, write, topics, ticket, queued)).await
    }

    async fn write(
        &self,
        source: ClientKey,
        Write { mut records, account, ascends, dry_run }: Write,
        topics: &Topics,
        mut ticket: WriteTicket,
        queued: impl FnOnce(),
    ) -> Result<Vec<DeliveryReport>, CommandError> {
        let writes = self.parts.load().writes.clone();
        let is_whole = account.is_some() || ascends;
        let Writes { max_records, due } = writes.ok_or_else(|| self.read_only(first_topic(&records)))?;
        // Commands are checked concurrently, and only enqueued in order. A refused command also waits for its
        // turn, so that the next command cannot overtake the one before.
        let checked = async {
            let errors = match too_much(self.system, &records, max_records) {
                Some(error) => Err(error),
                None => {
                    let mut errors = self.check(source, &mut records, topics).await;
                    if is_whole || dry_run {
                        let producer = account.as_ref().map(|account| account.id);
                        self.backend().place(source, &mut records, &mut errors, producer).await;
                    }
                    if is_whole { whole::check(self.system, &records, errors) } else { Ok(errors) }
                }
            };
            ticket.wait().await;
            errors
        };
        let errors = due.run_until_cancelled(checked).await.ok_or_else(CommandError::shutting_down)??;
        let enqueuing = due.run_until_cancelled(self.enqueuing.read()).await;
        let enqueuing = enqueuing.ok_or_else(CommandError::shutting_down)?;
        // The cluster can have become read-only meanwhile.
        let parts = self.parts.load_full();
        if parts.writes.is_none() {
            return Err(self.read_only(first_topic(&records)));
        }
        if dry_run {
            return Ok(whole::placed(&records, errors));
        }
        if is_whole && errors.iter().any(Option::is_some) {
            return Ok(whole::refused(errors));
        }
        let count = records.len();
        let schema_ids: Vec<_> = records.iter().map(Record::schema_ids).collect();
        let enqueued = match account {
            account if ascends => parts.backend.enqueue_after(source, records, account, &due),
            Some(account) => parts.backend.enqueue_once(source, records, account, &due),
            None => parts.backend.enqueue(source, records, errors, &due),
        };
        let enqueued = due.run_until_cancelled(enqueued).await;
        let enqueued = enqueued.ok_or_else(CommandError::shutting_down)??;
        drop((enqueuing, ticket));
        if enqueued.queued == count {
            queued();
        }
        let mut reports = enqueued.reports.await;
        for (report, [key, value]) in reports.iter_mut().zip(schema_ids) {
            if let Ok(written) = report {
                (written.key_schema_id, written.value_schema_id) = (key, value);
            }
        }
        Ok(reports)
    }

    /// The error of each record that cannot be written. The others get the headers of their rows, and are encoded.
    async fn check(
        &self,
        source: ClientKey,
        records: &mut [Record],
        topics: &Topics,
    ) -> Vec<Option<CommandError>> {
        let mut errors = self.check_logs(source, records, topics).await;
        let mut left = errors.iter_mut();
        for records in records.chunk_by_mut(|a, b| a.topic == b.topic) {
            let rows =
                records.first().and_then(|record| topics.rows(&record.topic)).unwrap_or_else(Rows::none);
            let writable = rows::Writable::new(&rows, self.system);
            for (record, error) in records.iter_mut().zip(&mut left) {
                if error.is_none() {
                    let admitted = writable.admit(record).err();
                    *error = admitted.map(|reason| {
                        CommandError::forbidden(TOPIC_AUTHORIZATION_FAILED, reason)
                            .lacking(WRITE, Some(&record.topic))
                    });
                }
            }
        }
        self.backend().encode(source, records, &mut errors, &self.scans()).await;
        errors
    }

    /// The error of each record that is invalid, or whose log cannot be written to.
    async fn check_logs(
        &self,
        source: ClientKey,
        records: &[Record],
        topics: &Topics,
    ) -> Vec<Option<CommandError>> {
        // Each log is looked up once. Neighbours usually share one.
        let same_log = || records.chunk_by(|a, b| log(a) == log(b));
        let mut logs: BTreeMap<Log<'_>, Option<CommandError>> =
            same_log().filter_map(<[_]>::first).map(|record| (log(record), None)).collect();
        let checks = logs.iter_mut().map(|(log, error)| async move {
            *error = match topics.contains(log.topic) {
                true => self.backend().check_log(source, *log).await.err(),
                // Not looked up: the answer must not tell whether the topic exists.
                false => Some(write_denied(self.system, log.topic)),
            };
        });
        join_all(checks).await;
        let error_of = |records: &[Record]| logs.get(&log(records.first()?))?.clone();
        let errors = same_log().flat_map(|records| {
            let error = error_of(records);
            records.iter().map(move |record| invalid(record).or_else(|| error.clone()))
        });
        errors.collect()
    }
}

fn first_topic(records: &[Record]) -> Option<&str> {
    records.first().map(|record| record.topic.as_str())
}

/// The error of a command that is refused as a whole.
fn too_much(system: System, records: &[Record], max_records: usize) -> Option<CommandError> {
    let same_topic = records.chunk_by(|a, b| a.topic == b.topic).filter_map(<[_]>::first);
    let topics: HashSet<&str> = same_topic.map(|record| record.topic.as_str()).collect();
    let (count, of, max) = if records.len() > max_records {
        (records.len(), "record", max_records)
    } else if topics.len() > MAX_TOPICS {
        (topics.len(), system.topic, MAX_TOPICS)
    } else {
        return None;
    };
    let message = format!("{count} {of}s in one command: expected at most {max}");
    Some(CommandError::new(Fault::Invalid, INVALID_REQUEST, message))
}

/// The log that must exist for a record. For the partitioner's choice it is partition 0, which every topic has.
fn log(record: &Record) -> Log<'_> {
    let partition = record.partition.unwrap_or(PARTITIONER);
    Log { topic: &record.topic, partition: if partition == PARTITIONER { 0 } else { partition } }
}

/// The error of a record that is invalid for every topic.
fn invalid(record: &Record) -> Option<CommandError> {
    let invalid = |code, message: String| Some(CommandError::new(Fault::Invalid, code, message));
    if record.headers.len() > MAX_HEADERS {
        let message = format!("{} headers: expected at most {MAX_HEADERS}", record.headers.len());
        return invalid(INVALID_REQUEST, message);
    }
    if record.headers.iter().any(|header| header.key.contains('\0')) {
        return invalid(INVALID_REQUEST, "header key contains a NUL character".to_owned());
    }
    match record.timestamp {
        Some(timestamp @ ..-1) => {
            let message = format!("timestamp {timestamp}: expected milliseconds since 1970, or -1 for none");
            invalid(INVALID_TIMESTAMP, message)
        }
        _ => None,
    }
}

/// Records per command, at most.
pub const MAX_RECORDS: usize = 1_000;
/// Headers per record, at most.
pub const MAX_HEADERS: usize = 100;
/// Headers per command, over all its records, at most.
pub const MAX_COMMAND_HEADERS: usize = 10_000;
/// Topics per command, at most: each one is looked up.
const MAX_TOPICS: usize = 50;
/// The partition number that lets the partitioner choose.
const PARTITIONER: i32 = -1;

#[cfg(test)]
mod tests {
    use sluicegate_backend::command::Header;

    use super::super::WriteSequencer;
    use super::*;
    use crate::testing::script::Script;

    fn record() -> Record {
        Record { topic: "t".into(), ..Record::default() }
    }

    #[test]
    fn records_that_librdkafka_would_change_are_refused() {
        assert_eq!(invalid(&record()), None);
        for timestamp in [-1, 0, 1] {
            assert_eq!(invalid(&Record { timestamp: Some(timestamp), ..record() }), None);
        }
        for timestamp in [-2, i64::MIN] {
            let error = invalid(&Record { timestamp: Some(timestamp), ..record() }).unwrap();
            assert_eq!((error.code, error.fault), (32, Fault::Invalid));
        }
        let header = |key: &str| Header { key: key.into(), value: None };
        for headers in [vec![header("a\0b")], vec![header("a"); MAX_HEADERS + 1]] {
            assert_eq!(invalid(&Record { headers, ..record() }).unwrap().code, 42);
        }
        assert_eq!(invalid(&Record { headers: vec![header(""); MAX_HEADERS], ..record() }), None);
    }

    #[test]
    fn records_and_topics_of_a_command_are_bounded() {
        let topics = |count: usize| -> Vec<Record> {
            (0..count).map(|topic| Record { topic: topic.to_string(), ..record() }).collect()
        };
        assert_eq!(too_much(System::Kafka, &topics(MAX_TOPICS), MAX_RECORDS), None);
        let error = too_much(System::Kafka, &topics(MAX_TOPICS + 1), MAX_RECORDS).unwrap();
        let words = "51 topics in one command: expected at most 50";
        assert_eq!((error.code, error.message.as_str()), (42, words));
        assert!(too_much(System::Kafka, &topics(2), 1).unwrap().message.contains("2 records"));
    }

    #[tokio::test(start_paused = true)]
    async fn command_waiting_at_shutdown_is_not_written() {
        let (cluster, script) = Script::cluster(1);
        let due = cluster.parts.load().writes.clone().unwrap().due;
        let slow = Record { topic: "60000".into(), ..record() };
        let mut sequencer = WriteSequencer::default();
        let first = sequencer.issue();
        let all = Topics::default();
        let slow = Write { records: vec![slow], account: None, ascends: false, dry_run: false };
        let produced = cluster.produce(ClientKey::default(), slow, &all, sequencer.issue(), || {});
        let (produced, ()) = tokio::join!(produced, async { due.cancel() });
        assert_eq!(produced.unwrap_err().fault, Fault::Transient);
        assert!(script.taken().is_empty());
        drop(first);
    }
}

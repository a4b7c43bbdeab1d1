//! The batch of a command, and the places of its records.

use std::time::Duration;

use bytes::Bytes;
use sluicegate_backend::accounts::Lives;
use sluicegate_backend::command::Record;
use sluicegate_backend::write_queue::QueuePermit;
use sluicegate_backend::{Account, CommandError, Dedup, Fault, Log, Written};
use sluicegate_fair_share::ClientKey;
use sluicegate_protocol::error_code::INVALID_TIMESTAMP;
use sluicegate_records::{BatchProducer, BatchRecord, encode_batch};
use tokio::time::Instant;

/// A producer in a log of one version of its topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) id: i64,
    pub(super) topic: String,
    pub(super) topic_id: Option<u128>,
    pub(super) partition: i32,
}

/// A command's records on their way.
pub(super) struct Batch {
    pub(super) source: ClientKey,
    pub(super) key: Key,
    pub(super) account: Account,
    pub(super) records: Vec<Record>,
    /// When it was queued, as a timestamp for records without one.
    pub(super) now: i64,
    pub(super) queued: Instant,
    pub(super) _permits: Vec<QueuePermit>,
}

impl Batch {
    pub(super) fn log(&self) -> Log<'_> {
        Log { topic: &self.key.topic, partition: self.key.partition }
    }

    fn timestamp(&self, record: &Record) -> i64 {
        record.timestamp.filter(|timestamp| *timestamp >= 0).unwrap_or(self.now)
    }

    /// The latest timestamp of the records behind the first ones.
    pub(super) fn latest(&self, skip: usize) -> i64 {
        let timestamps = self.records.iter().skip(skip).map(|record| self.timestamp(record));
        timestamps.max().unwrap_or(self.now)
    }

    /// Checks that the partition keeps the account for as long as clients are told, and no longer: it counts from the latest
    /// timestamp.
    pub(super) fn check_times(&self, skip: usize, lives: Lives) -> Result<(), CommandError> {
        let since = self.now.saturating_sub(self.latest(skip));
        let oldest = lives.oldest().saturating_add(self.account.age);
        let (back, ahead) = (millis_of(oldest), millis_of(AHEAD));
        if (ahead.saturating_neg()..=back).contains(&since) {
            return Ok(());
        }
        let message = format!(
            "timestamp of {since} ms ago: with a producer, expected one of the last {back} ms, or at most {ahead} ms ahead; \
             put another time into a header"
        );
        Err(CommandError::new(Fault::Invalid, INVALID_TIMESTAMP, message))
    }

    /// The batch of the records behind the first ones.
    pub(super) fn encode(&self, skip: usize) -> Bytes {
        let Account { id, epoch, sequence, .. } = self.account;
        let skipped = i32::try_from(skip).unwrap_or(i32::MAX);
        let producer = BatchProducer { id, epoch, sequence: sequence.saturating_add(skipped) };
        let records: Vec<_> = self
            .records
            .iter()
            .skip(skip)
            .map(|record| BatchRecord {
                timestamp: self.timestamp(record),
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                headers: record.headers.iter().map(|header| (&*header.key, header.value.as_deref())),
            })
            .collect();
        encode_batch(producer, &records).into()
    }

    /// The places of the first records, which were there already, at offsets that are not known.
    pub(super) fn found(&self, count: usize, dedup: Dedup) -> Vec<Written> {
        let found = self.placed(-1, -1, 0, Dedup { is_duplicate: true, ..dedup });
        found.take(count).map(|written| Written { timestamp: -1, ..written }).collect()
    }

    /// The places of the records from one on.
    pub(super) fn placed(
        &self,
        offset: i64,
        appended_at: i64,
        from: usize,
        dedup: Dedup,
    ) -> impl Iterator<Item = Written> {
        (0_i64..).zip(self.records.iter().skip(from)).map(move |(number, record)| Written {
            partition: self.key.partition,
            offset: if offset < 0 { -1 } else { offset.saturating_add(number) },
            timestamp: if appended_at >= 0 { appended_at } else { self.timestamp(record) },
            dedup: Some(dedup),
            ..Written::default()
        })
    }
}

pub(super) fn millis_of(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// The greatest distance of a timestamp from now, ahead: Kafka's own default.
const AHEAD: Duration = Duration::from_hours(1);

//! Reads partitions: each by itself up to its end, and there all together.

use std::cell::Cell;
use std::time::{Duration, Instant};

use sluicegate_client::{
    Client, Error, FetchOptions, Fetched, Isolation, KafkaMessage, PartitionOffset, Walk,
};
use tokio::time::sleep;

use crate::args::Fetch;
use crate::partitions::{at_partition, failed_to};

/// The topic to read, and how.
pub(super) struct Source<'a> {
    client: &'a Client,
    args: &'a Fetch,
    isolation: Isolation,
    options: FetchOptions,
    /// Whether partitions at their ends wait with one fetch. Not with one partition, and not on a server that is too old.
    waits_together: Cell<bool>,
}

/// A partition that is being read.
pub(super) struct Reading<'a> {
    walk: Walk<'a>,
    pub(super) partition: i32,
    /// The log end when the read began.
    pub(super) end: i64,
    /// Time since the last progress.
    pub(super) stalled: Duration,
    /// The pause before the next fetch, after a retriable error.
    pub(super) pause: Duration,
}

/// The result of one fetch.
#[derive(Default)]
pub(super) struct Step {
    pub(super) messages: Vec<KafkaMessage>,
    /// Offsets covered, with or without messages.
    pub(super) passed: u64,
    /// Whether the log has no more messages.
    pub(super) is_at_end: bool,
}

/// A partition with the result of a fetch.
pub(super) type Read<'a> = (Reading<'a>, Result<Step, Error>);

impl<'a> Source<'a> {
    pub(super) fn new(args: &'a Fetch, client: &'a Client) -> Self {
        let isolation = args.isolation.into();
        let is_several = args.partition.is_none();
        // One of several that is at its end must not keep others waiting.
        let wait = if is_several { Duration::ZERO } else { WAIT };
        let options = FetchOptions::new().isolation(isolation).max_wait(wait);
        let waits_together = Cell::new(args.follow && is_several);
        Self { client, args, isolation, options, waits_together }
    }

    /// A partition to be read from `from` on.
    pub(super) fn reading(&self, partition: i32, from: i64, end: i64) -> Reading<'a> {
        let walk = self.walk(partition, from);
        Reading { walk, partition, end, stalled: Duration::ZERO, pause: Duration::ZERO }
    }

    /// Whether a partition is to be read [together](Self::wait) with others.
    pub(super) fn waits_together(&self) -> bool {
        self.waits_together.get()
    }

    /// Reads on in a partition.
    pub(super) async fn read(&self, mut reading: Reading<'a>) -> Read<'a> {
        if !reading.pause.is_zero() {
            sleep(std::mem::take(&mut reading.pause)).await;
        }
        let before = reading.position();
        // Done at the log end. For an offset beyond it, the fetch returns the server's error.
        if !self.args.follow && before == reading.end {
            return (reading, Ok(Step::default()));
        }
        let start = Instant::now();
        let step = reading.walk.next_batch().await.map(|fetched| self.step(before, fetched));
        let passed = step.as_ref().map_or(0, |step| step.passed);
        reading.stalled =
            if passed > 0 { Duration::ZERO } else { reading.stalled.saturating_add(start.elapsed()) };
        (reading, step)
    }

    /// Waits for messages of any of these partitions, at most [`MAX_TOGETHER`]. If the fetch as a whole fails, each has to be
    /// read by itself.
    pub(super) async fn wait(&self, readings: Vec<Reading<'a>>) -> Vec<Read<'a>> {
        let topic = &self.args.topic;
        let place = |reading: &Reading<'_>| PartitionOffset {
            topic: topic.clone(),
            partition: reading.partition,
            offset: reading.position(),
        };
        let places: Vec<_> = readings.iter().map(place).collect();
        let results = match self.client.multi_fetch(&places, self.options.max_wait(WAIT)).await {
            Ok(results) => results,
            Err(Error::CommandUnsupported { .. }) => {
                self.waits_together.set(false);
                return readings.into_iter().map(|reading| (reading, Ok(Step::default()))).collect();
            }
            Err(error) => {
                // One reports the error, and all pause.
                let mut error = Some(error);
                let failed = |reading| {
                    let step = error.take().map_or_else(|| Ok(Step::default()), Err);
                    (Reading { pause: RETRY, ..reading }, step)
                };
                return readings.into_iter().map(failed).collect();
            }
        };
        let read = |(mut reading, result): (Reading<'a>, Result<Fetched, Error>)| {
            let before = reading.position();
            let step = result.map(|fetched| {
                reading.walk = self.walk(reading.partition, fetched.next_offset);
                self.step(before, fetched)
            });
            let what = || at_partition("fetch message", topic, reading.partition);
            let step = step.map_err(|error| failed_to(what(), error));
            (reading, step)
        };
        readings.into_iter().zip(results).map(read).collect()
    }

    fn walk(&self, partition: i32, from: i64) -> Walk<'a> {
        self.client.walk(&self.args.topic, partition, from).with_options(self.options)
    }

    fn step(&self, before: i64, fetched: Fetched) -> Step {
        let end = match self.isolation {
            Isolation::ReadUncommitted => fetched.high_watermark,
            Isolation::ReadCommitted => fetched.last_stable_offset,
        };
        let is_at_end = end.map_or(fetched.messages.is_empty(), |end| fetched.next_offset >= end);
        Step { messages: fetched.messages, passed: distance(before, fetched.next_offset), is_at_end }
    }
}

impl Reading<'_> {
    /// The next offset to read.
    pub(super) fn position(&self) -> i64 {
        self.walk.position()
    }
}

pub(super) fn distance(from: i64, to: i64) -> u64 {
    u64::try_from(to.saturating_sub(from)).unwrap_or(0)
}

/// Partitions that wait with one fetch: the server's limit.
pub(super) const MAX_TOGETHER: usize = 256;
/// Between a retriable error and the next attempt.
pub(super) const RETRY: Duration = Duration::from_secs(1);
/// How long a fetch waits at the log end. Partitions that reach their ends meanwhile join the next one.
const WAIT: Duration = Duration::from_secs(1);

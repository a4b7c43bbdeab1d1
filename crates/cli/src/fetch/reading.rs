//! Reads logs, each by itself.

use std::time::{Duration, Instant};

use sluicegate_client::{self as client, Client, Error, FetchOptions, KafkaMessage, nats};
use tokio::time::sleep;

use crate::args::Fetch;
use crate::log::{self, Log};
use crate::partitions::Begin;

/// Client and options of a fetch.
pub(super) struct Source<'a> {
    client: &'a Client,
    args: &'a Fetch,
    options: FetchOptions,
}

/// A log that is being read.
pub(super) struct Reading<'a> {
    walk: Walk<'a>,
    pub(super) log: Log,
    /// The log end when the read began.
    pub(super) end: i64,
    /// Time since the last progress.
    pub(super) stalled: Duration,
    /// The pause before the next fetch, after a retriable error.
    pub(super) pause: Duration,
}

enum Walk<'a> {
    Partition(client::Walk<'a>),
    Stream(nats::Walk<'a>),
}

/// The result of one fetch.
#[derive(Default)]
pub(super) struct Step {
    pub(super) messages: Vec<KafkaMessage>,
    /// Offsets covered, with or without messages.
    pub(super) passed: u64,
}

impl<'a> Source<'a> {
    pub(super) fn new(args: &'a Fetch, client: &'a Client) -> Self {
        // One of several that is at its end must not keep others waiting.
        let wait = if args.reads_one() { WAIT } else { Duration::ZERO };
        let mut options = FetchOptions::new().isolation(args.isolation.into()).max_wait(wait);
        if args.output.decodes() {
            options = options.decode();
        }
        for filter in &args.filter {
            options = options.filter(filter.clone());
        }
        Self { client, args, options }
    }

    /// A log to be read.
    pub(super) fn reading(&self, Begin { log, from, end }: Begin) -> Reading<'a> {
        let options = self.options.clone();
        let walk = match &log {
            Log::Partition { topic, number } => {
                Walk::Partition(self.client.walk(topic, *number, from).with_options(options))
            }
            Log::Stream(stream) => Walk::Stream(self.client.nats().walk(stream, from).with_options(options)),
        };
        Reading { walk, log, end, stalled: Duration::ZERO, pause: Duration::ZERO }
    }

    /// Reads on in a log.
    pub(super) async fn read(&self, mut reading: Reading<'a>) -> (Reading<'a>, Result<Step, Error>) {
        if !reading.pause.is_zero() {
            sleep(std::mem::take(&mut reading.pause)).await;
        }
        let before = reading.position();
        // Done at the log end. For an offset beyond it, the fetch returns the server's error.
        if !self.args.follow && before == reading.end {
            return (reading, Ok(Step::default()));
        }
        let start = Instant::now();
        let step = reading
            .walk
            .next_batch()
            .await
            .map(|(messages, next)| Step { messages, passed: distance(before, next) });
        let passed = step.as_ref().map_or(0, |step| step.passed);
        reading.stalled =
            if passed > 0 { Duration::ZERO } else { reading.stalled.saturating_add(start.elapsed()) };
        (reading, step)
    }
}

impl Reading<'_> {
    /// The next offset to read.
    pub(super) fn position(&self) -> i64 {
        match &self.walk {
            Walk::Partition(walk) => walk.position(),
            Walk::Stream(walk) => walk.position(),
        }
    }
}

impl Walk<'_> {
    /// The next messages, and where the log continues.
    async fn next_batch(&mut self) -> Result<(Vec<KafkaMessage>, i64), Error> {
        match self {
            Self::Partition(walk) => {
                let fetched = walk.next_batch().await?;
                Ok((fetched.messages, fetched.next_offset))
            }
            Self::Stream(walk) => {
                let fetched = walk.next_batch().await?;
                Ok((fetched.messages.into_iter().map(log::record).collect(), fetched.next_sequence))
            }
        }
    }
}

pub(super) fn distance(from: i64, to: i64) -> u64 {
    u64::try_from(to.saturating_sub(from)).unwrap_or(0)
}

/// Between a retriable error and the next attempt.
pub(super) const RETRY: Duration = Duration::from_secs(1);
/// Longest wait of a fetch at the log end.
const WAIT: Duration = Duration::from_secs(1);

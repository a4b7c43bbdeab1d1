//! `fetch`: the messages of one partition or of all.

mod print;
mod tally;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt as _, TryStreamExt as _};
use indicatif::BinaryBytes;
use sluicegate_client::{At, Client, Error, FetchOptions, Isolation, KafkaMessage, Walk};
use tokio::time::sleep;

use crate::args::{self, Fetch, Gateway};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::partitions;
use crate::progress::Progress;
use crate::stderr::{printable, say};
use crate::stdout::Stdout;
use print::Printer;
use tally::Tally;

pub(crate) async fn run(
    args: &Fetch,
    gateway: &Gateway,
    client: &Client,
    stdout: &mut Stdout,
    interrupt: &mut Interrupt,
) -> Result<(), Failure> {
    let mut tally = Tally::default();
    let start = Instant::now();
    let outcome = interrupt.unless(print_all(args, gateway, client, stdout, &mut tally)).await;
    // An error of one partition ends the read of the others as well.
    let resumable = matches!(outcome, Err(Failure::Interrupted))
        || args.partition.is_none() && matches!(outcome, Err(Failure::Stalled { .. } | Failure::Command(_)));
    if resumable && !gateway.quiet {
        say(tally.summary(args.partition, start.elapsed()));
    }
    outcome
}

/// A partition that is being read.
struct Reading<'a> {
    walk: Walk<'a>,
    partition: i32,
    /// The log end when the read began.
    end: i64,
    /// Time since the last progress.
    stalled: Duration,
    /// The pause before the next fetch, after a retriable error.
    pause: Duration,
}

async fn print_all(
    args: &Fetch,
    gateway: &Gateway,
    client: &Client,
    stdout: &mut Stdout,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let readings = open(args, client).await?;
    let mut progress = Progress::new(total(args, &readings), gateway.quiet);
    let printer = Printer::new(args);
    let mut passed: u64 = 0;
    let mut waiting = VecDeque::from(readings);
    let mut running = FuturesUnordered::new();
    loop {
        while running.len() < IN_FLIGHT {
            let Some(reading) = waiting.pop_front() else { break };
            running.push(next(reading, args.follow));
        }
        let Some((mut reading, step)) = running.next().await else { return Ok(()) };
        let mut batch = match step {
            Ok(Step { messages, passed: offsets }) => {
                passed = passed.saturating_add(offsets);
                messages
            }
            // Kafka may be electing a leader: --follow outlasts that.
            Err(Error::Command { message, retriable: true, .. }) if args.follow => {
                progress.suspend(|| say(format_args!("% {}; retrying", printable(&message))));
                reading.pause = RETRY;
                Vec::new()
            }
            Err(why) => return Err(why.into()),
        };
        let left = args.count.map_or(u64::MAX, |count| count.saturating_sub(tally.messages()));
        batch.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        stdout.write(&printer.print(&args.topic, reading.partition, &batch)).await?;
        tally.add(reading.partition, &batch);
        let done = if args.count.is_some() { tally.messages() } else { passed };
        progress.at(done, BinaryBytes(tally.bytes()));

        if args.count == Some(tally.messages()) {
            return Ok(());
        }
        let Reading { partition, end, stalled, .. } = reading;
        let at = reading.walk.position();
        if args.follow || at < end {
            // Some servers do not report the next offset after a range without messages.
            if !args.follow && stalled >= gateway.timeout {
                let topic = args.topic.clone();
                return Err(Failure::Stalled { topic, partition, at, end, within: gateway.timeout });
            }
            waiting.push_back(reading);
        } else if !gateway.quiet {
            let last = if waiting.is_empty() && running.is_empty() { ": exiting" } else { "" };
            let topic = &args.topic;
            progress.suspend(|| {
                say(format_args!("% Reached end of {topic} [{partition}] at offset {at}{last}"));
            });
        }
    }
}

/// The partitions to read, each at its first offset.
async fn open<'a>(args: &Fetch, client: &'a Client) -> Result<Vec<Reading<'a>>, Error> {
    let open = async |partition| {
        let end = client.list_offset(&args.topic, partition, At::Latest).await?;
        let end = end.ok_or_else(|| Error::Protocol { detail: "it knows no log end".into() })?;
        let end = match args.isolation {
            args::Isolation::ReadUncommitted => end,
            args::Isolation::ReadCommitted => stable_end(client, &args.topic, partition, end).await?,
        };
        let from = args.from.resolve(client, &args.topic, partition, end).await?;
        let walk = client.walk(&args.topic, partition, from).with_options(options(args));
        Ok(Reading { walk, partition, end, stalled: Duration::ZERO, pause: Duration::ZERO })
    };
    match args.partition {
        Some(partition) => Ok(vec![open(partition).await?]),
        None => partitions::each(open).map_ok(|(_, reading)| reading).try_collect().await,
    }
}

fn options(args: &Fetch) -> FetchOptions {
    FetchOptions::new().isolation(match args.isolation {
        args::Isolation::ReadUncommitted => Isolation::ReadUncommitted,
        args::Isolation::ReadCommitted => Isolation::ReadCommitted,
    })
}

/// The end of a log for committed reads: before the first transaction that is open below `end`. A fetch has it in its
/// answer, and shows that the server supports committed reads.
async fn stable_end(client: &Client, topic: &str, partition: i32, end: i64) -> Result<i64, Error> {
    let probe =
        FetchOptions::new().isolation(Isolation::ReadCommitted).max_wait(Duration::ZERO).max_records(1);
    let fetched = client.fetch_with(topic, partition, end, probe).await?;
    Ok(fetched.last_stable_offset.map_or(end, |stable| stable.min(end)))
}

/// The result of one fetch.
struct Step {
    messages: Vec<KafkaMessage>,
    /// Offsets covered, with or without messages.
    passed: u64,
}

async fn next(mut reading: Reading<'_>, follow: bool) -> (Reading<'_>, Result<Step, Error>) {
    if !reading.pause.is_zero() {
        sleep(std::mem::take(&mut reading.pause)).await;
    }
    let before = reading.walk.position();
    // Done at the log end. For an offset beyond it, the fetch returns the server's error.
    if !follow && before == reading.end {
        return (reading, Ok(Step { messages: Vec::new(), passed: 0 }));
    }
    let start = Instant::now();
    let batch = reading.walk.next_batch().await;
    let passed = distance(before, reading.walk.position());
    reading.stalled =
        if passed > 0 { Duration::ZERO } else { reading.stalled.saturating_add(start.elapsed()) };
    (reading, batch.map(|batch| Step { messages: batch.messages, passed }))
}

/// Messages or offsets to read, if the read has an end.
fn total(args: &Fetch, readings: &[Reading<'_>]) -> Option<u64> {
    let distance = |reading: &Reading<'_>| distance(reading.walk.position(), reading.end);
    match args.count {
        Some(count) => Some(count),
        None if args.follow => None,
        None => Some(readings.iter().map(distance).fold(0, u64::saturating_add)),
    }
}

fn distance(from: i64, to: i64) -> u64 {
    u64::try_from(to.saturating_sub(from)).unwrap_or(0)
}

/// Partitions fetched concurrently; each holds an answer.
const IN_FLIGHT: usize = 16;
/// Between a retriable error and the next attempt.
const RETRY: Duration = Duration::from_secs(1);

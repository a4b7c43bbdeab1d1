//! `fetch`: the messages of one partition or of all.

mod print;
mod reading;
mod tally;

use std::collections::VecDeque;
use std::iter::once;
use std::time::Instant;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use indicatif::BinaryBytes;
use sluicegate_client::{At, Client, Error};

use crate::args::{Fetch, Gateway};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::partitions;
use crate::progress::Progress;
use crate::stderr::{printable, say};
use crate::stdout::Stdout;
use print::Printer;
use reading::{MAX_TOGETHER, RETRY, Reading, Source, Step, distance};
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

async fn print_all(
    args: &Fetch,
    gateway: &Gateway,
    client: &Client,
    stdout: &mut Stdout,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let source = Source::new(args, client);
    let readings = open(args, client, &source).await?;
    let mut progress = Progress::new(total(args, &readings), gateway.quiet);
    let printer = Printer::new(args);
    let mut passed: u64 = 0;
    let mut waiting = VecDeque::from(readings);
    let mut at_end = VecDeque::new();
    let mut fetches = FuturesUnordered::new();
    let mut waits = FuturesUnordered::new();
    loop {
        if !source.waits_together() {
            waiting.append(&mut at_end);
        }
        while fetches.len() < IN_FLIGHT {
            let Some(reading) = waiting.pop_front() else { break };
            fetches.push(source.read(reading));
        }
        // A second wait if one cannot have them all.
        while at_end.len() >= MAX_TOGETHER || waits.is_empty() && !at_end.is_empty() {
            let together = at_end.len().min(MAX_TOGETHER);
            waits.push(source.wait(at_end.drain(..together).collect()));
        }
        let read = tokio::select! {
            Some(read) = fetches.next() => vec![read],
            Some(read) = waits.next() => read,
            else => return Ok(()),
        };
        for (mut reading, step) in read {
            let partition = reading.partition;
            let step = match step {
                Ok(step) => step,
                // Kafka may be electing a leader: --follow outlasts that.
                Err(Error::Command { message, retriable: true, .. }) if args.follow => {
                    progress.suspend(|| say(format_args!("% {}; retrying", printable(&message))));
                    reading.pause = RETRY;
                    Step::default()
                }
                Err(why) => return Err(why.into()),
            };
            let Step { messages: mut batch, passed: offsets, is_at_end } = step;
            passed = passed.saturating_add(offsets);
            let left = args.count.map_or(u64::MAX, |count| count.saturating_sub(tally.messages()));
            batch.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            stdout.write(&printer.print(&args.topic, partition, &batch)).await?;
            tally.add(partition, &batch);
            let done = if args.count.is_some() { tally.messages() } else { passed };
            progress.at(done, BinaryBytes(tally.bytes()));

            if args.count == Some(tally.messages()) {
                return Ok(());
            }
            let Reading { end, stalled, .. } = reading;
            let at = reading.position();
            if args.follow && is_at_end {
                at_end.push_back(reading);
            } else if args.follow || at < end {
                // Some servers do not report the next offset after a range without messages.
                if !args.follow && stalled >= gateway.timeout {
                    let topic = args.topic.clone();
                    return Err(Failure::Stalled { topic, partition, at, end, within: gateway.timeout });
                }
                waiting.push_back(reading);
            } else if !gateway.quiet {
                let last = if waiting.is_empty() && fetches.is_empty() { ": exiting" } else { "" };
                let topic = &args.topic;
                progress.suspend(|| {
                    say(format_args!("% Reached end of {topic} [{partition}] at offset {at}{last}"));
                });
            }
        }
    }
}

/// The partitions to read, each at its first offset.
async fn open<'a>(args: &Fetch, client: &Client, source: &Source<'a>) -> Result<Vec<Reading<'a>>, Error> {
    let found = match args.partition {
        Some(partition) => vec![partition],
        None => partitions::find(client, &args.topic).await?,
    };
    let wanted: Vec<At> = once(At::Latest).chain(args.from.query()).collect();
    let queries = found.iter().flat_map(|partition| wanted.iter().map(|at| (*partition, *at)));
    let listed = partitions::offsets(client, &args.topic, queries, args.isolation.into()).await?;
    let listed = listed.into_iter().collect::<Result<Vec<Option<i64>>, Error>>()?;
    let reading = |(partition, offsets): (i32, &[Option<i64>])| {
        let end = offsets.first().copied().flatten();
        let end = end.ok_or_else(|| Error::Protocol { detail: "it knows no log end".into() })?;
        let from = args.from.resolve(offsets.get(1).copied().flatten(), end);
        Ok(source.reading(partition, from, end))
    };
    found.into_iter().zip(listed.chunks(wanted.len())).map(reading).collect()
}

/// Messages or offsets to read, if the read has an end.
fn total(args: &Fetch, readings: &[Reading<'_>]) -> Option<u64> {
    let distance = |reading: &Reading<'_>| distance(reading.position(), reading.end);
    match args.count {
        Some(count) => Some(count),
        None if args.follow => None,
        None => Some(readings.iter().map(distance).fold(0, u64::saturating_add)),
    }
}

/// Partitions fetched concurrently; each holds an answer.
const IN_FLIGHT: usize = 16;

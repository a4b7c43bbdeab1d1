//! `fetch`: the messages of one partition or of all, or of a stream.

mod reading;

use std::collections::VecDeque;
use std::time::Instant;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use indicatif::BinaryBytes;
use sluicegate_client::{Client, Error};

use crate::args::{Fetch, Gateway};
use crate::failure::{Failure, Interrupt};
use crate::partitions;
use crate::progress::Progress;
use crate::stderr::{printable, say};
use crate::stdout::Stdout;
use crate::subscribe;
use crate::tally::{Scope, Tally};
use crate::template::Printer;
use reading::{RETRY, Reading, Source, Step, distance};

pub(crate) async fn run(
    args: &Fetch,
    gateway: &Gateway,
    client: &Client,
    stdout: &mut Stdout,
    interrupt: &mut Interrupt,
) -> Result<(), Failure> {
    if args.follow {
        match subscribe::follow(args, gateway, client, stdout, interrupt).await {
            // Apache APISIX's own pub/sub: asked for messages again and again.
            Err(Failure::Command(Error::CommandUnsupported { .. })) => {}
            outcome => return outcome,
        }
    }
    let mut tally = Tally::default();
    let start = Instant::now();
    let outcome = interrupt.unless(print_all(args, gateway, client, stdout, &mut tally)).await;
    // An error of one partition ends the read of the others as well.
    let resumable = matches!(outcome, Err(Failure::Interrupted))
        || !args.reads_one() && matches!(outcome, Err(Failure::Stalled { .. } | Failure::Command(_)));
    if resumable && !gateway.quiet {
        let scope = if args.reads_one() { Scope::One } else { Scope::Topic };
        say(tally.summary(scope, start.elapsed()));
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
    let logs = partitions::logs(client, args.target.name(), args.partition.as_slice()).await?;
    let begins = partitions::begins(client, logs, args.from, args.isolation.into()).await?;
    let readings: Vec<_> = begins.into_iter().map(|begin| source.reading(begin)).collect();
    let mut progress = Progress::new(total(args, &readings), gateway.quiet);
    let printer = Printer::new(&args.output);
    let mut passed: u64 = 0;
    let mut waiting = VecDeque::from(readings);
    let mut fetches = FuturesUnordered::new();
    loop {
        while fetches.len() < IN_FLIGHT {
            let Some(reading) = waiting.pop_front() else { break };
            fetches.push(source.read(reading));
        }
        let Some((mut reading, step)) = fetches.next().await else { return Ok(()) };
        let step = match step {
            Ok(step) => step,
            // A leader may be being elected: --follow outlasts that.
            Err(Error::Command { message, retriable: true, .. }) if args.follow => {
                progress.suspend(|| say(format_args!("% {}; retrying", printable(&message))));
                reading.pause = RETRY;
                Step::default()
            }
            Err(why) => return Err(why.into()),
        };
        let Step { messages: mut batch, passed: offsets } = step;
        passed = passed.saturating_add(offsets);
        let left = args.count.map_or(u64::MAX, |count| count.saturating_sub(tally.messages()));
        batch.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        stdout.write(&printer.print(&reading.log, &batch)).await?;
        tally.add(&reading.log, &batch);
        let done = if args.count.is_some() { tally.messages() } else { passed };
        progress.at(done, BinaryBytes(tally.bytes()));

        if args.count == Some(tally.messages()) {
            return Ok(());
        }
        let Reading { end, stalled, .. } = reading;
        let at = reading.position();
        if args.follow || at < end {
            // Some servers do not report the next offset after a range without messages.
            if !args.follow && stalled >= gateway.timeout {
                return Err(Failure::Stalled { log: reading.log, at, end, within: gateway.timeout });
            }
            waiting.push_back(reading);
        } else if !gateway.quiet {
            let last = if waiting.is_empty() && fetches.is_empty() { ": exiting" } else { "" };
            let log = &reading.log;
            progress.suspend(|| say(format_args!("% Reached end of {log} at {} {at}{last}", log.unit())));
        }
    }
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

/// Logs fetched concurrently; each holds an answer.
const IN_FLIGHT: usize = 16;

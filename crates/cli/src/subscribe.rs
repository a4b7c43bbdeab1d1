//! `subscribe`: the messages of topics as they are written. `fetch --follow` is the same for one topic.

mod events;
mod lag;

use std::time::Instant;

use indicatif::BinaryBytes;
use sluicegate_client::{Client, Delivery, Error, Filter, Header, Isolation, Source, Subscribe, Update};

use crate::args::{self, Fetch, Gateway, OnLag};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::partitions;
use crate::position::Position;
use crate::print::Printer;
use crate::progress::Progress;
use crate::stderr::say;
use crate::stdout::Stdout;
use crate::tally::{Scope, Tally};
use events::Events;
use lag::Lag;

/// Prints what the subscription of `args` delivers.
pub(crate) async fn run(
    args: &args::Subscribe,
    gateway: &Gateway,
    client: &Client,
    stdout: &mut Stdout,
    interrupt: &mut Interrupt,
) -> Result<(), Failure> {
    let isolation = args.isolation.into();
    let sources = async {
        let mut sources = Vec::with_capacity(args.topics.len());
        for topic in &args.topics {
            sources.push(source(client, topic, &args.partition, args.from, isolation).await?);
        }
        Ok(sources)
    };
    let mut wanted = Subscribe::new(interrupt.unless(sources).await?).isolation(isolation);
    for filter in filters(args) {
        wanted = wanted.filter(filter);
    }
    if let Some(time) = args.linger {
        wanted = wanted.linger(time);
    }
    if args.on_lag == OnLag::Skip {
        wanted = wanted.skip_on_lag();
    }
    let scope = match (&args.topics[..], &args.partition[..]) {
        ([_], [_]) => Scope::Partition,
        ([_], _) => Scope::Topic,
        _ => Scope::Topics,
    };
    let reading = Reading { printer: Printer::new(&args.output), count: args.count, scope, gateway };
    reading.print(client, wanted, stdout, interrupt).await
}

/// Prints what `fetch --follow` does.
///
/// # Errors
/// [`Error::CommandUnsupported`], before anything is printed, if the server is too old.
pub(crate) async fn follow(
    args: &Fetch,
    gateway: &Gateway,
    client: &Client,
    stdout: &mut Stdout,
    interrupt: &mut Interrupt,
) -> Result<(), Failure> {
    let isolation = args.isolation.into();
    let source = source(client, &args.topic, args.partition.as_slice(), args.from, isolation);
    let wanted = Subscribe::new([interrupt.unless(source).await?]).isolation(isolation);
    let scope = if args.partition.is_some() { Scope::Partition } else { Scope::Topic };
    let reading = Reading { printer: Printer::new(&args.output), count: args.count, scope, gateway };
    reading.print(client, wanted, stdout, interrupt).await
}

/// These partitions of `topic`, or all if none is given, from `position` on.
async fn source(
    client: &Client,
    topic: &str,
    partitions: &[i32],
    position: Position,
    isolation: Isolation,
) -> Result<Source, Failure> {
    let source = Source::new(topic).partitions(partitions.iter().copied());
    Ok(match position {
        Position::At(at) => source.at(at),
        Position::Offset(offset) => source.offset(offset),
        Position::BeforeEnd(_) => {
            let begins = partitions::begins(client, topic, partitions, position, isolation).await?;
            begins.into_iter().fold(source, |source, begin| source.next(begin.partition, begin.from))
        }
    })
}

/// One for the key, and one for each header that is named.
fn filters(args: &args::Subscribe) -> Vec<Filter> {
    let args::Subscribe { record_key, record_key_prefix, record_header, .. } = args;
    let mut filters = Vec::new();
    if !record_key.is_empty() || !record_key_prefix.is_empty() {
        let key = record_key.iter().fold(Filter::key(), |key, value| key.equals(value.clone()));
        filters.push(record_key_prefix.iter().fold(key, |key, prefix| key.starts_with(prefix.clone())));
    }
    let mut names: Vec<&str> = record_header.iter().map(|header| header.key.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let values = record_header.iter().filter(|header| header.key == name);
        let values = values.filter_map(|Header { value, .. }| value.clone());
        filters.push(values.fold(Filter::header(name), Filter::equals));
    }
    filters
}

/// How a subscription is printed.
struct Reading<'a> {
    printer: Printer,
    /// Messages until the end, if there is one.
    count: Option<u64>,
    scope: Scope,
    gateway: &'a Gateway,
}

impl Reading<'_> {
    async fn print(
        &self,
        client: &Client,
        wanted: Subscribe,
        stdout: &mut Stdout,
        interrupt: &mut Interrupt,
    ) -> Result<(), Failure> {
        let mut tally = Tally::default();
        let start = Instant::now();
        let outcome = interrupt.unless(self.print_all(client, wanted, stdout, &mut tally)).await;
        let is_resumable = match &outcome {
            Err(Failure::Command(why)) => !matches!(why, Error::CommandUnsupported { .. }),
            Err(Failure::Interrupted) => true,
            _ => false,
        };
        if is_resumable && !self.gateway.quiet {
            say(tally.summary(self.scope, start.elapsed()));
        }
        outcome
    }

    async fn print_all(
        &self,
        client: &Client,
        wanted: Subscribe,
        stdout: &mut Stdout,
        tally: &mut Tally,
    ) -> Result<(), Failure> {
        let mut progress = Progress::new(self.count, self.gateway.quiet);
        let mut events = Events::default();
        let mut lag = Lag::default();
        let mut updates = client.subscribe(wanted);
        while let Some(update) = updates.next().await {
            let update = update?;
            if let Some(line) = events.line(&update).filter(|_| !self.gateway.quiet) {
                progress.suspend(|| say(line));
            }
            if let Update::CaughtUp { topic, partition, .. } = &update {
                lag.note(topic, *partition, 0);
            }
            let Update::Delivery(mut delivery) = update else { continue };
            lag.note(&delivery.topic, delivery.partition, delivery.behind());
            let left = self.count.map_or(u64::MAX, |count| count.saturating_sub(tally.messages()));
            delivery.messages.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            let Delivery { topic, partition, messages, .. } = &delivery;
            stdout.write(&self.printer.print(topic, *partition, messages)).await?;
            tally.add(topic, *partition, messages);
            progress.at(tally.messages(), format_args!("{}, {lag} behind", BinaryBytes(tally.bytes())));
            if self.gateway.verbose
                && let Some(line) = lag.line(Instant::now())
            {
                progress.suspend(|| say(line));
            }
            if self.count == Some(tally.messages()) {
                return Ok(());
            }
        }
        Ok(())
    }
}

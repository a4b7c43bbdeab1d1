//! `subscribe`: the messages of topics or streams as they are written. `fetch --follow` is the same for one of them.

mod events;
mod lag;
mod update;

use std::time::Instant;

use futures_util::stream::LocalBoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use indicatif::BinaryBytes;
use sluicegate_client::{Client, Error, Filter, Header, Isolation, Reason, Source, Subscribe, nats};

use crate::args::{self, Fetch, Gateway, Name, OnLag};
use crate::failure::{Failure, Interrupt};
use crate::log::Log;
use crate::partitions;
use crate::position::Position;
use crate::progress::Progress;
use crate::stderr::say;
use crate::stdout::Stdout;
use crate::tally::{Scope, Tally};
use crate::template::Printer;
pub(crate) use events::Events;
use lag::Lag;
pub(crate) use update::Update;

/// Prints what the subscription of `args` delivers.
pub(crate) async fn run(
    args: &args::Subscribe,
    gateway: &Gateway,
    client: &Client,
    stdout: &mut Stdout,
    interrupt: &mut Interrupt,
) -> Result<(), Failure> {
    let isolation = args.isolation.into();
    let updates = interrupt.unless(async {
        if args.stream.is_empty() {
            let mut sources = Vec::with_capacity(args.topics.len());
            for topic in &args.topics {
                sources.push(source(client, topic, &args.partition, args.from, isolation).await?);
            }
            return Ok(of_topics(client, with_options(Subscribe::new(sources).isolation(isolation), args)));
        }
        let mut sources = Vec::with_capacity(args.stream.len());
        for stream in &args.stream {
            sources.push(stream_source(client, stream, args.from).await?);
        }
        Ok(of_streams(client, with_options(Subscribe::new(sources), args)))
    });
    let updates = updates.await?;
    let scope = match (&args.topics[..], &args.partition[..], &args.stream[..]) {
        ([_], [_], _) | (_, _, [_]) => Scope::One,
        ([_], _, _) => Scope::Topic,
        _ => Scope::Many,
    };
    let reading = Reading { printer: Printer::new(&args.output), count: args.count, scope, gateway };
    reading.print(updates, stdout, interrupt).await
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
    let updates = interrupt.unless(async {
        Ok(match args.target.name() {
            Name::Topic(topic) => {
                let source = source(client, topic, args.partition.as_slice(), args.from, isolation).await?;
                of_topics(client, Subscribe::new([source]).isolation(isolation))
            }
            Name::Stream(stream) => {
                of_streams(client, Subscribe::new([stream_source(client, stream, args.from).await?]))
            }
        })
    });
    let updates = updates.await?;
    let scope = if args.reads_one() { Scope::One } else { Scope::Topic };
    let reading = Reading { printer: Printer::new(&args.output), count: args.count, scope, gateway };
    reading.print(updates, stdout, interrupt).await
}

type Updates = LocalBoxStream<'static, Result<Update, Error>>;

fn of_topics(client: &Client, wanted: Subscribe) -> Updates {
    client.subscribe(wanted).map_ok(Update::from).boxed_local()
}

fn of_streams(client: &Client, wanted: Subscribe<nats::Source>) -> Updates {
    client.nats().subscribe(wanted).map_ok(Update::from).boxed_local()
}

fn with_options<S>(mut wanted: Subscribe<S>, args: &args::Subscribe) -> Subscribe<S> {
    for filter in filters(args) {
        wanted = wanted.filter(filter);
    }
    if let Some(time) = args.linger {
        wanted = wanted.linger(time);
    }
    match args.on_lag {
        OnLag::Wait => wanted,
        OnLag::Skip => wanted.skip_on_lag(),
    }
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
            let logs = partitions::logs(client, Name::Topic(topic), partitions).await?;
            let begins = partitions::begins(client, logs, position, isolation).await?;
            begins.into_iter().fold(source, |source, begin| match begin.log {
                Log::Partition { number, .. } => source.next(number, begin.from),
                Log::Stream(_) => source,
            })
        }
    })
}

/// `stream` from `position` on.
async fn stream_source(client: &Client, stream: &str, position: Position) -> Result<nats::Source, Failure> {
    let source = nats::Source::new(stream);
    Ok(match position {
        Position::At(at) => source.at(at),
        Position::Offset(sequence) => source.sequence(sequence),
        Position::BeforeEnd(_) => {
            let log = vec![Log::Stream(stream.to_owned())];
            let begins = partitions::begins(client, log, position, Isolation::ReadUncommitted).await?;
            begins.into_iter().fold(source, |source, begin| source.sequence(begin.from))
        }
    })
}

fn filters(args: &args::Subscribe) -> Vec<Filter> {
    let args::Subscribe { record_key, record_key_prefix, subject, subject_prefix, record_header, .. } = args;
    let keys = key_filter(Filter::key(), record_key, record_key_prefix);
    let subjects = key_filter(Filter::subject(), subject, subject_prefix);
    keys.into_iter().chain(subjects).chain(header_filters(record_header)).collect()
}

/// The filter of these keys or subjects, or those that begin so; None without both.
pub(crate) fn key_filter(filter: Filter, values: &[String], prefixes: &[String]) -> Option<Filter> {
    if values.is_empty() && prefixes.is_empty() {
        return None;
    }
    let filter = values.iter().fold(filter, |filter, value| filter.equals(value.clone()));
    Some(prefixes.iter().fold(filter, |filter, prefix| filter.starts_with(prefix.clone())))
}

/// A filter for each header that is named.
pub(crate) fn header_filters(headers: &[Header]) -> Vec<Filter> {
    let mut names: Vec<&str> = headers.iter().map(|header| header.key.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let filter = |name: &str| {
        let values = headers.iter().filter(|header| header.key == name);
        let values = values.filter_map(|Header { value, .. }| value.clone());
        values.fold(Filter::header(name), Filter::equals)
    };
    names.into_iter().map(filter).collect()
}

/// Output and end of a subscription.
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
        updates: Updates,
        stdout: &mut Stdout,
        interrupt: &mut Interrupt,
    ) -> Result<(), Failure> {
        let mut tally = Tally::default();
        let start = Instant::now();
        let outcome = interrupt.unless(self.print_all(updates, stdout, &mut tally)).await;
        let is_resumable = match &outcome {
            Err(Failure::Command(why)) => !matches!(why, Error::CommandUnsupported { .. }),
            Err(Failure::Interrupted) => true,
            _ => false,
        };
        if matches!(&outcome, Err(Failure::Command(Error::Command { reason: Reason::Recreated, .. }))) {
            tally.forget_positions();
        }
        if is_resumable && !self.gateway.quiet {
            say(tally.summary(self.scope, start.elapsed()));
        }
        outcome
    }

    async fn print_all(
        &self,
        mut updates: Updates,
        stdout: &mut Stdout,
        tally: &mut Tally,
    ) -> Result<(), Failure> {
        let mut progress = Progress::new(self.count, self.gateway.quiet);
        let mut events = Events::default();
        let mut lag = Lag::default();
        while let Some(update) = updates.next().await {
            let update = update?;
            if let Some(line) = events.line(&update).filter(|_| !self.gateway.quiet) {
                progress.suspend(|| say(line));
            }
            if let Update::CaughtUp { log, .. } = &update {
                lag.note(log, 0);
            }
            let Update::Delivery { log, mut messages, behind } = update else { continue };
            lag.note(&log, behind);
            let left = self.count.map_or(u64::MAX, |count| count.saturating_sub(tally.messages()));
            messages.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            stdout.write(&self.printer.print(&log, &messages)).await?;
            tally.add(&log, &messages);
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

//! `subscribe`: the messages of topics or streams as they are written. `fetch --follow` is the same for one of them.

mod events;
mod group;
mod lag;
mod update;

use std::time::Instant;

use futures_util::{StreamExt as _, TryStreamExt as _};
use indicatif::BinaryBytes;
use sluicegate_client::{Client, Error, Filter, Header, Reason, Source, Subscribe, nats};

use crate::args::{self, Fetch, Gateway, Name, OnLag};
use crate::failure::{Failure, Interrupt};
use crate::position::Position;
use crate::progress::Progress;
use crate::stderr::say;
use crate::stdout::Stdout;
use crate::tally::{Scope, Tally};
use crate::template::Printer;
pub(crate) use events::Events;
use group::{Commits, Updates};
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
    let updates = if args.stream.is_empty() {
        let sources = args.topics.iter().map(|topic| source(topic, &args.partition, args.from));
        let wanted = with_options(Subscribe::new(sources).isolation(args.isolation.into()), args);
        match &args.group {
            Some(group) => Updates::Member(Box::new(Commits::new(client.join(group, wanted)))),
            None => of_topics(client, wanted),
        }
    } else {
        let sources = args.stream.iter().map(|stream| stream_source(stream, args.from));
        of_streams(client, with_options(Subscribe::new(sources), args))
    };
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
    let updates = match args.target.name() {
        Name::Topic(topic) => {
            let source = source(topic, args.partition.as_slice(), args.from);
            let wanted = Subscribe::new([source]).isolation(args.isolation.into());
            let wanted = with_filters(wanted, args.filter.iter().cloned());
            of_topics(client, if args.output.decodes() { wanted.decode() } else { wanted })
        }
        Name::Stream(stream) => {
            let wanted = Subscribe::new([stream_source(stream, args.from)]);
            of_streams(client, with_filters(wanted, args.filter.iter().cloned()))
        }
    };
    let scope = if args.reads_one() { Scope::One } else { Scope::Topic };
    let reading = Reading { printer: Printer::new(&args.output), count: args.count, scope, gateway };
    reading.print(updates, stdout, interrupt).await
}

fn of_topics(client: &Client, wanted: Subscribe) -> Updates {
    Updates::Alone(client.subscribe(wanted).map_ok(Update::from).boxed_local())
}

fn of_streams(client: &Client, wanted: Subscribe<nats::Source>) -> Updates {
    Updates::Alone(client.nats().subscribe(wanted).map_ok(Update::from).boxed_local())
}

pub(crate) fn with_filters<S>(
    wanted: Subscribe<S>,
    filters: impl IntoIterator<Item = Filter>,
) -> Subscribe<S> {
    filters.into_iter().fold(wanted, Subscribe::filter)
}

fn with_options<S>(wanted: Subscribe<S>, args: &args::Subscribe) -> Subscribe<S> {
    let mut wanted = with_filters(wanted, filters(args));
    if args.output.decodes() {
        wanted = wanted.decode();
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
fn source(topic: &str, partitions: &[i32], position: Position) -> Source {
    let source = Source::new(topic).partitions(partitions.iter().copied());
    match position {
        Position::At(at) => source.at(at),
        Position::Offset(offset) => source.offset(offset),
        Position::BeforeEnd(count) => source.last(count.unsigned_abs()),
    }
}

/// `stream` from `position` on.
fn stream_source(stream: &str, position: Position) -> nats::Source {
    let source = nats::Source::new(stream);
    match position {
        Position::At(at) => source.at(at),
        Position::Offset(sequence) => source.sequence(sequence),
        Position::BeforeEnd(count) => source.last(count.unsigned_abs()),
    }
}

fn filters(args: &args::Subscribe) -> Vec<Filter> {
    let args::Subscribe { record_key, record_key_prefix, subject, subject_prefix, record_header, .. } = args;
    let keys = key_filter(Filter::key(), record_key, record_key_prefix);
    let subjects = key_filter(Filter::subject(), subject, subject_prefix);
    let named = keys.into_iter().chain(subjects).chain(header_filters(record_header));
    named.chain(args.filter.iter().cloned()).collect()
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
        mut updates: Updates,
        stdout: &mut Stdout,
        interrupt: &mut Interrupt,
    ) -> Result<(), Failure> {
        let mut tally = Tally::default();
        let start = Instant::now();
        let outcome = interrupt.unless(self.print_all(&mut updates, stdout, &mut tally)).await;
        if let Some(line) = updates.finish().await {
            say(line);
        }
        let is_resumable = match &outcome {
            Err(Failure::Command(why)) => !matches!(why, Error::CommandUnsupported { .. }),
            Err(Failure::Interrupted | Failure::Terminated) => true,
            _ => false,
        };
        let is_recreated =
            matches!(&outcome, Err(Failure::Command(Error::Command { reason: Reason::Recreated, .. })));
        if is_recreated || updates.is_member() {
            tally.forget_positions();
        }
        if is_resumable && !self.gateway.quiet {
            say(tally.summary(self.scope, start.elapsed()));
        }
        outcome
    }

    async fn print_all(
        &self,
        updates: &mut Updates,
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
            let Update::Delivery { log, mut messages, mut next, behind } = update else { continue };
            lag.note(&log, behind);
            let left = self.count.map_or(u64::MAX, |count| count.saturating_sub(tally.messages()));
            let left = usize::try_from(left).unwrap_or(usize::MAX);
            if let Some(first) = messages.get(left) {
                next = first.offset;
            }
            messages.truncate(left);
            stdout.write(&self.printer.print(&log, &messages)).await?;
            updates.written(&log, next);
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

//! `table`: the newest message of each key, once, as JSON lines, or as a table on the terminal.

mod live;
mod screen;

use std::io::IsTerminal as _;
use std::time::{Duration, SystemTime};

use sluicegate_client::{Client, Filter, Subscribe};
use tokio::time::{Instant, timeout_at};

use self::live::{Change, Live, Row};
use crate::args::{self, Name};
use crate::failure::{Failure, Interrupt};
use crate::json::{self, Key, TableLine, Value};
use crate::stderr::say;
use crate::stdout::Stdout;
use crate::subscribe::{Events, header_filters, key_filter, with_filters};

/// Shows the table of `args`.
pub(crate) async fn run(
    args: &args::Table,
    quiet: bool,
    client: &Client,
    stdout: &mut Stdout,
    interrupt: &mut Interrupt,
) -> Result<(), Failure> {
    let table = match args.target.name() {
        Name::Topic(topic) => Live::Topic(client.table(filtered(topic.into(), args))),
        Name::Stream(stream) => Live::Stream(client.nats().table(filtered(stream.into(), args))),
    };
    if args.once {
        return interrupt.unless(once(table, quiet, stdout)).await;
    }
    if std::io::stdout().is_terminal() {
        stdout.write(screen::BEGIN).await?;
        let shown = interrupt.unless(show(table, args.target.name(), stdout)).await;
        stdout.write(screen::END).await?;
        return shown;
    }
    interrupt.unless(lines(table, quiet, stdout)).await
}

fn filtered<S>(wanted: Subscribe<S>, args: &args::Table) -> Subscribe<S> {
    let keys = key_filter(Filter::key(), &args.record_key, &args.record_key_prefix);
    let named = keys.into_iter().chain(header_filters(&args.record_header));
    let wanted = with_filters(wanted, named.chain(args.filter.iter().cloned()));
    wanted.decode()
}

/// Prints the table when it is complete.
async fn once(mut table: Live, quiet: bool, stdout: &mut Stdout) -> Result<(), Failure> {
    let mut events = Events::default();
    while !table.is_complete() {
        tell(&table.next().await?, &mut events, quiet);
    }
    let mut out = Vec::new();
    json::table(table.rows().map(|row| (row.key, row.value)), &mut out);
    stdout.write(&out).await
}

/// Prints each change.
async fn lines(mut table: Live, quiet: bool, stdout: &mut Stdout) -> Result<(), Failure> {
    let mut events = Events::default();
    loop {
        let change = table.next().await?;
        tell(&change, &mut events, quiet);
        let mut out = Vec::new();
        for key in &change.keys {
            let line = match table.get(key) {
                Some(Row { key, value, timestamp, decoded }) => {
                    TableLine::Key { key: Key(key), value: Value(value), timestamp, decoded }
                }
                None => TableLine::Removed { key: Key(key), removed: true },
            };
            json::table_line(&line, &mut out);
        }
        if change.is_complete {
            json::table_line(&TableLine::Complete { complete: true }, &mut out);
        }
        stdout.write(&out).await?;
    }
}

/// Draws the table on the terminal, ten times a second at most.
async fn show(mut table: Live, name: Name<'_>, stdout: &mut Stdout) -> Result<(), Failure> {
    let mut events = Events::default();
    let mut said = None;
    loop {
        stdout.write(&screen::draw(&table, name, said.as_deref(), SystemTime::now())).await?;
        let drawn = Instant::now();
        let later = |time| drawn.checked_add(time).unwrap_or(drawn);
        let mut until = later(AGES);
        while let Ok(change) = timeout_at(until, table.next()).await {
            let change = change?;
            said = change.told.as_ref().map_or(said, |update| events.line(update));
            until = later(REDRAW);
        }
    }
}

fn tell(change: &Change, events: &mut Events, quiet: bool) {
    if let Some(line) = change.told.as_ref().and_then(|update| events.line(update))
        && !quiet
    {
        say(line);
    }
}

/// The time between two drawings of a table that changes.
const REDRAW: Duration = Duration::from_millis(100);
/// The same of one that does not.
const AGES: Duration = Duration::from_secs(1);

//! A client that subscribes, and subscribes again when it has lost its connection.

use std::net::SocketAddr;
use std::time::Duration;

use sluicegate_stack::random::Random;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::clients::position::{Position, Told};
use crate::clients::source::Source;
use crate::clients::table::{Logs, Table};
use crate::clients::wish::{RED_REST, RED_SESSIONS, Tenant, Wish};
use crate::clients::{Client, Format};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Fast,
    /// Takes its time for each message.
    Slow,
    /// Reads nothing for a while, and then again.
    Stuck,
    /// Says how much it can take.
    Credit,
    /// Wants only some of the records.
    Filtered,
    /// Drops its connection again and again, and as soon as it has a whole table that can go on.
    Fickle,
}

pub(super) struct Subscriber {
    number: usize,
    kind: Kind,
    gateway: SocketAddr,
    pub(super) wish: Wish,
    /// Whether records can be discarded before it has them.
    pub(super) may_miss: bool,
    random: Random,
}

/// Messages and connections of a client.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) number: usize,
    pub(super) kind: Kind,
    pub(super) wish: Wish,
    pub(super) connections: usize,
    /// When each connection was lost, and when the next one was there.
    pub(super) lost: Vec<(Instant, Option<Instant>)>,
    pub(super) position: Position,
}

impl Kind {
    const ALL: [Self; 6] = [Self::Fast, Self::Slow, Self::Stuck, Self::Credit, Self::Filtered, Self::Fickle];

    /// Whether it keeps its connection, and takes what comes at once.
    pub(super) fn stays(self) -> bool {
        matches!(self, Self::Fast | Self::Credit | Self::Filtered)
    }
}

impl Subscriber {
    /// Its number decides what it is like, and which partitions it reads: of each kind, one in three reads all, others
    /// one or two.
    pub(super) fn new(
        number: usize,
        gateway: SocketAddr,
        source: Source,
        partitions: i32,
        random: Random,
    ) -> Self {
        let kind = Kind::ALL.into_iter().cycle().nth(number).unwrap_or(Kind::Fast);
        let count = partitions;
        let first = i32::try_from(number).unwrap_or_default() % partitions;
        let reads_all = (number / Kind::ALL.len()).is_multiple_of(3);
        let some = if number.is_multiple_of(2) { vec![first] } else { vec![first, (first + 1) % partitions] };
        let partitions = if reads_all { Vec::new() } else { some };
        let keys = if kind == Kind::Filtered { source.keys(count, 0..1) } else { Vec::new() };
        let credit = (kind == Kind::Credit).then_some(CREDIT);
        let wish = Wish { partitions, keys, credit, ..Wish::of(source, count) };
        Self { number, kind, gateway, wish, may_miss: false, random }
    }

    /// One that keeps a table, if its number says so: of each kind with each connection, one in three.
    pub(super) fn with_table(self, source: &Source, count: i32) -> Self {
        let round = self.number / Kind::ALL.len();
        let (connection, round) = (round % FORMATS.len(), round / FORMATS.len());
        if !round.is_multiple_of(3) {
            return self;
        }
        let round = round / 3;
        let is_filtered = self.kind == Kind::Filtered;
        let has_header = is_filtered && (round + connection) % 2 == 1;
        let tenant = if round % 2 == 1 { Some(Tenant::Rows) } else { has_header.then_some(Tenant::Filter) };
        let keys = if is_filtered && !has_header { source.keys(count, some_keys()) } else { Vec::new() };
        let first = i32::try_from(self.number).unwrap_or_default() % count;
        let partitions = match (round + connection) % 3 {
            0 => Vec::new(),
            1 => vec![first],
            _ => vec![first, (first + 1) % count],
        };
        let Wish { credit, .. } = self.wish;
        let wish =
            Wish { partitions, keys, tenant, credit, is_table: true, ..Wish::of(source.clone(), count) };
        let red = [RED_SESSIONS, RED_REST];
        let paths = if tenant == Some(Tenant::Rows) { red } else { wish.paths };
        let wish = Wish { paths, ..wish };
        Self { wish, ..self }
    }

    /// Runs until all its partitions are at the ends of the logs, once those are known, or nobody waits for it any more.
    pub(super) async fn run(mut self, mut logs: watch::Receiver<Option<Logs>>) -> Report {
        let table = self.wish.is_table.then(Table::default);
        let mut position = Position { may_miss: self.may_miss, table, ..Position::default() };
        let (mut connections, mut lost) = (0_usize, Vec::new());
        while !self.is_done(&position, &logs) {
            if connections > 0 {
                sleep(Duration::from_millis(50 + self.random.next() % 450)).await;
            }
            connections = connections.saturating_add(1);
            // It is lost when it fails, whatever the reason: a connection of these clients never ends for a good one.
            let opened = self.connect(&mut position, &mut logs).await;
            if let (Some(opened), Some((_, back @ None))) = (opened, lost.last_mut()) {
                *back = Some(opened);
            }
            if opened.is_some() {
                lost.push((Instant::now(), None));
            }
        }
        let Self { number, kind, wish, .. } = self;
        Report { number, kind, wish, connections, lost, position }
    }

    fn is_done(&self, position: &Position, logs: &watch::Receiver<Option<Logs>>) -> bool {
        logs.has_changed().is_err()
            || logs.borrow().as_ref().is_some_and(|logs| position.is_at(logs, &self.wish))
    }

    /// One connection, until it is lost or all is read. Gives when it was there, if it was.
    async fn connect(
        &mut self,
        position: &mut Position,
        logs: &mut watch::Receiver<Option<Logs>>,
    ) -> Option<Instant> {
        // So that clients of each kind have connections of each kind.
        let format = FORMATS.into_iter().cycle().nth(self.number / Kind::ALL.len())?;
        position.reconnect();
        let open = Client::open(format, self.gateway, &self.wish, position);
        let mut connection = timeout(WITHIN, open).await.ok().flatten()?;
        let opened = Instant::now();
        // One message of a stream of events is one record, and not a batch.
        let share = if matches!(connection, Client::Events(_)) { 10 } else { 1 };
        while !self.is_done(position, logs) {
            let told = tokio::select! {
                told = connection.told() => match told {
                    Some(told) => told,
                    None => break,
                },
                // A subscriber at an end may have everything, now that the logs have ends.
                _ = logs.changed() => continue,
            };
            // A table with a header's condition would begin anew for ever.
            let has_table = matches!(told.what(), Told::SnapshotEnd) && self.wish.tenant.is_none();
            position.take(told);
            // Once the ends are known, the rest is read without a pause.
            if logs.borrow().is_some() && self.kind != Kind::Fickle {
                continue;
            }
            match self.kind {
                Kind::Slow if self.random.below(share) == 0 => {
                    sleep(Duration::from_millis(self.random.next() % 20)).await
                }
                Kind::Stuck if self.random.below(200 * share) == 0 => {
                    sleep(Duration::from_millis(5_000 + self.random.next() % 10_000)).await;
                }
                Kind::Fickle if has_table || self.random.below(100 * share) == 0 => break,
                Kind::Fast | Kind::Slow | Kind::Stuck | Kind::Credit | Kind::Filtered | Kind::Fickle => {}
            }
        }
        Some(opened)
    }
}

impl Report {
    pub(super) fn count(&self) -> usize {
        self.position.records.values().map(Vec::len).sum()
    }

    /// The records that it was told it would not receive.
    pub(super) fn missed(&self) -> usize {
        let lengths =
            self.position.missed.values().flatten().map(|range| range.end.saturating_sub(range.start));
        lengths.filter_map(|length| usize::try_from(length).ok()).sum()
    }
}

const FORMATS: [Format; 4] = [Format::Json, Format::Events, Format::Session, Format::Streams];
/// The time for an upgrade.
const WITHIN: Duration = Duration::from_secs(10);
/// Bytes that a client with credit can take at a time.
const CREDIT: u64 = 500;

/// Keys that a filter of a table asks for: as many as it can have, in four streams.
fn some_keys() -> impl Iterator<Item = u64> {
    (0..25).map(|number| number * 5)
}

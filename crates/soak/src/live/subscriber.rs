//! A client that subscribes, and subscribes again when it has lost its connection.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use sluicegate_protocol::KafkaMessage;
use sluicegate_stack::random::Random;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::connection::{Connection, Wish};
use super::position::Position;
use super::system::Source;

/// Behaviour of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Takes what it gets.
    Fast,
    /// Takes its time for each message.
    Slow,
    /// Reads nothing for a while, and then again.
    Stuck,
    /// Says how much it can take.
    Credit,
    /// Wants only some of the records.
    Filtered,
    /// Drops its connection again and again.
    Fickle,
}

/// A client before it runs.
pub(super) struct Subscriber {
    number: usize,
    kind: Kind,
    gateway: SocketAddr,
    wish: Wish,
    may_miss: bool,
    random: Random,
}

/// Messages and connections of a client.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) number: usize,
    pub(super) kind: Kind,
    keys: Vec<Bytes>,
    pub(super) connections: usize,
    /// When each connection was lost, and when the next one was there.
    pub(super) lost: Vec<(Instant, Option<Instant>)>,
    /// The offsets of the records of each partition.
    pub(super) records: BTreeMap<i32, Vec<i64>>,
    /// Where each partition began, if that was told.
    pub(super) begins: BTreeMap<i32, i64>,
    /// The records of each partition that it was told it would not receive.
    pub(super) missed: BTreeMap<i32, Vec<Range<i64>>>,
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
        let keys = if kind == Kind::Filtered { source.wanted_keys(count) } else { Vec::new() };
        let credit = (kind == Kind::Credit).then_some(CREDIT);
        let wish = Wish { source, partitions, keys, credit };
        Self { number, kind, gateway, wish, may_miss: false, random }
    }

    /// Records can be discarded before it has them.
    pub(super) fn may_miss(self) -> Self {
        Self { may_miss: true, ..self }
    }

    /// Runs until all its partitions are at `ends`, once those are known.
    pub(super) async fn run(mut self, mut ends: watch::Receiver<Option<BTreeMap<i32, i64>>>) -> Report {
        let mut position = Position { may_miss: self.may_miss, ..Position::default() };
        let (mut connections, mut lost) = (0_usize, Vec::new());
        while !is_done(&position, &ends) {
            if connections > 0 {
                sleep(Duration::from_millis(50 + self.random.next() % 450)).await;
            }
            connections = connections.saturating_add(1);
            // It is lost when it fails, whatever the reason: a connection of these clients never ends for a good one.
            let opened = self.connect(&mut position, &mut ends).await;
            if let (Some(opened), Some((_, back @ None))) = (opened, lost.last_mut()) {
                *back = Some(opened);
            }
            if opened.is_some() {
                lost.push((Instant::now(), None));
            }
        }
        let Self { number, kind, wish: Wish { keys, .. }, .. } = self;
        let Position { records, begins, missed, .. } = position;
        Report { number, kind, keys, connections, lost, records, begins, missed }
    }

    /// One connection, until it is lost or all is read. Gives when it was there, if it was.
    async fn connect(
        &mut self,
        position: &mut Position,
        ends: &mut watch::Receiver<Option<BTreeMap<i32, i64>>>,
    ) -> Option<Instant> {
        // So that clients of each kind have connections of each kind.
        let number = self.number / Kind::ALL.len();
        let open = Connection::open(number, self.gateway, &self.wish, position);
        let mut connection = timeout(WITHIN, open).await.ok().flatten()?;
        let opened = Instant::now();
        // One message of a stream of events is one record, and not a batch.
        let share = if matches!(connection, Connection::Events(_)) { 10 } else { 1 };
        while !is_done(position, ends) {
            let told = tokio::select! {
                told = connection.told() => match told {
                    Some(told) => told,
                    None => break,
                },
                // A subscriber at an end may have everything, now that the ends changed.
                _ = ends.changed() => continue,
            };
            position.take(told);
            // Once the ends are known, the rest is read without a pause.
            if ends.borrow().is_some() && self.kind != Kind::Fickle {
                continue;
            }
            match self.kind {
                Kind::Slow if self.random.below(share) == 0 => {
                    sleep(Duration::from_millis(self.random.next() % 20)).await
                }
                Kind::Stuck if self.random.below(200 * share) == 0 => {
                    sleep(Duration::from_millis(5_000 + self.random.next() % 10_000)).await;
                }
                Kind::Fickle if self.random.below(100 * share) == 0 => break,
                Kind::Fast | Kind::Slow | Kind::Stuck | Kind::Credit | Kind::Filtered | Kind::Fickle => {}
            }
        }
        Some(opened)
    }
}

impl Report {
    /// Whether it wants all records.
    pub(super) fn wants_all(&self) -> bool {
        self.kind != Kind::Filtered
    }

    pub(super) fn wants(&self, message: &KafkaMessage) -> bool {
        self.wants_all() || message.key.as_ref().is_some_and(|key| self.keys.contains(key))
    }

    pub(super) fn count(&self) -> usize {
        self.records.values().map(Vec::len).sum()
    }
}

fn is_done(position: &Position, ends: &watch::Receiver<Option<BTreeMap<i32, i64>>>) -> bool {
    ends.borrow().as_ref().is_some_and(|ends| position.is_at(ends))
}

/// The time for an upgrade.
const WITHIN: Duration = Duration::from_secs(10);
/// Bytes that a client with credit can take at a time.
const CREDIT: u64 = 500;

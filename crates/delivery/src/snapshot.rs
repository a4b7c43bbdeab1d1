//! The first part of a table's subscription: the newest record of each key, before the records that follow.

use std::time::{Duration, SystemTime};

use sluicegate_backend::{Chunk, CommandError, System};
use sluicegate_shared_log::Ends;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::client::Client;
use super::item::{Item, Place};
use crate::cluster::{Over, Progress, UsedTable, escaped_log, no_room};

/// The rest of a snapshot. Its logs are read in the order in which their tables are ready.
pub(super) struct Snapshot {
    left: Vec<Part>,
    ended: Vec<End>,
    /// A page of the last one of `left`.
    in_hand: Option<(Chunk, i64)>,
    /// Records without a key in the tables that were read.
    skipped: u64,
    began: Instant,
    told: Instant,
    is_outage_told: bool,
}

/// Where the log of a snapshot goes on.
pub(super) struct End {
    pub(super) place: Place,
    /// The epoch of its leader, if it is known.
    pub(super) epoch: Option<i32>,
    /// The offset up to which records have replaced others, which are not in the snapshot.
    pub(super) seen: i64,
    pub(super) table: UsedTable,
}

/// The snapshot of one log.
struct Part {
    /// Where the log goes on after the snapshot.
    end: Place,
    table: UsedTable,
    progress: watch::Receiver<Progress>,
    /// The offset of the next entry.
    from: i64,
    /// The epoch of the leader whose records the table must have; once it has, that of the leader from which the log
    /// goes on.
    epoch: Option<i32>,
    is_ready: bool,
    /// As [`End::seen`].
    seen: i64,
    /// Whether it can begin anew with a slice of the log.
    has_slice: bool,
}

/// Why a snapshot does not go on.
#[derive(Debug)]
pub(super) enum Stop {
    /// It has to begin anew.
    Outdated,
    /// The subscription ends.
    Failed(Place, CommandError),
}

impl Snapshot {
    /// A snapshot of no logs yet.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            left: Vec::new(),
            ended: Vec::new(),
            in_hand: None,
            skipped: 0,
            began: now,
            told: now,
            is_outage_told: false,
        }
    }

    /// Adds the part of a log up to `end`, of its table as the leader of this epoch has it. `has_slice`: there is a table of
    /// a slice if this one has no room.
    pub(super) fn add(&mut self, end: Place, table: UsedTable, epoch: Option<i32>, has_slice: bool) {
        let has_slice = has_slice && table.is_whole() && !table.has_no_room();
        let progress = table.progress();
        self.left.push(Part { end, table, progress, from: 0, epoch, is_ready: false, seen: 0, has_slice });
    }

    /// Waits for a page of at most `max_bytes`, or something else to tell. False: the snapshot is complete, and all of
    /// it was taken.
    ///
    /// # Cancel safety
    /// A drop has no effect.
    pub(super) async fn ready(&mut self, client: &mut Client, max_bytes: usize) -> Result<bool, Stop> {
        loop {
            if self.in_hand.is_some() || !client.items.is_empty() {
                return Ok(true);
            }
            if client.request.table.is_none_or(|table| self.began.elapsed() > table.max_away) {
                return Err(Stop::Outdated);
            }
            if self.left.iter().any(Part::is_outdated) {
                return Err(Stop::Outdated);
            }
            let Some(ready) = self.left.iter_mut().position(Part::is_ready) else {
                if self.left.is_empty() {
                    return Ok(false);
                }
                self.wait(client).await?;
                continue;
            };
            let last = self.left.len().saturating_sub(1);
            self.left.swap(ready, last);
            self.read(client, max_bytes)?;
        }
    }

    /// Reads a page of the last part, or ends that part.
    fn read(&mut self, client: &mut Client, max_bytes: usize) -> Result<(), Stop> {
        let Some(part) = self.left.last_mut() else { return Ok(()) };
        let max_bytes = max_bytes.min(client.request.max_bytes);
        let max_records = match client.request.max_records {
            0 => usize::MAX,
            records => records,
        };
        let end = part.end.offset;
        let (page, seen) = part.table.page(part.from, end, max_bytes, max_records).ok_or(Stop::Outdated)?;
        part.seen = part.seen.max(seen);
        if page.count > 0 {
            let ends = Ends { start: -1, stable: -1, end };
            let (messages, count) = (page.entries.into(), page.count);
            let read = Chunk { messages, count, ..Chunk::nothing(end, ends) };
            self.in_hand = Some((read, page.next));
            return Ok(());
        }
        // The number says nothing of records that the client may not see.
        if client.sees_all(&part.end.topic) {
            self.skipped = self.skipped.saturating_add(part.table.skipped());
        }
        let end = |Part { end: place, epoch, seen, table, .. }| End { place, epoch, seen, table };
        self.ended.extend(self.left.pop().map(end));
        if self.left.is_empty() {
            client.items.push_back(Item::SnapshotEnd { skipped: self.skipped });
        }
        Ok(())
    }

    /// Waits until the first table was read further, and tells the client about it now and then.
    async fn wait(&mut self, client: &mut Client) -> Result<(), Stop> {
        let Some(part) = self.left.first_mut() else { return Ok(()) };
        let progress = part.progress.borrow_and_update().clone();
        match progress.over {
            None => {}
            Some(Over::Outdated) => return Err(Stop::Outdated),
            Some(Over::NoRoom { .. }) if part.has_slice => return Err(Stop::Outdated),
            Some(Over::NoRoom { .. }) => {
                return Err(Stop::Failed(part.end.clone(), no_room_for(client.system, &part.end)));
            }
            Some(Over::Failed(error)) => return Err(Stop::Failed(part.end.clone(), error)),
        }
        if let Some(error) = progress.outage.filter(|_| !self.is_outage_told) {
            self.is_outage_told = true;
            let since = SystemTime::now();
            client.items.push_back(Item::Retrying { place: part.end.clone(), error, since });
            return Ok(());
        }
        let due = self.told.checked_add(TELL).unwrap_or(self.told);
        if timeout_at(due, part.progress.changed()).await.is_err() {
            self.told = Instant::now();
            let place = Place { offset: progress.next, ..part.end.clone() };
            client.items.push_back(Item::Building { place, end: part.end.offset });
        }
        Ok(())
    }

    /// Where the logs go on, which ended there at this time.
    pub(super) fn into_ends(self) -> (Instant, Vec<End>) {
        (self.began, self.ended)
    }

    /// The bytes and the number of the records that [`Snapshot::take`] gives, at most.
    pub(super) fn in_hand(&self) -> (usize, usize) {
        self.in_hand.as_ref().map_or((0, 0), |(read, _)| (read.messages.len(), read.count))
    }

    /// Drops the page that was read: it is read again when the client has room.
    pub(super) fn put_back(&mut self) {
        self.in_hand = None;
    }

    /// The next item, and the number of its records. None if there is nothing to tell after all.
    pub(super) fn take(&mut self, client: &mut Client) -> Option<(Item, usize)> {
        if let Some(item) = client.items.pop_front() {
            return Some((item, 0));
        }
        let (read, next) = self.in_hand.take()?;
        let part = self.left.last_mut()?;
        part.from = next;
        let (end, place) = (read.ends.end, part.end.clone());
        let selected = client.select(&place, read, false);
        let delivery = Item::Delivery { next: place, messages: selected.messages, end };
        (selected.count > 0).then_some((delivery, selected.count))
    }
}

impl Part {
    /// Whether another leader can have fewer records than were there when the snapshot began.
    fn is_outdated(&self) -> bool {
        !self.is_ready && self.epoch.is_some() && self.progress.borrow().epoch > self.epoch
    }

    /// Whether its table has all records. Once it had, a later leader may not have what was delivered.
    fn is_ready(&mut self) -> bool {
        let progress = self.progress.borrow();
        if !self.is_ready && progress.has(self.end.offset, self.epoch) {
            (self.is_ready, self.epoch) = (true, progress.epoch);
        }
        self.is_ready
    }
}

/// The error of a table that does not fit into memory.
fn no_room_for(system: System, Place { topic, partition, .. }: &Place) -> CommandError {
    let (error, log) = (no_room(), escaped_log(system, topic, *partition));
    CommandError { message: format!("{}, {log}", error.message), ..error }
}

/// The time between two messages about the building of a table.
const TELL: Duration = Duration::from_secs(1);

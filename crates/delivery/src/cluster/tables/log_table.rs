//! The table of one log: its newest entries, and how far the log was read.

use std::ops::Deref;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use sluicegate_backend::{Chunk, CommandError, Fault};
use sluicegate_fair_share::{ClientKey, Holder, Permit};
use sluicegate_shared_log::Ends;
use sluicegate_table::{FirstEntry, Page, Table};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::Slice;
use super::limits::{Droppable, Share, TableLimits};

/// The newest entry of each key of a log, which one task reads for all clients.
pub(crate) struct LogTable {
    /// None: it is over.
    table: Mutex<Option<Table>>,
    slice: Slice,
    share: Share,
    /// Of the topic; None: not known.
    topic_id: Option<u128>,
    progress: watch::Sender<Progress>,
    /// Told if the log can be another one than before.
    doubt: Notify,
}

/// How far a log was read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    /// The offset of the next record to read.
    pub(crate) next: i64,
    /// The epoch of the leader that has all records before it. None: not known.
    pub(crate) epoch: Option<i32>,
    /// Why it cannot be read at the moment.
    pub(crate) outage: Option<CommandError>,
    /// Why nothing more is read.
    pub(crate) over: Option<Over>,
}

impl Progress {
    /// Whether the table has all records before `end`, as the leader of this epoch or a later one has them.
    pub(crate) fn has(&self, end: i64, epoch: Option<i32>) -> bool {
        self.over.is_none() && self.next >= end && self.epoch >= epoch
    }
}

/// The end of a table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Over {
    /// It did not fit into the memory of tables then, with so many bytes.
    NoRoom { since: Instant, bytes: usize },
    /// The log has other records than those that were read, or nobody uses the table: another one can begin.
    Outdated,
    /// The log cannot be read.
    Failed(CommandError),
}

impl LogTable {
    /// An empty table of a topic's log or of a slice of it, which a client asks for.
    pub(super) fn new(
        limits: &TableLimits,
        (holder, topic): (Holder, &Arc<str>),
        (slice, permit): (Slice, Option<Permit>),
        topic_id: Option<u128>,
        first: FirstEntry,
    ) -> Arc<Self> {
        Arc::new_cyclic(|own| Self {
            table: Mutex::new(Some(Table::new(0, first))),
            slice,
            share: limits.add(holder, Arc::clone(topic), permit, Weak::clone(own) as _),
            topic_id,
            progress: watch::Sender::default(),
            doubt: Notify::new(),
        })
    }

    /// Whether it can be of the topic with this id.
    pub(crate) fn is_of(&self, topic_id: Option<u128>) -> bool {
        topic_id.is_none() || self.topic_id.is_none() || topic_id == self.topic_id
    }

    /// Lets the log be looked at, unless its records are known to be those of the leader of this epoch.
    pub(super) fn doubt(&self, epoch: Option<i32>) {
        if self.progress.borrow().epoch < epoch {
            self.doubt.notify_one();
        }
    }

    /// Waits for doubt.
    pub(super) async fn doubted(&self) {
        self.doubt.notified().await;
    }

    /// How far the log was read.
    pub(crate) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Why the log cannot be read at the moment.
    pub(super) fn outage(&self) -> Option<CommandError> {
        self.progress.borrow().outage.clone()
    }

    /// Whether it was found not to fit into memory, and is not tried again yet.
    pub(crate) fn has_no_room(&self) -> bool {
        matches!(self.progress.borrow().over, Some(Over::NoRoom { .. })) && !self.is_past()
    }

    /// Whether it has all of the log.
    pub(crate) fn is_whole(&self) -> bool {
        self.slice == Slice::All
    }

    /// How long nobody may use it until it is dropped.
    pub(super) fn idle(&self) -> Duration {
        match self.slice {
            Slice::All | Slice::Rows(_) => IDLE,
            Slice::Key(_) => KEY_IDLE,
        }
    }

    /// Whether another table of the log can begin.
    pub(super) fn is_past(&self) -> bool {
        match &self.progress.borrow().over {
            None => false,
            Some(Over::NoRoom { since, bytes }) => {
                let waits = if *bytes > self.share.max() { TOO_LARGE_FOR } else { NO_ROOM_FOR };
                since.elapsed() >= waits || self.share.may_have(*bytes)
            }
            Some(Over::Outdated | Over::Failed(_)) => true,
        }
    }

    /// The newest entries from an offset on and before `end`, and how to go on: see [`Table::page`]. And the offset up to
    /// which records have replaced others. None: it is over.
    pub(crate) fn page(
        &self,
        from: i64,
        end: i64,
        max_bytes: usize,
        max_count: usize,
    ) -> Option<(Page, i64)> {
        let table = self.table.lock();
        let table = table.as_ref()?;
        Some((table.page(from, end, max_bytes, max_count), table.next()))
    }

    /// The newest entry of a key, if it has one. None: it is over.
    pub(super) fn get(&self, key: &[u8]) -> Option<Option<Bytes>> {
        Some(self.table.lock().as_ref()?.get(key).map(Bytes::copy_from_slice))
    }

    /// The number of records without a key that were left out.
    pub(crate) fn skipped(&self) -> u64 {
        self.table.lock().as_ref().map_or(0, Table::skipped)
    }

    /// When a client used it last, if none does now.
    pub(super) fn unused_since(&self) -> Option<Instant> {
        self.share.unused_since()
    }

    /// The offset of the next record to read.
    pub(super) fn next(&self) -> i64 {
        self.progress.borrow().next
    }

    /// Takes what was read from the leader of this epoch. False: it is over.
    pub(super) fn apply(&self, read: Chunk, epoch: Option<i32>) -> bool {
        let (next, ends) = (read.next_offset, read.ends);
        let messages = self.slice.of(read);
        self.change(next, ends, epoch, |table| table.apply(&messages, next))
    }

    /// Takes the ends of the log, which has nothing to read before its start. False: it is over.
    pub(super) fn trim(&self, ends: Ends, epoch: Option<i32>) -> bool {
        self.change(ends.start, ends, epoch, |_| {})
    }

    fn change(&self, next: i64, ends: Ends, epoch: Option<i32>, change: impl FnOnce(&mut Table)) -> bool {
        let bytes = {
            let mut table = self.table.lock();
            let Some(table) = &mut *table else { return false };
            change(table);
            table.remove_before(ends.start);
            table.memory()
        };
        // Without the lock: it can end this table, or another one. Clients read only what has room.
        self.share.set(bytes);
        self.progress.send_modify(|progress| {
            progress.next = progress.next.max(next);
            progress.epoch = epoch;
            progress.outage = None;
        });
        self.progress.borrow().over.is_none()
    }

    /// Tells that the log cannot be read at the moment.
    pub(super) fn fail(&self, error: CommandError) {
        self.progress.send_modify(|progress| progress.outage = Some(error));
    }

    /// Ends it, and frees its memory.
    pub(super) fn end(&self, over: Over) {
        drop(self.table.lock().take());
        self.share.give_back();
        self.progress.send_modify(|progress| {
            progress.over.get_or_insert(over);
        });
    }
}

/// A table that a client uses. A drop ends the use.
pub(crate) struct UsedTable {
    table: Arc<LogTable>,
    client: Option<ClientKey>,
}

impl UsedTable {
    /// The table as a client uses it. None: it is looked into, and the log is there for that, too.
    pub(super) fn new(table: &Arc<LogTable>, client: Option<ClientKey>) -> Self {
        client.into_iter().for_each(|client| table.share.begin_use(client));
        Self { table: Arc::clone(table), client }
    }
}

impl Deref for UsedTable {
    type Target = LogTable;

    fn deref(&self) -> &LogTable {
        &self.table
    }
}

impl Drop for UsedTable {
    fn drop(&mut self) {
        self.table.share.end_use(self.client);
    }
}

impl Droppable for LogTable {
    fn drop_for_room(&self) {
        let bytes = self.table.lock().as_ref().map_or(0, Table::memory);
        self.end(Over::NoRoom { since: Instant::now(), bytes });
    }
}

/// The error of a table for which there is no room.
pub(crate) fn no_room() -> CommandError {
    let message = "the table does not fit into the bridge's memory for tables now: try again later, subscribe without \
                   snapshot, or ask its operator to raise read.table_bytes";
    CommandError { retry_after: NO_ROOM_FOR, ..CommandError::new(Fault::Transient, 0, message) }
}

/// The time after which a table that no client uses is dropped.
const IDLE: Duration = Duration::from_secs(600);
/// The same of the table of one key.
const KEY_IDLE: Duration = Duration::from_secs(30);
/// The time after which a log is read again whose table is larger than all memory of tables, unless there is more before.
const TOO_LARGE_FOR: Duration = Duration::from_secs(600);
/// The time after which a log is read again whose table did not fit beside others, unless there is room before.
const NO_ROOM_FOR: Duration = Duration::from_secs(30);

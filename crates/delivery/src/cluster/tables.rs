//! The tables of a cluster's logs: the newest record of each key, in memory, for all clients.
//!
//! A table knows nothing of clients: what one of them is granted, or wants, is decided where it is read. Only where a whole
//! log has no room, clients have tables of their rows alone, or of a key: what others write does not take that from them.
//!
//! - `log_table`: the table of one log, and how far that was read
//! - `keeper`: the task that reads it
//! - `look_up`: one key of all tables of a topic
//! - `limits`: the memory of all of them, and the turns of those who ask for one

mod keeper;
mod limits;
mod log_table;
mod look_up;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use sluicegate_backend::{Chunk, CommandError, Log, Version};
use sluicegate_fair_share::{ClientKey, Permits};
use sluicegate_rights::Rows;
use sluicegate_shared_log::SingleFlight;
use tokio::time::{Instant, timeout};

use self::keeper::Keeper;
pub use self::limits::TableLimits;
use self::log_table::LogTable;
pub(crate) use self::log_table::{Over, Progress, UsedTable, no_room};
use super::{Cluster, unanswered};
use crate::failures::Failures;
use crate::filter::{select_key, select_rows};
use crate::staleness::{Life, Staleness};

/// The tables of one cluster.
pub(super) struct Tables {
    limits: TableLimits,
    tables: Mutex<HashMap<TableKey, Arc<LogTable>>>,
    /// Questions how long topics keep removals.
    lives: SingleFlight<Arc<str>, Result<Life, CommandError>>,
    /// The answers.
    told: Mutex<HashMap<Arc<str>, Life>>,
}

/// A log, and how it becomes a table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct TableKey {
    topic: Arc<str>,
    partition: i32,
    slice: Slice,
    /// Whether values and keys with a schema are given as JSON.
    decode: bool,
}

impl Tables {
    pub(super) fn new(limits: TableLimits) -> Self {
        Self { limits, tables: Mutex::default(), lives: SingleFlight::default(), told: Mutex::default() }
    }
}

impl Cluster {
    /// The table of a log, for a client, and the epoch of the leader whose records it must have. If there is none,
    /// reading the log for it begins, and is counted to the client. Where all of the log was found to have no room, it is
    /// the table of `slice`, if the client may have one.
    pub(crate) fn table(
        self: &Arc<Self>,
        source: ClientKey,
        log: Log<'_>,
        (slice, decode): (Option<Slice>, bool),
        topic_id: Option<u128>,
    ) -> (UsedTable, Option<i32>) {
        let epoch = self.backend().version(log).leader_epoch;
        let Log { topic, partition } = log;
        let mut key = TableKey { topic: Arc::from(topic), partition, slice: Slice::All, decode };
        let Tables { limits, tables, .. } = &self.tables;
        let (mut tables, holder) = (tables.lock(), self.holder(source));
        let is_current = |table: &&Arc<LogTable>| !table.is_past() && table.is_of(topic_id);
        let user = (!matches!(slice, Some(Slice::Key(_)))).then_some(source);
        let mut permit = None;
        if let Some(slice) = slice
            && tables.get(&key).is_some_and(|table| table.has_no_room())
        {
            let part = TableKey { slice, ..key.clone() };
            let is_known = tables.get(&part).filter(is_current).is_some();
            permit = if is_known { None } else { limits.slice(holder) };
            if is_known || permit.is_some() {
                key = part;
            }
        }
        if let Some(known) = tables.get(&key).filter(is_current) {
            known.doubt(epoch);
            return (UsedTable::new(known, user), epoch);
        }
        tables.retain(|_, table| !table.is_past());
        let part = (key.slice.clone(), permit);
        let table = LogTable::new(limits, (holder, &key.topic), part, topic_id, self.system.first_entry);
        let used = UsedTable::new(&table, user);
        let earlier = tables.insert(key.clone(), Arc::clone(&table));
        drop(tables);
        if let Some(earlier) = earlier {
            earlier.end(Over::Outdated);
        }
        let keeper = Keeper {
            cluster: Arc::downgrade(self),
            key,
            table,
            limits: limits.clone(),
            holder,
            version: Version { topic_id, leader_epoch: None },
            is_building: true,
            taking: None,
            staleness: Staleness::default(),
            failures: Failures::default(),
        };
        tokio::spawn(keeper.run());
        (used, epoch)
    }

    /// The time for which a topic keeps a record that removes its key, as the system says after the call, and since when it
    /// has said so.
    ///
    /// # Errors
    /// It is not known within twice [`LIFE_TIME`].
    ///
    /// # Cancel safety
    /// A drop lets another caller ask.
    pub(crate) async fn tombstone_life(
        &self,
        source: ClientKey,
        topic: &Arc<str>,
    ) -> Result<Life, CommandError> {
        let ask = || async {
            let backend = self.backend();
            let asked = timeout(LIFE_TIME, backend.tombstone_life(source, topic)).await;
            let time = asked.unwrap_or_else(|_| Err(unanswered()))?;
            let mut told = self.tables.told.lock();
            let life = Life::told(time, told.get(topic).copied(), Instant::now());
            if told.len() >= MAX_TOLD {
                told.clear();
            }
            told.insert(Arc::clone(topic), life);
            Ok(life)
        };
        let asked = self.tables.lives.run_within(LIFE_TIME, Arc::clone(topic), ask);
        asked.await.unwrap_or_else(|| Err(unanswered()))
    }

    /// The number of tables.
    #[cfg(test)]
    pub(crate) fn tables_in_memory(&self) -> usize {
        self.tables.limits.used().1
    }

    /// Leaves tables so much memory.
    #[cfg(test)]
    pub(crate) fn bound_tables(&self, max_bytes: usize) {
        self.tables.limits.set_max_bytes(max_bytes);
    }

    /// The bytes of keys that the clients of tables have.
    pub(crate) fn held_keys(&self) -> Arc<Permits> {
        Arc::clone(self.tables.limits.held_keys())
    }
}

/// The time for which a question how long removals are kept waits for its answer, and for the turn to be asked.
const LIFE_TIME: Duration = Duration::from_secs(2);

/// Topics of which it is remembered how long they keep removals, of some 200 bytes each. Of more, it is asked anew.
const MAX_TOLD: usize = 10_000;

/// The records of a log that a table is made of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Slice {
    /// All records, for all clients.
    All,
    /// Records of these rows, which keys tell apart.
    Rows(Rows),
    /// Records of one key.
    Key(Bytes),
}

impl Slice {
    /// The rows alone, if keys tell them apart from others: all records of a key are among them, or none.
    pub(crate) fn of_rows(rows: &Rows) -> Option<Self> {
        (!rows.is_all() && !rows.look_at_headers()).then(|| Self::Rows(rows.clone()))
    }

    /// The records of a read that are part of it, encoded.
    fn of(&self, read: Chunk) -> Bytes {
        let selected = match self {
            Self::All => read,
            Self::Rows(rows) => select_rows(read, rows).0,
            Self::Key(key) => select_key(read, key),
        };
        selected.messages
    }
}

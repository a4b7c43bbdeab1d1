//! Reads a log into its table, and keeps it up while the log grows.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::StreamExt as _;
use sluicegate_backend::rate::ClusterRate;
use sluicegate_backend::{Backend, Chunk, CommandError, Fault, Fetch, LOG_START, Log, System, Version};
use sluicegate_fair_share::{ClientKey, Holder};
use sluicegate_shared_log::{Ends, SeenEnds};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep};

use super::super::{Cluster, Parts, escaped_log, unanswered};
use super::TableKey;
use super::limits::TableLimits;
use super::log_table::{LogTable, Over};
use crate::failures::Failures;
use crate::staleness::{Life, Removals, Staleness};

/// Reads one log for its table. Ends with the cluster, with the table, or if nobody uses it for [`LogTable::idle`].
pub(super) struct Keeper {
    pub(super) cluster: Weak<Cluster>,
    pub(super) key: TableKey,
    pub(super) table: Arc<LogTable>,
    pub(super) limits: TableLimits,
    /// The client that asked for the table, to which building it is counted.
    pub(super) holder: Holder,
    /// The topic's id and the epoch of the leader that the records are from, as far as they are known.
    pub(super) version: Version,
    pub(super) is_building: bool,
    /// Takes the records of the last read, up to this offset, while the next ones are read.
    pub(super) taking: Option<(i64, JoinHandle<bool>)>,
    /// How long it has been behind its log, from the first read on.
    pub(super) staleness: Staleness,
    pub(super) failures: Failures,
}

/// The next step.
enum Next {
    Read,
    Pause(Duration),
    /// There is nothing to read before the log grows.
    Wait,
    End(Over),
}

impl Keeper {
    /// Runs to the end of the table.
    ///
    /// # Cancel safety
    /// A drop leaves the table as it is, and without an end.
    pub(super) async fn run(mut self) {
        let mut next = match self.parts() {
            None => Next::End(Over::Outdated),
            Some((parts, _)) => self.begin(&*parts.backend).await,
        };
        loop {
            // A cluster that was removed must not be kept by its tables.
            let Some((parts, scans)) = self.parts() else { return self.table.end(Over::Outdated) };
            next = match next {
                // Removals that were written meanwhile can be forgotten by now.
                Next::Read if !self.is_building && self.is_stale(&parts) => Next::End(Over::Outdated),
                Next::Read => self.read(&*parts.backend, &scans).await,
                Next::Pause(time) => {
                    sleep(time).await;
                    Next::Read
                }
                Next::Wait if self.is_idle() => Next::End(Over::Outdated),
                Next::Wait => self.wait(&parts).await,
                Next::End(over) => return self.table.end(over),
            };
        }
    }

    fn parts(&self) -> Option<(Arc<Parts>, ClusterRate)> {
        let cluster = self.cluster.upgrade()?;
        Some((cluster.parts.load_full(), cluster.scans()))
    }

    fn log(&self) -> Log<'_> {
        Log { topic: &self.key.topic, partition: self.key.partition }
    }

    fn source(&self) -> ClientKey {
        self.holder.source
    }

    /// Goes to the start of the log, as it is now: of records that are in memory, removals can be forgotten since.
    async fn begin(&mut self, backend: &dyn Backend) -> Next {
        let now = Instant::now();
        self.staleness.is_current_at(now.checked_sub(LONGEST_IN_MEMORY).unwrap_or(now));
        if self.removals().await != Removals::Kept {
            backend.forget(self.log());
            self.staleness.is_current_at(Instant::now());
        }
        match self.start(backend).await {
            Err(error) => self.fail(error),
            Ok(start) => self.kept(self.trim(Ends { start, ..Ends::UNKNOWN })),
        }
    }

    async fn start(&self, backend: &dyn Backend) -> Result<i64, CommandError> {
        let asked = [(self.log(), LOG_START)];
        let listed = backend.list_offsets(self.source(), &asked, true).next().await;
        let (_, listed) = listed.unwrap_or_else(|| (0, Err(unanswered())));
        Ok(listed?.offset)
    }

    fn trim(&self, ends: Ends) -> bool {
        self.table.trim(ends, self.version.leader_epoch)
    }

    fn kept(&self, is_kept: bool) -> Next {
        // The table has its reason by now.
        if is_kept { Next::Read } else { Next::End(Over::Outdated) }
    }

    async fn read(&mut self, backend: &dyn Backend, scans: &ClusterRate) -> Next {
        let known = backend.version(self.log());
        if let Some(next) = self.verify(backend, known).await {
            return next;
        }
        let next = self.next();
        let fetch = Fetch {
            offset: next,
            max_bytes: if self.is_building { BUILD_BYTES } else { READ_BYTES },
            wait: Duration::ZERO,
            min_bytes: 0,
            max_records: 0,
            fill: false,
            committed: true,
            decode: self.key.decode,
            source: self.source(),
        };
        let turn = match self.is_building {
            true => Some(self.limits.turn(self.holder).await),
            false => None,
        };
        let asked = Instant::now();
        let fetched = backend.fetch(self.log(), fetch, scans, &mut ()).await;
        // A client that has had its share of bytes does not rest in a turn.
        drop(turn);
        match fetched {
            Err(error) if error.fault == Fault::OffsetOutOfRange => match self.start(backend).await {
                Ok(start) if start > next => self.kept(self.trim(Ends { start, ..Ends::UNKNOWN })),
                // A broker can be behind.
                Ok(_) if self.failures.is_passing(error.fault, true, Instant::now()) => self.back_off(),
                Ok(_) => Next::End(Over::Outdated),
                Err(error) => self.fail(error),
            },
            Err(error) => self.fail(error),
            Ok(read) => self.take(backend, scans, read, asked).await,
        }
    }

    /// Takes what a request that was sent at this time has read.
    async fn take(
        &mut self,
        backend: &dyn Backend,
        scans: &ClusterRate,
        read: Chunk,
        asked: Instant,
    ) -> Next {
        // The records are read again if another leader can have told of them.
        if self.version.leader_epoch.is_some()
            && backend.version(self.log()).leader_epoch != self.version.leader_epoch
        {
            return match backend.ask_version(self.source(), self.log()).await {
                Ok(_) => Next::Pause(PAUSE),
                Err(error) => self.fail(error),
            };
        }
        self.failures = Failures::default();
        if read.has_gap_from(self.next())
            && let Some(over) = self.forgotten().await
        {
            return Next::End(over);
        }
        let is_at_end = read.count == 0 || read.ends.stable >= 0 && read.next_offset >= read.ends.stable;
        let (moves, count) = (read.next_offset > self.next(), read.count);
        let (next, bytes) = (read.next_offset, read.messages.len());
        if !self.taken().await {
            return Next::End(Over::Outdated);
        }
        let (table, epoch) = (Arc::clone(&self.table), self.version.leader_epoch);
        let take = move || table.apply(read, epoch);
        if self.is_building && bytes > AT_ONCE {
            self.taking = Some((next, spawn_blocking(take)));
        } else if !take() {
            return Next::End(Over::Outdated);
        }
        if !self.table.is_whole() {
            // All of the log is looked at for a few records, as long as somebody uses the table.
            scans.take(self.source(), bytes).await;
        } else if self.is_building {
            scans.take(self.source(), bytes / BUILT_PER_SCANNED).await;
        }
        if !is_at_end {
            return Next::Read;
        }
        if !self.taken().await {
            return Next::End(Over::Outdated);
        }
        self.is_building = false;
        self.staleness.is_current_at(asked);
        if moves && count == 0 { Next::Read } else { Next::Wait }
    }

    fn is_stale(&mut self, parts: &Parts) -> bool {
        self.staleness.exceeds(parts.reads.table_away, Instant::now())
    }

    /// The end of the table if the log can have forgotten removals that it does not have.
    async fn forgotten(&self) -> Option<Over> {
        match self.removals().await {
            Removals::Forgotten(life) if self.is_building => {
                let system = self.cluster.upgrade()?.system;
                Some(Over::Failed(forgets_too_soon(system, &self.key, life)))
            }
            Removals::Forgotten(_) => Some(Over::Outdated),
            Removals::Kept | Removals::Unknown => None,
        }
    }

    /// The removals that it can have missed. A topic is asked each time, for all clients.
    async fn removals(&self) -> Removals {
        let removals = self.staleness.removals(None, Instant::now());
        let (Removals::Unknown, Some(cluster)) = (removals, self.cluster.upgrade()) else { return removals };
        let life = cluster.tombstone_life(self.source(), &self.key.topic).await;
        let now = Instant::now();
        match life {
            // A table that begins anew each time instead of being built is never there.
            Err(error) if self.is_building && error.fault.is_retriable() => Removals::Unknown,
            life => {
                self.staleness.removals(Some(life.unwrap_or_else(|error| Life::untold(&error, now))), now)
            }
        }
    }

    /// Waits until the table has what was read last. False: it is over.
    async fn taken(&mut self) -> bool {
        match self.taking.take() {
            Some((_, taking)) => taking.await.unwrap_or(false),
            None => true,
        }
    }

    /// The offset of the next record to read.
    fn next(&self) -> i64 {
        let taking = self.taking.as_ref().map_or(0, |(next, _)| *next);
        self.table.next().max(taking)
    }

    /// Checks that the log still has the records that were read. None: it has, as far as is known.
    async fn verify(&mut self, backend: &dyn Backend, now: Version) -> Option<Next> {
        if let (Some(id), Some(now)) = (self.version.topic_id, now.topic_id)
            && id != now
        {
            return Some(Next::End(Over::Outdated));
        }
        self.version.topic_id = self.version.topic_id.or(now.topic_id);
        match (self.version.leader_epoch, now.leader_epoch) {
            (Some(epoch), Some(leader)) if epoch != leader => {
                match backend.end_of_epoch(self.source(), self.log(), epoch).await {
                    // An election has lost records.
                    Ok(Some(end)) if end < self.next() => return Some(Next::End(Over::Outdated)),
                    Err(error) if error.fault.is_retriable() || error.fault == Fault::NotFound => {
                        return Some(self.fail(error));
                    }
                    // A leader that does not know the epoch cannot verify the records.
                    Ok(_) | Err(_) => self.version.leader_epoch = Some(leader),
                }
            }
            (epoch, leader) => self.version.leader_epoch = epoch.or(leader),
        }
        None
    }

    /// Waits for records, or for a new start of the log.
    async fn wait(&mut self, parts: &Parts) -> Next {
        let known = parts.backend.version(self.log());
        if let Some(next) = self.verify(&*parts.backend, known).await {
            return next;
        }
        let until = Instant::now().checked_add(CHECK);
        let wait = parts.backend.wait_for_records(self.log(), self.table.next(), true, until, SeenEnds::ALL);
        let waited = tokio::select! {
            biased;
            waited = parts.replaced.run_until_cancelled(wait) => waited.flatten(),
            () = self.table.doubted() => None,
        };
        match waited {
            Some(ends) if ends.end == self.table.next() && ends.start >= 0 => match self.trim(ends) {
                true => {
                    self.staleness.is_current_at(Instant::now());
                    Next::Wait
                }
                false => Next::End(Over::Outdated),
            },
            // The next read says what has changed.
            Some(_) | None => Next::Read,
        }
    }

    fn fail(&mut self, error: CommandError) -> Next {
        let is_missing = error.fault == Fault::NotFound;
        if !self.failures.is_passing(error.fault, is_missing, Instant::now()) {
            return Next::End(Over::Failed(error));
        }
        if !is_missing {
            self.table.fail(error);
        }
        self.back_off()
    }

    fn back_off(&mut self) -> Next {
        Next::Pause(self.failures.back_off(Duration::ZERO, fastrand::f64()))
    }

    fn is_idle(&self) -> bool {
        self.table.unused_since().is_some_and(|since| since.elapsed() >= self.table.idle())
    }
}

/// The error of a log that forgets removals before all of it is read: keys would be left that have no value.
fn forgets_too_soon(
    system: System,
    TableKey { topic, partition, .. }: &TableKey,
    life: Duration,
) -> CommandError {
    let (log, life) = (escaped_log(system, topic, *partition), life.as_millis());
    let message = format!(
        "removals are kept for {life} ms, as far as is known, and reading the log into a table takes longer: ask for a \
         longer time, or subscribe without snapshot, {log}"
    );
    CommandError::new(Fault::Rejected, 0, message)
}

/// The records of one read, encoded.
const READ_BYTES: usize = 1024 * 1024;

/// The same while the table is built, which a few tables are at a time. Kafka's part of each read takes time.
const BUILD_BYTES: usize = 4 * READ_BYTES;

/// Records of so many bytes are taken at once, within a millisecond. More are taken by a thread of their own while a table
/// is built.
const AT_ONCE: usize = 64 * 1024;

/// Bytes that are read into a table for the cost of one that is scanned and left out.
const BUILT_PER_SCANNED: usize = 4;

/// The time after which the start of a log that does not grow is asked for again.
const CHECK: Duration = Duration::from_secs(10);

/// The pause after an answer that says nothing.
const PAUSE: Duration = Duration::from_millis(100);

/// The longest time for which records are served from memory.
const LONGEST_IN_MEMORY: Duration = Duration::from_secs(900);

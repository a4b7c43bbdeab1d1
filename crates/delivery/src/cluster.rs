//! A cluster as commands use it: its backend, with the bridge's limits and metrics.

mod gather;
mod messages;
mod metadata;
mod multi_fetch;
mod partition_watcher;
mod produce;
mod rates;
mod tables;
mod visible;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::StreamExt;
use futures_util::future::join;
use sluicegate_backend::command::ReadBounds;
pub use sluicegate_backend::write_queue::{WriteSequencer, WriteTicket};
use sluicegate_backend::{
    Backend, Chunk, CommandError, Fault, Fetch, LOG_END, LOG_START, ListedOffset, Log, System, WAITING_BYTES,
};
use sluicegate_fair_share::ClientKey;
use sluicegate_shared_log::{Ends, SeenEnds};
use sluicegate_telemetry::failure_log::FailureLog;
use sluicegate_telemetry::metrics::{ClusterMetrics, Kind, Outcome};
use tokio::sync::RwLock;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

pub(crate) use self::gather::unanswered;
pub(crate) use self::messages::{CONSUME, READ, TABLES, WRITE, read_denied, write_denied};
pub use self::messages::{MAX_TOPIC_CHARS, escape_for_message, escaped_log, out_of_range};
pub(crate) use self::metadata::TopicSelection;
pub use self::metadata::{DescribedTopic, MetadataPage};
use self::multi_fetch::PATIENCE;
pub use self::multi_fetch::{MAX_PARTITIONS, MultiFetch, Place, WAITER_BYTES};
use self::partition_watcher::PartitionWatcher;
pub use self::partition_watcher::Partitions;
pub(crate) use self::produce::Write;
pub use self::produce::{MAX_COMMAND_HEADERS, MAX_HEADERS, MAX_RECORDS, Writes};
pub use self::rates::Rates;
pub use self::tables::TableLimits;
use self::tables::Tables;
pub(crate) use self::tables::{Over, Progress, Slice, UsedTable, no_room};
pub(crate) use self::visible::Wanted;
use crate::drain::Drain;
use crate::selections::Selections;
use crate::{ConsumerLimits, Consumers, OpenClient, OpenClients, OpenSubscriptions};

/// One `[clusters.NAME]` of the configuration, or a cluster defined by a route.
///
/// It is the same cluster for as long as clients use it: a new configuration replaces its parts.
pub struct Cluster {
    /// The messaging system.
    pub system: System,
    parts: ArcSwap<Parts>,
    /// Shared while records are enqueued, exclusive while the backend is replaced: no record overtakes another one
    /// in the queue of an earlier backend.
    enqueuing: RwLock<()>,
    partitions: PartitionWatcher,
    /// The counters.
    pub metrics: ClusterMetrics,
    pub(crate) subscriptions: OpenSubscriptions,
    pub(crate) open_clients: OpenClients,
    pub(crate) selections: Arc<Selections>,
    tables: Tables,
    pub(crate) consumers: Consumers,
    /// The log of failed commands.
    pub failures: FailureLog,
    rates: Rates,
    /// Begins when the bridge drains, or when the cluster is removed.
    pub drain: Drain,
}

/// The parts that a new configuration can replace.
pub struct Parts {
    backend: Arc<dyn Backend>,
    /// Of the configuration that the backend was made from.
    version: u64,
    reads: Reads,
    /// None: the cluster is read-only.
    writes: Option<Writes>,
    /// Cancelled when another backend takes over.
    replaced: CancellationToken,
}

impl Parts {
    /// A backend that was made from the configuration of this version.
    pub fn new(backend: Arc<dyn Backend>, version: u64, reads: Reads, writes: Option<Writes>) -> Self {
        Self { backend, version, reads, writes, replaced: CancellationToken::new() }
    }
}

/// Defaults and bounds of fetches.
#[derive(Debug, Clone, Copy)]
pub struct Reads {
    /// The largest answer in bytes; clients can only lower it. A single record is delivered even if it is larger.
    pub max_bytes: usize,
    /// The time that a fetch waits at the end of the log for a record, unless the client says otherwise.
    pub wait: Duration,
    /// The time after which a table that its client was away from, or is behind with, begins anew.
    pub table_away: Duration,
}

impl Reads {
    /// The largest answer in bytes of a read within these bounds.
    pub fn max_bytes(&self, bounds: ReadBounds) -> usize {
        bounds.max_bytes.map_or(self.max_bytes, |max_bytes| max_bytes.min(self.max_bytes))
    }

    /// The fetch of a client within these bounds.
    pub fn fetch(&self, source: ClientKey, offset: i64, bounds: ReadBounds) -> Fetch {
        let ReadBounds { wait, min_bytes, max_records, fill, committed, decode, .. } = bounds;
        Fetch {
            offset,
            max_bytes: self.max_bytes(bounds),
            wait: wait.map_or(self.wait, |wait| wait.min(MAX_WAIT)),
            min_bytes: min_bytes.min(WAITING_BYTES),
            max_records,
            fill,
            committed,
            decode,
            source,
        }
    }
}

impl Cluster {
    /// A cluster that nobody uses yet.
    pub fn new(
        system: System,
        parts: Parts,
        metrics: ClusterMetrics,
        rates: Rates,
        tables: TableLimits,
        consumers: ConsumerLimits,
    ) -> Self {
        Self {
            system,
            parts: ArcSwap::from_pointee(parts),
            enqueuing: RwLock::default(),
            partitions: PartitionWatcher::default(),
            metrics,
            subscriptions: OpenSubscriptions::default(),
            open_clients: OpenClients::default(),
            selections: Arc::default(),
            tables: Tables::new(tables),
            consumers: Consumers::new(consumers),
            failures: FailureLog::default(),
            rates,
            drain: Drain::default(),
        }
    }

    /// The messaging system, for reads that are part of a command.
    pub(crate) fn backend(&self) -> Arc<dyn Backend> {
        Arc::clone(&self.parts.load().backend)
    }

    /// The open sessions and streams of events.
    pub fn open_clients(&self) -> Vec<Arc<OpenClient>> {
        self.open_clients.all()
    }

    /// Defaults and bounds of fetches.
    pub fn reads(&self) -> Reads {
        self.parts.load().reads
    }

    /// Whether the backend was made from the configuration of this version, with the same right to write.
    pub fn is_of(&self, version: u64, is_writable: bool) -> bool {
        let parts = self.parts.load();
        (parts.version, parts.writes.is_some()) == (version, is_writable)
    }

    /// Changes the bounds of commands that begin after this.
    pub fn set_bounds(&self, reads: Reads, max_records: usize) {
        self.parts.rcu(|parts| Parts {
            backend: Arc::clone(&parts.backend),
            version: parts.version,
            reads,
            writes: parts.writes.clone().map(|writes| Writes { max_records, ..writes }),
            replaced: parts.replaced.clone(),
        });
    }

    /// Replaces the backend. Commands that were begun end with the earlier one; its queued records are delivered first,
    /// until `by`.
    ///
    /// # Cancel safety
    /// A drop can leave the cluster unable to write, so it must be polled to its end.
    pub async fn replace(&self, parts: Parts, by: Instant) {
        let _no_writes = self.enqueuing.write().await;
        if self.is_of(parts.version, parts.writes.is_some()) {
            // Another caller has replaced it meanwhile.
            return;
        }
        self.backend().end_writes(by).await;
        let earlier = self.parts.swap(Arc::new(parts));
        earlier.replaced.cancel();
    }

    /// Cancelled when the backend is replaced.
    pub(crate) fn replaced(&self) -> CancellationToken {
        self.parts.load().replaced.clone()
    }

    /// Waits for records, or other news of a log: see [`Backend::wait_for_records`].
    ///
    /// # Cancel safety
    /// A drop ends the wait.
    pub(crate) async fn wait_for_records(
        &self,
        log: Log<'_>,
        offset: i64,
        committed: bool,
        until: Option<Instant>,
        seen: SeenEnds,
    ) -> Option<Ends> {
        let parts = self.parts.load_full();
        let wait = parts.backend.wait_for_records(log, offset, committed, until, seen);
        // A backend that was replaced may never answer.
        parts.replaced.run_until_cancelled(wait).await.flatten()
    }

    /// Whether a broker answers within this time. If none does, the reason is logged.
    ///
    /// # Cancel safety
    /// A drop has no effect.
    pub async fn is_ready(&self, within: Duration) -> bool {
        self.backend().ready(within).await.is_ok()
    }

    /// Whether a topic exists. True if no broker is reachable.
    pub(crate) async fn has_topic(&self, source: ClientKey, topic: &str) -> bool {
        let checked = self.backend().check_log(source, Log { topic, partition: 0 }).await;
        !checked.is_err_and(|error| error.fault == Fault::NotFound)
    }

    /// The offset of a timestamp: see [`Backend::list_offsets`].
    ///
    /// # Cancel safety
    /// A drop abandons the read.
    pub(crate) async fn list_offset(
        &self,
        source: ClientKey,
        log: Log<'_>,
        timestamp: i64,
        committed: bool,
    ) -> Result<i64, CommandError> {
        let listed = async {
            let listed = self.offsets_of(source, &[(log, timestamp)], committed).await.pop();
            Ok(listed.unwrap_or_else(|| Err(unanswered()))?.offset)
        };
        self.measured(Kind::ListOffset, listed).await
    }

    /// The offset of each log's timestamp: see [`Backend::list_offsets`]. The results are in the order of `asked`.
    /// Offsets that take [`LISTING_PATIENCE`] longer than the first are errors.
    ///
    /// # Cancel safety
    /// A drop abandons the reads.
    pub(crate) async fn list_offsets(
        &self,
        source: ClientKey,
        asked: &[(Log<'_>, i64)],
        committed: bool,
    ) -> Vec<Result<ListedOffset, CommandError>> {
        self.measured_each(Kind::ListOffsets, self.offsets_of(source, asked, committed)).await
    }

    /// The same as part of another command.
    pub(crate) async fn offsets_of(
        &self,
        source: ClientKey,
        asked: &[(Log<'_>, i64)],
        committed: bool,
    ) -> Vec<Result<ListedOffset, CommandError>> {
        self.offsets_within(source, asked, committed, None).await
    }

    /// The same; those that are not known `until` then are errors. What has no leader is waited for as long as others
    /// answer, and shortly after.
    pub(crate) async fn offsets_within(
        &self,
        source: ClientKey,
        asked: &[(Log<'_>, i64)],
        committed: bool,
        mut until: Option<Instant>,
    ) -> Vec<Result<ListedOffset, CommandError>> {
        let mut results: Vec<_> = asked.iter().map(|_| Err(unanswered())).collect();
        let backend = self.backend();
        let mut listed = backend.list_offsets(source, asked, committed);
        let mut left: BTreeSet<usize> = (0..asked.len()).collect();
        let is_led =
            |number: &usize| asked.get(*number).is_some_and(|(log, _)| backend.may_have_leader(*log));
        while !left.is_empty() {
            let look = later(Instant::now(), PATIENCE);
            let by = until.map_or(look, |until| until.min(look));
            match timeout_at(by, listed.next()).await {
                Ok(Some((number, listed))) => {
                    if let Some(result) = results.get_mut(number) {
                        *result = listed;
                    }
                    left.remove(&number);
                    until = until.into_iter().chain(Instant::now().checked_add(LISTING_PATIENCE)).min();
                }
                Ok(None) => break,
                // By then, the leaders are known.
                Err(_) if until == Some(by) || !left.iter().any(is_led) => break,
                Err(_) => {}
            }
        }
        drop(listed);
        results
    }

    /// Adds the ends of their logs to errors of offsets that are not between them, as far as they are known soon.
    ///
    /// # Cancel safety
    /// A drop abandons the reads.
    async fn add_ends(
        &self,
        source: ClientKey,
        places: &[Place<'_>],
        results: &mut [Result<Chunk, CommandError>],
    ) {
        let missed = places.iter().zip(results).filter_map(|((log, _), result)| {
            Some((*log, result.as_mut().err().filter(|error| error.lacks_ends())?))
        });
        let (logs, errors): (Vec<Log<'_>>, Vec<&mut CommandError>) = missed.unzip();
        let asked: Vec<_> = logs.into_iter().flat_map(|log| [(log, LOG_START), (log, LOG_END)]).collect();
        let until = Instant::now().checked_add(PATIENCE);
        let listed = self.offsets_within(source, &asked, false, until).await;
        for (error, ends) in errors.into_iter().zip(listed.as_chunks().0) {
            if let [Ok(start), Ok(end)] = ends {
                error.ends = Some((start.offset, end.offset));
            }
        }
    }

    /// The first offset of a log, and the one after its last record, or after its last committed one.
    ///
    /// # Errors
    /// One of the reads fails.
    ///
    /// # Cancel safety
    /// A drop abandons the reads.
    pub(crate) async fn ends(
        &self,
        source: ClientKey,
        log: Log<'_>,
        committed: bool,
    ) -> Result<(i64, i64), CommandError> {
        let ends = async {
            let asked = [(log, LOG_START), (log, LOG_END)];
            let mut listed = self.offsets_of(source, &asked, committed).await.into_iter();
            let mut next = || listed.next().unwrap_or_else(|| Err(unanswered()));
            Ok((next()?.offset, next()?.offset))
        };
        self.measured(Kind::ListOffset, ends).await
    }

    /// The names of the topics that the cluster's user can see, sorted, without internal topics.
    ///
    /// # Cancel safety
    /// A drop abandons the read.
    pub(crate) async fn topics(&self) -> Result<Arc<[String]>, CommandError> {
        self.measured(Kind::Topics, self.backend().topics()).await
    }

    /// Whether records are queued or in flight.
    pub fn has_queued_records(&self) -> bool {
        self.backend().has_queued_records()
    }

    /// Says in the log if no broker answers, and prepares for the first record if the cluster is writable and stays in
    /// use.
    ///
    /// # Cancel safety
    /// A drop leaves both to the first commands.
    pub async fn prepare(&self) {
        let parts = self.parts.load_full();
        let writes = async {
            if parts.writes.is_some() {
                parts.backend.prepare_writes().await;
            }
        };
        tokio::select! {
            biased;
            _ = join(parts.backend.ready(PREPARE_TIMEOUT), writes) => {}
            () = parts.replaced.cancelled() => {}
            () = self.drain.begun() => {}
        }
    }

    /// Counts how far its subscriptions are behind now.
    pub fn sample_lag(&self) {
        for lag in self.subscriptions.sample(&*self.backend()) {
            self.metrics.lag(lag);
        }
        self.metrics.consumers.lags(self.subscriptions.groups(&*self.backend()));
    }

    /// Frees the memory of records that were selected a while ago.
    pub fn forget_selections(&self) {
        self.selections.expire();
    }

    /// Delivers queued records until `by`, and ends writing. What clients of consumers have is committed.
    ///
    /// # Cancel safety
    /// After a drop, delivery continues in the background for as long as the process lives.
    pub async fn end_writes(&self, by: Instant) {
        // A cluster without a reader has no groups to wait for.
        let _ = timeout_at(by, self.consumers.stop()).await;
        self.backend().end_writes(by).await;
    }

    /// As [`Cluster::measured`], of a command with many results.
    async fn measured_each<T>(
        &self,
        kind: Kind,
        command: impl Future<Output = Vec<Result<T, CommandError>>>,
    ) -> Vec<Result<T, CommandError>> {
        let is_unreachable = |result: &Result<T, CommandError>| {
            matches!(result, Err(CommandError { fault: Fault::Unreachable { .. }, .. }))
        };
        let outcome = |results: &Vec<Result<T, CommandError>>| match &results[..] {
            results if results.is_empty() || results.iter().any(Result::is_ok) => Outcome::Answered,
            results if results.iter().any(is_unreachable) => Outcome::Unavailable,
            _ => Outcome::Refused,
        };
        self.timed(kind, command, outcome).await
    }

    /// Records a command's outcome and duration.
    pub(crate) async fn measured<T>(
        &self,
        kind: Kind,
        command: impl Future<Output = Result<T, CommandError>>,
    ) -> Result<T, CommandError> {
        let outcome = |result: &Result<T, CommandError>| match result {
            Ok(_) => Outcome::Answered,
            Err(CommandError { fault: Fault::Unreachable { .. }, .. }) => Outcome::Unavailable,
            Err(_) => Outcome::Refused,
        };
        self.timed(kind, command, outcome).await
    }

    async fn timed<T>(
        &self,
        kind: Kind,
        command: impl Future<Output = T>,
        outcome: impl FnOnce(&T) -> Outcome,
    ) -> T {
        let start = Instant::now();
        let result = command.await;
        self.metrics.command(kind, outcome(&result), start.elapsed());
        result
    }
}

pub(crate) fn later(instant: Instant, time: Duration) -> Instant {
    instant.checked_add(time).unwrap_or(instant)
}

/// The longest wait of a fetch.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(30);

/// The time that the offsets of other partitions may take once one is known. A search by timestamp can take long.
pub(crate) const LISTING_PATIENCE: Duration = Duration::from_secs(5);

/// The time that the ends of logs may take before a command goes on without them.
pub(crate) const SOON: Duration = Duration::from_secs(1);

/// The time that the brokers of a new cluster may take to answer before the log says that they do not. Connections are
/// given up earlier.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;

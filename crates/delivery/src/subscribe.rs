//! A client's request, and the offsets at which it begins.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::future::{try_join, try_join_all};
use sluicegate_backend::command::Start;
use sluicegate_backend::number::millis;
use sluicegate_backend::{CommandError, Description, Fault, LOG_END, ListedOffset, Log, System};
use sluicegate_fair_share as fair_share;
use sluicegate_protocol::error_code::{INVALID_REQUEST, UNKNOWN_TOPIC_OR_PARTITION};
use tokio::time::{Instant, timeout};

use super::filter::Filters;
use crate::cluster::{Cluster, LISTING_PATIENCE, Place, SOON, escape_for_message, out_of_range, unanswered};

/// A client's request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subscribe {
    /// The client, which shared limits are divided by.
    pub client: fair_share::ClientKey,
    pub sources: Vec<Source>,
    /// As in [`Fetch`](sluicegate_backend::Fetch).
    pub committed: bool,
    /// As in [`Fetch`](sluicegate_backend::Fetch).
    pub decode: bool,
    pub filters: Filters,
    /// The size of a delivery in bytes. A single record is delivered even if it is larger.
    pub max_bytes: usize,
    /// The largest number of records in a delivery; 0: as many as fit.
    pub max_records: usize,
    /// The time for which a record at the end of a log waits for others.
    pub linger: Duration,
    /// Whether to jump to the end of a log that a delivery does not reach.
    pub skips: bool,
    /// None: it is no table.
    pub table: Option<Table>,
    /// Whether a table of which nothing can be read yet waits.
    pub waits: bool,
}

/// A table: the newest record of each key comes first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table {
    /// The time since the client got something of it last, if it goes on with it. None: not known.
    pub away: Option<Duration>,
    /// The time after which it begins anew.
    pub max_away: Duration,
}

/// A topic to read.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub topic: Arc<str>,
    /// Empty: all, and those that the topic gets later.
    pub partitions: Vec<i32>,
    pub from: Start,
    /// Where single partitions continue; it overrides `from`. If not empty, other partitions of the topic are new. Those
    /// at [`NOT_BEGUN`] begin as `from` says.
    pub next: BTreeMap<i32, i64>,
    /// The topic that `next` is about. None: not checked.
    pub topic_id: Option<u128>,
}

/// A topic of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscribedTopic {
    /// The topic's name.
    pub topic: Arc<str>,
    /// None: the messaging system has none, or it is not known.
    pub topic_id: Option<u128>,
    /// Each partition, and the offset that it begins at, or [`NOT_BEGUN`].
    pub partitions: Vec<(i32, i64)>,
}

/// A topic of a subscription that begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resolved {
    pub(super) topic: SubscribedTopic,
    /// The partitions at [`NOT_BEGUN`].
    pub(super) later: BTreeMap<i32, Later>,
}

/// The beginning of a subscription, on both clocks.
#[derive(Debug, Clone, Copy)]
struct Began {
    at: Instant,
    /// Since 1970.
    millis: i64,
}

impl Began {
    fn now() -> Self {
        Self { at: Instant::now(), millis: millis(SystemTime::now()) }
    }
}

/// Where a partition begins that cannot be asked yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Later {
    pub(super) from: Start,
    /// The last epoch whose records are before the subscription: those of later ones belong to it. None: not known.
    pub(super) epoch: Option<i32>,
    /// The time before the subscription began, in milliseconds since 1970: what has come since belongs to it, too. None:
    /// the epoch tells all of it.
    pub(super) since: Option<i64>,
}

impl Subscribe {
    /// Finds where each partition begins, of all topics at the same time. Those without a leader, and those that do not
    /// answer within [`LISTING_PATIENCE`], begin later.
    ///
    /// # Errors
    /// One of the topics cannot be read now, or is not there; or there are too many partitions.
    ///
    /// # Cancel safety
    /// A drop abandons the reads.
    pub(super) async fn resolve(&self, cluster: &Cluster) -> Result<Vec<Resolved>, CommandError> {
        let began = Began::now();
        let described = self.sources.iter().map(|source| source.describe((cluster, self.client)));
        let described = try_join_all(described).await?;
        let count = self.sources.iter().zip(&described).map(|(source, described)| match source.is_whole() {
            true => described.partitions.len(),
            false => source.partitions.len(),
        });
        if count.fold(0, usize::saturating_add) > MAX_PARTITIONS {
            return Err(too_many_partitions());
        }
        // Boxed, as the compiler gives up on nested types.
        let resolve = |(source, described)| {
            Source::resolve(source, (cluster, self.client), self.committed, described, began).boxed()
        };
        try_join_all(self.sources.iter().zip(described).map(resolve)).await
    }
}

impl Source {
    /// Whether it is all partitions of the topic.
    pub(super) fn is_whole(&self) -> bool {
        self.partitions.is_empty()
    }

    /// Finds the offsets of the partitions.
    ///
    /// # Errors
    /// The topic or a partition does not exist, is not the same any more, or must not be read.
    ///
    /// # Cancel safety
    /// A drop abandons the reads.
    async fn resolve(
        &self,
        (cluster, client): (&Cluster, fair_share::ClientKey),
        committed: bool,
        existing: Arc<Description>,
        began: Began,
    ) -> Result<Resolved, CommandError> {
        let described_id = existing.topic_id;
        let existing: Vec<i32> = existing.partitions.iter().map(|partition| partition.partition).collect();
        let partitions = if self.partitions.is_empty() { existing } else { self.partitions.clone() };
        let mut begins: BTreeMap<i32, i64> = BTreeMap::new();
        let (mut unknown, mut named, mut resumed) = (Vec::new(), Vec::new(), Vec::new());
        let is_from_end = self.from.is_from_end();
        for partition in partitions {
            match (self.next.get(&partition).copied(), self.from) {
                (Some(next @ 0..), _) => drop(begins.insert(partition, next)),
                (None, _) if !self.next.is_empty() && self.partitions.is_empty() => {
                    begins.insert(partition, 0);
                }
                (_, Start::Offset(offset)) => {
                    named.push((partition, offset));
                    begins.insert(partition, offset);
                }
                (Some(_), _) if is_from_end => resumed.push(partition),
                (_, Start::Timestamp(_) | Start::BeforeEnd(_)) => unknown.push(partition),
            }
        }
        if self.topic_id.is_none() {
            self.check((cluster, client), &named).await?;
        }
        // Before the partitions are asked: an election that follows is noticed by its epoch.
        let backend = cluster.backend();
        let is_led = |partition: &i32| backend.may_have_leader(self.log(*partition));
        let later = |partition: &i32| {
            let epoch = backend.last_epoch(self.log(*partition));
            // Nothing is written under the epoch of a leader that is gone.
            let since = (epoch.is_none() || is_led(partition)).then_some(began.millis);
            (*partition, Later { from: self.from, epoch, since })
        };
        // Their client has waited for a leader, which can have been there meanwhile.
        let later_again = |partition: &i32| match later(partition) {
            (partition, Later { from, epoch: Some(epoch), .. }) => {
                (partition, Later { from, epoch: epoch.checked_sub(1), since: None })
            }
            unknown => unknown,
        };
        let mut later: BTreeMap<i32, Later> =
            unknown.iter().map(later).chain(resumed.iter().map(later_again)).collect();
        // Without a leader, they would not answer soon.
        unknown.retain(is_led);
        resumed.retain(is_led);
        let until = began.at.checked_add(LISTING_PATIENCE);
        let resumed = resumed.into_iter().filter_map(|partition| Some((partition, *later.get(&partition)?)));
        let resumed = resumed.map(async |(partition, later)| {
            let found = later.find((cluster, client), self.log(partition), committed);
            match timeout(LISTING_PATIENCE, found).await {
                Ok(Ok(offset)) => Ok(Some((partition, offset))),
                Ok(Err(error)) if !error.fault.is_retriable() => Err(error),
                Ok(Err(_)) | Err(_) => Ok(None),
            }
        });
        let resumed: Vec<_> = resumed.collect();
        // The ends first: what is written while the time is looked up comes after them.
        let ends = self.list((cluster, client), &unknown, (LOG_END, committed), until);
        let (resumed, ends) = try_join(try_join_all(resumed), ends).await?;
        for (partition, offset) in resumed.into_iter().flatten() {
            begins.insert(partition, offset);
            later.remove(&partition);
        }
        let found = match self.from.timestamp() {
            // A search takes long in a large log.
            Some(timestamp) => {
                let unknown: Vec<i32> = ends.keys().copied().collect();
                let until = began.at.checked_add(SEARCH_TIME);
                Some(self.list((cluster, client), &unknown, (timestamp, committed), until).await?)
            }
            None => None,
        };
        for (partition, end) in ends {
            let found = found.as_ref().map(|found| found.get(&partition).copied());
            if found == Some(None) {
                // It is searched for again.
                continue;
            }
            begins.insert(partition, self.from.in_log(end, found.flatten()));
            later.remove(&partition);
        }
        begins.extend(later.keys().map(|partition| (*partition, NOT_BEGUN)));
        // Partitions and id are those of the same topic. If it is another one by now, the reads will tell.
        let topic_id = match described_id {
            Some(id) => Some(id),
            None => self.current_id((cluster, client), begins.keys().copied()).await?,
        };
        let partitions = begins.into_iter().collect();
        let topic = SubscribedTopic { topic: Arc::clone(&self.topic), topic_id, partitions };
        Ok(Resolved { topic, later })
    }

    /// The description of the topic.
    ///
    /// # Errors
    /// It is not there, has not all partitions that the client names, or is not the topic that the client knows.
    async fn describe(
        &self,
        (cluster, client): (&Cluster, fair_share::ClientKey),
    ) -> Result<Arc<Description>, CommandError> {
        let known = cluster.describe(client, &self.topic).await?;
        if !self.is_other(known.topic_id) && self.missing_in(&known).is_none() {
            return Ok(known);
        }
        let first = known.partitions.first().map_or(0, |first| first.partition);
        // The client can have heard of a new topic, or of new partitions, before this bridge has.
        cluster.backend().ask_version(client, self.log(first)).await?;
        let known = cluster.describe(client, &self.topic).await?;
        if self.is_other(known.topic_id) {
            return Err(recreated(cluster.system, &self.topic));
        }
        match self.missing_in(&known) {
            None => Ok(known),
            Some(missing) => {
                let message = format!("topic {} has no partition {missing}", escape_for_message(&self.topic));
                Err(CommandError::new(Fault::NotFound, UNKNOWN_TOPIC_OR_PARTITION, message))
            }
        }
    }

    /// A partition that the client names and the topic does not have.
    fn missing_in(&self, description: &Description) -> Option<i32> {
        let has = |number: i32| description.partitions.iter().any(|partition| partition.partition == number);
        self.partitions.iter().chain(self.next.keys()).copied().find(|number| !has(*number))
    }

    fn is_other(&self, id: Option<u128>) -> bool {
        self.topic_id.zip(id).is_some_and(|(own, id)| own != id)
    }

    /// The topic's id, if its description does not tell.
    ///
    /// # Errors
    /// It is not the one that the client knows.
    async fn current_id(
        &self,
        (cluster, client): (&Cluster, fair_share::ClientKey),
        mut partitions: impl Iterator<Item = i32>,
    ) -> Result<Option<u128>, CommandError> {
        let backend = cluster.backend();
        let Some((partition, known)) = partitions
            .find_map(|partition| Some((partition, backend.version(self.log(partition)).topic_id?)))
        else {
            return Ok(self.topic_id);
        };
        if !self.is_other(Some(known)) {
            return Ok(Some(known));
        }
        // The client can have heard of a new topic before this bridge has.
        let now = backend.ask_version(client, self.log(partition)).await?.topic_id;
        if self.is_other(now) { Err(recreated(cluster.system, &self.topic)) } else { Ok(self.topic_id) }
    }

    /// Checks that offsets are not after the ends of their logs. Offsets to resume from are not checked: the client can
    /// have read more than a broker knows that has just become the leader. Nor are those of a log whose end is not
    /// known soon: its reads will tell.
    async fn check(
        &self,
        (cluster, client): (&Cluster, fair_share::ClientKey),
        named: &[(i32, i64)],
    ) -> Result<(), CommandError> {
        let offsets = named.iter().filter(|(_, offset)| *offset > 0);
        let places: Vec<_> = offsets.map(|(partition, offset)| (self.log(*partition), *offset)).collect();
        let asked: Vec<_> = places.iter().map(|(log, _)| (*log, LOG_END)).collect();
        let listed = timeout(CHECK_TIME, cluster.offsets_of(client, &asked, false)).await.unwrap_or_default();
        let is_beyond = |(place, end): &(Place<'_>, Result<ListedOffset, CommandError>)| {
            end.as_ref().is_ok_and(|end| end.offset < place.1)
        };
        let Some(((log, offset), _)) = places.into_iter().zip(listed).find(is_beyond) else { return Ok(()) };
        match timeout(CHECK_TIME, cluster.ends(client, log, false)).await {
            Ok(Ok(ends)) if ends.1 < offset => Err(out_of_range(cluster.system, log, offset, ends)),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Finds an offset of each partition, all of which were there a moment ago. Those that do not answer in time are left
    /// out.
    async fn list(
        &self,
        (cluster, client): (&Cluster, fair_share::ClientKey),
        partitions: &[i32],
        (timestamp, committed): (i64, bool),
        until: Option<Instant>,
    ) -> Result<BTreeMap<i32, i64>, CommandError> {
        if partitions.is_empty() {
            return Ok(BTreeMap::new());
        }
        let asked: Vec<_> = partitions.iter().map(|partition| (self.log(*partition), timestamp)).collect();
        let listed = cluster.offsets_within(client, &asked, committed, until).await;
        let mut found = BTreeMap::new();
        for (partition, listed) in partitions.iter().zip(listed) {
            match listed {
                Ok(listed) => drop(found.insert(*partition, listed.offset)),
                Err(error) if error.fault.is_retriable() => {}
                // It was there a moment ago: the topic was deleted, perhaps to be created again.
                Err(error) if error.fault == Fault::NotFound && self.is_whole() => {
                    return Err(CommandError { fault: Fault::Transient, ..error }.with_retry());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    fn log(&self, partition: i32) -> Log<'_> {
        Log { topic: &self.topic, partition }
    }
}

impl Later {
    /// Finds where the partition begins. What was written since the subscription began belongs to it: the end is the one
    /// that the log had then.
    ///
    /// # Errors
    /// It cannot be asked yet, or must not be read.
    ///
    /// # Cancel safety
    /// A drop abandons the reads.
    pub(super) async fn find(
        self,
        (cluster, client): (&Cluster, fair_share::ClientKey),
        log: Log<'_>,
        committed: bool,
    ) -> Result<i64, CommandError> {
        let backend = cluster.backend();
        // Metadata that names no leader is not asked for again by reads of others.
        backend.ask_version(client, log).await?;
        let list = async |timestamp, until| {
            let asked = [(log, timestamp)];
            let mut listed = cluster.offsets_within(client, &asked, committed, until).await;
            Ok::<i64, CommandError>(listed.pop().unwrap_or_else(|| Err(unanswered()))?.offset)
        };
        let mut end = list(LOG_END, soon()).await?;
        if let (Some(epoch), Some(leader)) = (self.epoch, backend.version(log).leader_epoch)
            && epoch != leader
        {
            let before = backend.end_of_epoch(client, log, epoch).await?;
            end = before.map_or(end, |before| before.min(end));
        }
        if let Some(since) = self.since.filter(|_| self.from.is_from_end()) {
            let first = list(since, None).await?;
            end = if first < 0 { end } else { first.min(end) };
        }
        let found = match self.from.timestamp() {
            Some(timestamp) => Some(list(timestamp, None).await?),
            None => None,
        };
        Ok(self.from.in_log(end, found))
    }
}

fn soon() -> Option<Instant> {
    Instant::now().checked_add(SOON)
}

/// The error of a topic that is not the one that was subscribed to.
pub(super) fn recreated(system: System, topic: &str) -> CommandError {
    let message = format!(
        "{} {} has been deleted and created again: subscribe without the positions and id of the old one",
        system.topic,
        escape_for_message(topic)
    );
    CommandError::new(Fault::Recreated, UNKNOWN_TOPIC_OR_PARTITION, message)
}

/// The error of a subscription, or a session, with more partitions than [`MAX_PARTITIONS`].
pub fn too_many_partitions() -> CommandError {
    let message = format!("too many partitions in this session: expected at most {MAX_PARTITIONS}");
    CommandError::new(Fault::Invalid, INVALID_REQUEST, message)
}

/// The time for which a subscription waits for the ends of its logs, twice at most.
const CHECK_TIME: Duration = Duration::from_secs(1);

/// The time for which a subscription searches for the offset of a time.
const SEARCH_TIME: Duration = Duration::from_secs(25);

/// The offset of a partition that has not begun, because it does not answer yet.
pub const NOT_BEGUN: i64 = -1;

/// Partitions of all subscriptions of a session.
pub const MAX_PARTITIONS: usize = 1000;

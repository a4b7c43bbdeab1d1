//! The beginning of a subscription: where each partition begins, and whether a snapshot comes first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all, try_join_all};
use futures_util::stream::FuturesUnordered;
use sluicegate_backend::command::Start;
use sluicegate_backend::{CommandError, Fault, Log, Version};
use sluicegate_fair_share::ClientKey;
use sluicegate_rights::Rows;
use tokio::time::{Instant, sleep};

use super::{Wake, grown, moment};
use crate::client::granted;
use crate::cluster::{Cluster, Partitions, Slice, unanswered};
use crate::cursors::Cursors;
use crate::failures::Failures;
use crate::grant::Held;
use crate::held_keys::HeldKeys;
use crate::item::{Item, Place};
use crate::snapshot::Snapshot;
use crate::subscribe::{NOT_BEGUN, Resolved, Source, Subscribe, SubscribedTopic};
use crate::view::View;

/// A subscription that begins.
pub(super) struct Begun {
    pub(super) cursors: Cursors,
    pub(super) waits: FuturesUnordered<BoxFuture<'static, Wake>>,
    pub(super) snapshot: Option<Snapshot>,
}

impl Begun {
    /// Nothing yet of a table that waits after this error.
    pub(super) fn later(cluster: &Cluster, subscribe: Subscribe, error: CommandError) -> Self {
        let first = subscribe.sources.first();
        let partition = first.and_then(|source| source.partitions.first().copied()).unwrap_or_default();
        let topic = first.map_or_else(|| Arc::from(""), |source| Arc::clone(&source.topic));
        let mut cursors = Cursors::new(subscribe, cluster.system, Arc::clone(&cluster.selections));
        let place = Place { topic, partition, offset: 0 };
        cursors.client.items.push_back(Item::Retrying { place, error, since: SystemTime::now() });
        Self { cursors, waits: FuturesUnordered::new(), snapshot: None }
    }
}

/// Finds where each partition begins. Those that cannot be asked begin later; of a table, it must not be all of them, and
/// none if it has to be `whole`.
pub(super) async fn begin(
    cluster: Arc<Cluster>,
    subscribe: Subscribe,
    held: Arc<Held>,
    whole: bool,
) -> Result<Begun, CommandError> {
    let looks_at_headers = subscribe.table.is_some() && looks_beyond_keys(&subscribe, &held);
    let (mut subscribe, resolved, epochs) = match subscribe.goes_on(&cluster, &held, looks_at_headers).await?
    {
        Some(resolved) => (subscribe, resolved, Epochs::new()),
        None => {
            let subscribe = subscribe.anew();
            let (resolved, epochs) = subscribe.resolve_with_epochs(&cluster).await?;
            (subscribe, resolved, epochs)
        }
    };
    let begins_anew = subscribe.table.is_some() && subscribe.sources.iter().all(|source| !source.continues());
    let (mut topics, later): (Vec<_>, Vec<_>) =
        resolved.into_iter().map(|Resolved { topic, later }| (topic, later)).unzip();
    let unread: usize = later.iter().map(BTreeMap::len).sum();
    let partitions: usize = topics.iter().map(|topic| topic.partitions.len()).sum();
    if begins_anew && unread > 0 && (whole || unread == partitions) {
        return Err(unanswered().with_retry());
    }
    let waits = FuturesUnordered::new();
    for (source, resolved) in subscribe.sources.iter().zip(&topics) {
        // A stream stays one partition.
        if source.is_whole() && cluster.system.has_partitions {
            let numbers = resolved.partitions.iter().map(|(partition, _)| *partition).collect();
            let known = Partitions { topic_id: resolved.topic_id, numbers };
            let watched = cluster.watch_partitions(&resolved.topic, known);
            waits.push(grown(Arc::clone(&resolved.topic), watched).boxed());
        }
    }
    let Subscribe { client, table, decode, .. } = subscribe;
    if subscribe.table.is_none() {
        // Only a table can begin anew.
        subscribe.sources = Vec::new();
    }
    let mut cursors = Cursors::new(subscribe, cluster.system, Arc::clone(&cluster.selections));
    let snapshot = begins_anew.then(|| snapshot(&cluster, (client, &held), decode, &topics, &epochs));
    let names: Vec<_> = topics.iter().map(|topic| Arc::clone(&topic.topic)).collect();
    if begins_anew {
        // A log of which no part is in the snapshot is read from its beginning, as that of a new partition is.
        let begins = topics.iter_mut().flat_map(|topic| &mut topic.partitions);
        begins.filter(|(_, offset)| *offset == NOT_BEGUN).for_each(|(_, offset)| *offset = 0);
    }
    // Ids of topics are told with what is granted.
    cursors.client.know(&topics);
    cursors.client.grant(held.rights.read.as_ref());
    cursors.client.is_lost = false;
    match begins_anew {
        true => cursors.add_tables(topics),
        false => cursors.add(topics),
    }
    cursors.begin_later(names.iter().zip(later), moment());
    if let Some(away) = table.filter(|_| !begins_anew).and_then(|table| table.away) {
        let now = Instant::now();
        cursors.are_current_at(now.checked_sub(away).unwrap_or(now));
    }
    if looks_at_headers {
        cursors.client.hold(HeldKeys::new(cluster.system, cluster.held_keys(), cluster.holder(client)));
    }
    Ok(Begun { cursors, waits, snapshot })
}

/// The same for a table that was open already: it waits for a cluster that is away, and for a topic that is missing,
/// as its partitions are for a moment while it is created again.
pub(super) fn begin_again(
    cluster: Arc<Cluster>,
    subscribe: Subscribe,
    held: Arc<Held>,
) -> BoxFuture<'static, Result<Begun, CommandError>> {
    retry(move |whole| begin(Arc::clone(&cluster), subscribe.clone(), Arc::clone(&held), whole))
}

/// Attempts to begin until one succeeds, or another one cannot help. An attempt has to be whole for a while.
pub(super) fn retry<F>(
    attempt: impl Fn(bool) -> F + Send + 'static,
) -> BoxFuture<'static, Result<Begun, CommandError>>
where
    F: Future<Output = Result<Begun, CommandError>> + Send + 'static,
{
    async move {
        let mut failures = Failures::default();
        let begun = Instant::now();
        loop {
            // The client's rows of a partition that cannot be read are no part of the next snapshot.
            let whole = begun.elapsed() < WHOLE_TIME;
            match attempt(whole).await {
                Err(error)
                    if failures.is_passing(error.fault, error.fault == Fault::NotFound, Instant::now()) =>
                {
                    sleep(error.retry_after.max(PAUSE)).await;
                }
                begun => return begun,
            }
        }
    }
    .boxed()
}

/// The epochs of the leaders of topics' partitions, as far as they are known.
type Epochs = BTreeMap<(Arc<str>, i32), Option<i32>>;

/// The snapshot of each partition, up to the place where its log goes on.
fn snapshot(
    cluster: &Arc<Cluster>,
    (client, held): (ClientKey, &Held),
    decode: bool,
    topics: &[SubscribedTopic],
    epochs: &Epochs,
) -> Snapshot {
    let mut snapshot = Snapshot::new();
    for SubscribedTopic { topic, topic_id, partitions } in topics {
        let slice = Slice::of_rows(&granted(held.rights.read.as_ref(), topic));
        for (partition, offset) in partitions.iter().filter(|(_, offset)| *offset != NOT_BEGUN) {
            let log = Log { topic, partition: *partition };
            let (table, epoch) = cluster.table(client, log, (slice.clone(), decode), *topic_id);
            let epoch = epochs.get(&(Arc::clone(topic), *partition)).copied().unwrap_or(epoch);
            let place = Place { topic: Arc::clone(topic), partition: *partition, offset: *offset };
            snapshot.add(place, table, epoch, slice.is_some());
        }
    }
    snapshot
}

/// Whether records of the same key can differ in whether they are for the client.
fn looks_beyond_keys(subscribe: &Subscribe, held: &Held) -> bool {
    subscribe.filters.look_beyond_keys()
        || subscribe.sources.iter().any(|source| rows(source, held).look_at_headers())
}

/// The part of the source's topic that is left.
fn view(subscribe: &Subscribe, source: &Source, held: &Held) -> View {
    View::new(&subscribe.filters, &rows(source, held))
}

fn rows(source: &Source, held: &Held) -> Rows {
    granted(held.rights.read.as_ref(), &source.topic)
}

impl Subscribe {
    /// The places where it goes on; None: it is a table that begins anew.
    async fn goes_on(
        &self,
        cluster: &Cluster,
        held: &Held,
        looks_at_headers: bool,
    ) -> Result<Option<Vec<Resolved>>, CommandError> {
        let Some(table) = self.table else { return Ok(Some(self.resolve(cluster).await?)) };
        // Another bridge does not know which keys the client has.
        if looks_at_headers || !self.sources.iter().all(Source::continues) {
            return Ok(None);
        }
        let Some(away) = table.away.filter(|away| *away <= table.max_away) else { return Ok(None) };
        // They are as they are now, whatever was known when the client had its records.
        let lives = self.sources.iter().map(|source| cluster.tombstone_life(self.client, &source.topic));
        if !join_all(lives).await.into_iter().all(|life| life.is_ok_and(|life| life.is_at_least(away))) {
            return Ok(None);
        }
        let sources = self.sources.iter().map(|source| source.seen_through(view(self, source, held)));
        let Some(sources) = sources.collect::<Option<Vec<_>>>() else { return Ok(None) };
        let told: Vec<_> = sources.iter().map(|source| source.topic_id).collect();
        match (Self { sources, ..self.clone() }).resolve(cluster).await {
            Ok(resolved) => {
                let known = resolved.iter().zip(told);
                let known = known.map(|(resolved, told)| resolved.topic.has_id(told, cluster, self.client));
                let known: Vec<bool> = try_join_all(known).await?;
                Ok(known.into_iter().all(|is_known| is_known).then_some(resolved))
            }
            Err(CommandError {
                fault: Fault::Recreated | Fault::OffsetOutOfRange | Fault::NotFound, ..
            }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The places where it begins, and the epochs of the leaders that have told of them.
    async fn resolve_with_epochs(&self, cluster: &Cluster) -> Result<(Vec<Resolved>, Epochs), CommandError> {
        let mut epochs = self.epochs(cluster).await?;
        for _ in 0..MAX_ELECTIONS {
            let resolved = self.resolve(cluster).await?;
            let now = self.epochs(cluster).await?;
            // With an earlier epoch, a table can still have what an election has lost.
            if now == epochs {
                return Ok((resolved, epochs));
            }
            epochs = now;
        }
        Err(unanswered())
    }

    /// The epochs of leaders that are known now.
    async fn epochs(&self, cluster: &Cluster) -> Result<Epochs, CommandError> {
        let mut epochs = Epochs::new();
        for Source { topic, .. } in &self.sources {
            let described = cluster.describe(self.client, topic).await?;
            for partition in described.partitions.iter().map(|described| described.partition) {
                let known = cluster.backend().version(Log { topic, partition });
                epochs.insert((Arc::clone(topic), partition), known.leader_epoch);
            }
        }
        Ok(epochs)
    }

    /// The same from the beginning.
    pub(super) fn anew(&self) -> Self {
        let source = |source: &Source| Source {
            from: Start::default(),
            next: BTreeMap::new(),
            topic_id: None,
            ..source.clone()
        };
        Self { sources: self.sources.iter().map(source).collect(), ..self.clone() }
    }
}

impl Source {
    /// Whether it says where to go on.
    fn continues(&self) -> bool {
        let has_all = self.partitions.iter().all(|partition| self.next.contains_key(partition));
        let has_begun = !self.next.is_empty() && self.next.values().all(|next| *next != NOT_BEGUN);
        has_begun && has_all || matches!(self.from, Start::Offset(_))
    }

    /// The same with the topic's id for the one that its client knows. None: the client has to know one, and does not.
    fn seen_through(&self, view: View) -> Option<Self> {
        let topic_id = match self.topic_id {
            Some(told) => view.known(told),
            None if view.is_part() => return None,
            None => None,
        };
        Some(Self { topic_id, ..self.clone() })
    }
}

impl SubscribedTopic {
    /// Whether the cluster says that its id is the one that the client told. A cluster without ids tells that by an epoch,
    /// which is not known for a while if no partition has a leader.
    async fn has_id(
        &self,
        told: Option<u128>,
        cluster: &Cluster,
        client: ClientKey,
    ) -> Result<bool, CommandError> {
        let log = |(partition, _): &(i32, i64)| Log { topic: &self.topic, partition: *partition };
        let begun = Instant::now();
        loop {
            let mut versions =
                self.partitions.iter().map(|partition| cluster.backend().version(log(partition)));
            // A cluster without ids tells epochs.
            let known = versions.find(|version| version.topic_id.is_some() || version.leader_epoch.is_some());
            match (known, self.partitions.first()) {
                (Some(known), _) => return Ok(known.topic_id == told),
                (None, Some(first)) if begun.elapsed() < ID_TIME => {
                    let asked = cluster.backend().ask_version(client, log(first)).await?;
                    if asked == Version::default() {
                        sleep(ASK_AGAIN).await;
                    }
                }
                (None, _) => return Err(unanswered()),
            }
        }
    }
}

/// The number of times that a table asks where it begins, if there is an election each time.
const MAX_ELECTIONS: u32 = 4;

/// The time for which a table that begins anew waits for all of its partitions.
const WHOLE_TIME: Duration = Duration::from_secs(10);

/// The time for which a table waits for a leader that tells its topic's id.
const ID_TIME: Duration = Duration::from_secs(10);

/// The time between two questions for it.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// The shortest pause before another attempt to begin.
const PAUSE: Duration = Duration::from_secs(1);

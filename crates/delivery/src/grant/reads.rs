//! Reads of a client: each is counted, checked and limited to what the client is granted.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sluicegate_backend::command::{ReadBounds, RecordFilter, SubscribeCommand, TopicNames};
use sluicegate_backend::{
    AnswerReservation, Chunk, CommandError, Description, ListedOffset, Log, Properties,
};
use sluicegate_rights::Topics;
use sluicegate_shared_log::Ends;
use sluicegate_telemetry::metrics::Kind;

use super::{Grant, denied};
use crate::cluster::{
    DescribedTopic, MetadataPage, MultiFetch, Place, TABLES, TopicSelection, Wanted, escape_for_message,
    read_denied,
};
use crate::filter::{Filters, select_rows};
use crate::{Subscribe, Subscription};

impl Grant {
    /// Reads records of a log from `offset` on that match all `filters`. At its end it waits until `reservation` ends the wait. An error of an
    /// offset that the log does not have tells the ends of the log, as far as they are known.
    ///
    /// # Cancel safety
    /// A drop abandons the read.
    pub async fn fetch(
        &self,
        log: Log<'_>,
        offset: i64,
        bounds: ReadBounds,
        filters: Vec<RecordFilter>,
        reservation: &mut dyn AnswerReservation,
    ) -> Result<Chunk, CommandError> {
        self.count_read(Kind::Fetch).await?;
        let filters = Filters::of_command(filters)?;
        self.counted(Kind::Fetch, self.check_read(log.topic))?;
        let mut fetch = self.reads().fetch(self.client, offset, bounds);
        fetch.wait = self.within_term(fetch.wait);
        match self
            .unless_revoked(self.cluster.fetch(
                log,
                fetch,
                Wanted { filters: &filters, reads_on: bounds.reads_on },
                &|topic| self.rows(topic),
                &self.route,
                reservation,
            ))
            .await?
        {
            Err(error) if error.lacks_ends() => {
                let ends = self.cluster.ends(self.client, log, false).await.ok();
                Err(CommandError { ends, ..error })
            }
            fetched => {
                self.count_delivered(fetched.iter());
                // A renewal can have taken the topic away meanwhile.
                fetched.inspect_err(|error| self.count_denied(Kind::Fetch, error))
            }
        }
    }

    /// Reads records of each place that match all `filters`. The places share the largest answer. The results are in their order, with errors as in
    /// [`Grant::fetch`]. One record that is larger than its part is delivered in any case.
    ///
    /// # Errors
    /// The whole command is refused.
    ///
    /// # Cancel safety
    /// A drop abandons the reads.
    pub async fn multi_fetch(
        &self,
        places: &[Place<'_>],
        bounds: ReadBounds,
        filters: Vec<RecordFilter>,
        reservation: &mut dyn AnswerReservation,
    ) -> Result<Vec<Result<Chunk, CommandError>>, CommandError> {
        self.count_read(Kind::MultiFetch).await?;
        let filters = Filters::of_command(filters)?;
        let held = self.standing.held();
        let granted = self.granted(Kind::MultiFetch, held.readable(only_topic(places)), places)?;
        let mut fetch = MultiFetch::of(self.reads().fetch(self.client, 0, bounds));
        fetch.wait = self.within_term(fetch.wait);
        if granted.len() < places.len() {
            // An error ends the wait.
            fetch.wait = Duration::ZERO;
        }
        let rows = |topic: &str| self.rows(topic);
        let read = self.cluster.fetch_each(&granted, fetch, &filters, &rows, &self.route, reservation);
        let read = self.unless_revoked(read).await?;
        self.count_delivered(read.iter().flatten());
        Ok(self.with_denied(Kind::MultiFetch, &held.rights, places, read))
    }

    /// The offset of a timestamp: see [`Backend::list_offsets`](sluicegate_backend::Backend::list_offsets).
    ///
    /// # Cancel safety
    /// A drop abandons the read.
    pub async fn list_offset(
        &self,
        log: Log<'_>,
        timestamp: i64,
        committed: bool,
    ) -> Result<i64, CommandError> {
        self.count_read(Kind::ListOffset).await?;
        self.counted(Kind::ListOffset, self.check_read(log.topic))?;
        self.cluster.list_offset(self.client, log, timestamp, committed).await
    }

    /// The offset of each log's timestamp, as [`Grant::list_offset`] finds one. The results are in their order; those
    /// that take long after the first are errors.
    ///
    /// # Errors
    /// The whole command is refused.
    ///
    /// # Cancel safety
    /// A drop abandons the reads.
    pub async fn list_offsets(
        &self,
        asked: &[(Log<'_>, i64)],
        committed: bool,
    ) -> Result<Vec<Result<ListedOffset, CommandError>>, CommandError> {
        self.count_read(Kind::ListOffsets).await?;
        let held = self.standing.held();
        let granted = self.granted(Kind::ListOffsets, held.readable(only_topic(asked)), asked)?;
        let listed = self.cluster.list_offsets(self.client, &granted, committed).await;
        Ok(self.with_denied(Kind::ListOffsets, &held.rights, asked, listed))
    }

    /// The first offset of a log, and the one after its last record, or after its last committed one.
    ///
    /// # Cancel safety
    /// A drop abandons the reads.
    pub async fn ends(&self, log: Log<'_>, committed: bool) -> Result<(i64, i64), CommandError> {
        self.count_read(Kind::ListOffset).await?;
        self.counted(Kind::ListOffset, self.check_read(log.topic))?;
        self.cluster.ends(self.client, log, committed).await
    }

    /// The names of the client's topics, sorted.
    ///
    /// # Cancel safety
    /// A drop abandons the read.
    pub async fn topics(&self) -> Result<Vec<String>, CommandError> {
        self.count_read(Kind::Topics).await?;
        let held = self.standing.held();
        let readable = self.counted(Kind::Topics, held.readable(None))?;
        let names = self.topics_in(readable).await?;
        if let Some(usage) = &self.usage {
            usage.delivered(names.iter().map(String::len).fold(0, usize::saturating_add));
        }
        Ok(names)
    }

    /// The names of the cluster's topics that are among these, sorted.
    pub(super) async fn topics_in(&self, readable: &Topics) -> Result<Vec<String>, CommandError> {
        let topics = self.cluster.topics().await?;
        Ok(topics.iter().filter(|name| readable.contains(name)).cloned().collect())
    }

    /// A topic's partitions.
    ///
    /// # Cancel safety
    /// A drop abandons the read.
    pub async fn describe(&self, topic: &str) -> Result<Arc<Description>, CommandError> {
        self.count_read(Kind::Topics).await?;
        self.counted(Kind::Topics, self.check_read(topic))?;
        self.cluster.partitions(self.client, topic).await
    }

    /// The properties of a topic. None: the route does not tell them.
    ///
    /// # Cancel safety
    /// A drop abandons the read.
    pub async fn properties(&self, topic: &str) -> Result<Option<Properties>, CommandError> {
        if !self.describes {
            return Ok(None);
        }
        self.counted(Kind::Topics, self.check_read(topic))?;
        self.cluster.properties(self.client, topic).await.map(Some)
    }

    /// Whether a range of the topic's offsets always has the same records, as long as they are there: the topic is not
    /// compacted. False if the cluster does not tell.
    ///
    /// # Cancel safety
    /// A drop abandons the read.
    pub async fn is_append_only(&self, topic: &str) -> bool {
        // Not looked up otherwise: the time of an answer must not tell whether the topic exists.
        if self.check_read(topic).is_err() {
            return false;
        }
        let properties = self.cluster.properties(self.client, topic).await;
        let policy = properties.iter().flat_map(|of| of.iter()).find(|(name, _)| name == "cleanup.policy");
        policy.is_some_and(|(_, policy)| !policy.contains("compact"))
    }

    /// The number that distinguishes a log's topic from others of the same name, as of what was read of it last. None: it is
    /// not known.
    pub fn topic_id(&self, log: Log<'_>) -> Option<u128> {
        self.cluster.backend().version(log).topic_id
    }

    /// Whether the client sees all records of the topic; if not, a number of the rows that it sees.
    ///
    /// # Errors
    /// It cannot read the topic.
    pub fn restriction(&self, topic: &str) -> Result<Option<u64>, CommandError> {
        let rows = self.rows(topic)?;
        let mut hasher = DefaultHasher::new();
        rows.hash(&mut hasher);
        Ok((!rows.is_all()).then(|| hasher.finish()))
    }

    /// The numbers of the cluster's brokers, sorted.
    ///
    /// # Errors
    /// The route does not tell them.
    ///
    /// # Cancel safety
    /// A drop abandons the read.
    pub async fn brokers(&self) -> Result<Vec<i32>, CommandError> {
        self.count_read(Kind::Topics).await?;
        let told = if self.describes { Ok(()) } else { Err(denied(NOT_DESCRIBED)) };
        self.counted(Kind::Topics, self.standing.held().check().and(told))?;
        Ok(self.cluster.members(self.client).await?.brokers)
    }

    /// The cluster's id: its own, or its name in the bridge's configuration if it has none.
    ///
    /// # Cancel safety
    /// A drop abandons the read.
    pub async fn cluster_id(&self) -> Result<String, CommandError> {
        self.count_read(Kind::Topics).await?;
        self.counted(Kind::Topics, self.standing.held().check())?;
        let id = self.cluster.members(self.client).await?.id;
        Ok(id.unwrap_or_else(|| self.cluster.metrics.name().to_owned()))
    }

    /// Whether the cluster has this id, or this name in the bridge's configuration.
    ///
    /// # Cancel safety
    /// A drop abandons the read.
    pub async fn is_cluster(&self, id: &str) -> Result<bool, CommandError> {
        self.standing.held().check()?;
        if id == self.cluster.metrics.name() {
            return Ok(true);
        }
        let members = self.cluster.members(self.client).await?;
        Ok(members.id.is_some_and(|own| own == id))
    }

    /// Topics with their partitions and leaders, until `size` of those described is more than the largest answer, but at
    /// least one.
    ///
    /// # Errors
    /// The whole command is refused or fails.
    ///
    /// # Cancel safety
    /// A drop abandons the reads.
    pub async fn describe_page(
        &self,
        names: TopicNames,
        size: impl Fn(&DescribedTopic) -> usize,
    ) -> Result<MetadataPage, CommandError> {
        self.count_read(Kind::Topics).await?;
        let held = self.standing.held();
        let readable = self.counted(Kind::Topics, held.readable(None))?;
        let TopicNames { topics, prefixes, after } = names;
        let lists = topics.is_empty() || !prefixes.is_empty();
        let begins =
            |name: &str| prefixes.is_empty() || prefixes.iter().any(|prefix| name.starts_with(prefix));
        let listed = lists.then_some(|name: &str| readable.contains(name) && begins(name));
        let (named, ungranted): (BTreeSet<String>, BTreeSet<String>) =
            topics.into_iter().partition(|topic| readable.contains(topic));
        let mut ungranted: Vec<String> = ungranted.into_iter().filter(|topic| *topic > after).collect();
        let selection = TopicSelection { named, listed, after };
        let mut page = self.cluster.metadata(self.client, selection, self.reads().max_bytes, size).await?;
        if let Some(last) = page.topics.last().filter(|_| page.more) {
            ungranted.retain(|topic| *topic < last.name);
        }
        let error =
            |name: String| DescribedTopic { description: Err(read_denied(self.system(), &name)), name };
        let denied: Vec<DescribedTopic> = ungranted.into_iter().map(error).collect();
        let errors = denied.iter().filter_map(|topic| topic.description.as_ref().err());
        self.count_any_denied(Kind::Topics, errors);
        page.topics.extend(denied);
        page.topics.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(page)
    }

    /// The newest record of a key of a topic's table, with its partition; None: there is none for the client.
    ///
    /// # Errors
    /// The topic has no table, it cannot be read, or reading it takes longer than 20 s.
    ///
    /// # Cancel safety
    /// A drop abandons the look-up. A table that was begun is finished.
    pub async fn look_up(
        &self,
        topic: &str,
        key: &[u8],
        decode: bool,
    ) -> Result<Option<(i32, Bytes)>, CommandError> {
        self.count_read(Kind::Fetch).await?;
        let granted = self.check_read(topic).and_then(|()| self.check_table(topic));
        self.counted(Kind::Fetch, granted)?;
        let found = self.cluster.look_up(self.client, topic, (key, decode), self.within_term(LOOK_UP_TIME));
        let found = self.unless_revoked(self.cluster.measured(Kind::Fetch, found)).await?;
        // The grant can have ended meanwhile, and the wait with it.
        self.check_read(topic).inspect_err(|error| self.count_denied(Kind::Fetch, error))?;
        let rows = self.rows(topic)?;
        for (partition, record) in found? {
            let record = Chunk { count: 1, messages: record, ..Chunk::nothing(0, Ends::UNKNOWN) };
            let (granted, _) = select_rows(record, &rows);
            if granted.count > 0 {
                self.count_delivered([&granted].into_iter());
                return Ok(Some((partition, granted.messages)));
            }
            self.route.hidden(1);
        }
        Ok(None)
    }

    /// Checks that the route has the table of a topic.
    ///
    /// # Errors
    /// It has not.
    pub fn check_table(&self, topic: &str) -> Result<(), CommandError> {
        if self.tables.contains(topic) {
            return Ok(());
        }
        let (word, name) = (self.system().topic, escape_for_message(topic));
        let message = format!("this route has no table of {word} {name}: its key tables does not list it");
        Err(denied(message).lacking(TABLES, Some(topic)))
    }

    /// Whether a topic exists, for the error of a command on it. True if no broker is reachable, or if the client can
    /// do nothing there.
    ///
    /// # Cancel safety
    /// A drop abandons the read.
    pub async fn has_existing(&self, topic: &str) -> bool {
        let held = self.standing.held();
        let is_granted = held.rights.reads(topic) || held.rights.writes(topic);
        !is_granted || self.cluster.has_topic(self.client, topic).await
    }

    /// Begins a subscription.
    ///
    /// # Errors
    /// The command is refused, or a topic cannot be read now.
    ///
    /// # Cancel safety
    /// A drop abandons the reads.
    pub async fn subscribe(&self, command: SubscribeCommand) -> Result<Subscription, CommandError> {
        self.subscribe_or_wait(command, false).await
    }

    /// The same; a table of which nothing can be read yet waits, and says so first.
    ///
    /// # Errors
    /// As those of [`Grant::subscribe`].
    ///
    /// # Cancel safety
    /// A drop abandons the reads.
    pub async fn follow(&self, command: SubscribeCommand) -> Result<Subscription, CommandError> {
        self.subscribe_or_wait(command, true).await
    }

    async fn subscribe_or_wait(
        &self,
        command: SubscribeCommand,
        waits: bool,
    ) -> Result<Subscription, CommandError> {
        self.count_read(Kind::Subscribe).await?;
        let (is_table, group) = (command.table.is_some(), command.group.clone());
        let granted = command.sources.iter().try_for_each(|source| {
            self.check_read(&source.topic)?;
            if is_table { self.check_table(&source.topic) } else { Ok(()) }
        });
        let granted = granted.and_then(|()| group.iter().try_for_each(|group| self.can_consume(group)));
        let subscribe = granted.and_then(|()| Subscribe::of(self.system(), command, self.reads()));
        let subscribe = Subscribe { client: self.client, waits, ..self.counted(Kind::Subscribe, subscribe)? };
        let place = self.usage.as_ref().map(|usage| usage.subscribe()).transpose();
        let place = self.counted(Kind::Subscribe, place)?;
        let subscription = match group {
            Some(group) => {
                let membership = self.counted(Kind::Subscribe, self.join(&group, subscribe))?;
                Subscription::of_member(&self.cluster, &self.route, &self.standing, membership)
            }
            None => Subscription::open(&self.cluster, &self.route, &self.standing, subscribe).await?,
        };
        self.activity.subscribed(subscription.progress());
        Ok(subscription.counted_to(self.usage.clone(), place))
    }
}

/// The topic of a command, if all of its logs have the same.
fn only_topic<'a>(logs: &[(Log<'a>, i64)]) -> Option<&'a str> {
    let topic = logs.first()?.0.topic;
    logs.iter().all(|(log, _)| log.topic == topic).then_some(topic)
}

/// The error of a question about the cluster if the route tells nothing of it.
const NOT_DESCRIBED: &str = "this route does not tell of the cluster's brokers: its key describe is not true";
/// The time for which a look-up waits for tables.
const LOOK_UP_TIME: Duration = Duration::from_secs(20);

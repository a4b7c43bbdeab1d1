//! The rights of one client, built once from its gateway's headers and checked by every command.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use sluicegate_fair_share::{Holder, Source};
use sluicegate_protocol::error_code::{INVALID_REQUEST, TOPIC_AUTHORIZATION_FAILED};
use sluicegate_protocol::{
    CmdKafkaFetch, CmdKafkaListOffset, CmdKafkaListOffsets, CmdKafkaMetadata, CmdKafkaMultiFetch,
    CmdKafkaSubscribe, Isolation, ProduceRecord, metadata,
};

use crate::backend::{
    AnswerReservation, CommandError, DeliveryReport, Fault, Fetch, Fetched, ListedOffset, Log, WAITING_BYTES,
};
use crate::cluster::{
    Cluster, DescribedTopic, MetadataPage, MultiFetch, Place, Reads, TopicSelection, WriteTicket,
    topic_denied, unanswered,
};
use crate::delivery::{Subscribe, Subscription};
use crate::metrics::{Kind, Outcome, RouteMetrics};
use crate::topics::Topics;

/// The rights of one client. A session keeps the grant that it was opened with.
#[derive(Clone)]
pub(crate) struct Grant {
    pub(crate) cluster: Arc<Cluster>,
    /// The client, which shared limits are divided by.
    pub(crate) client: Source,
    read: bool,
    write: bool,
    topics: Arc<Topics>,
    /// The counters of the client's route.
    pub(crate) metrics: Arc<RouteMetrics>,
}

/// A gateway's header with an invalid value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InvalidHeader {
    pub(crate) header: &'static str,
    pub(crate) expected: &'static str,
}

impl Grant {
    /// The grant of the gateway's headers at `cluster`. By default it reads every topic and writes none.
    ///
    /// # Errors
    /// A header has an invalid value.
    pub(crate) fn of(
        cluster: Arc<Cluster>,
        client: Source,
        headers: &HeaderMap,
    ) -> Result<Self, InvalidHeader> {
        let topics = match headers.get(metadata::TOPICS) {
            None => Topics::All,
            Some(listed) => Topics::parse(listed.as_bytes()).ok_or(InvalidHeader {
                header: metadata::TOPICS,
                expected: "comma-separated topics or prefixes followed by *, in at most 8192 bytes",
            })?,
        };
        let metrics = cluster.metrics.route(headers.get(metadata::ROUTE).map(|route| route.as_bytes()));
        Ok(Self {
            metrics,
            cluster,
            client,
            read: flag(headers, metadata::READ)?.unwrap_or(true),
            write: flag(headers, metadata::WRITE)?.unwrap_or(false),
            topics: Arc::new(topics),
        })
    }

    /// The client as shared limits count it.
    pub(crate) fn holder(&self) -> Holder {
        self.cluster.holder(self.client)
    }

    /// A grant of everything.
    #[cfg(test)]
    pub(crate) fn all(cluster: &Arc<Cluster>) -> Self {
        Self {
            metrics: cluster.metrics.route(None),
            cluster: Arc::clone(cluster),
            client: Source::default(),
            read: true,
            write: true,
            topics: Arc::new(Topics::All),
        }
    }

    /// Whether the client can read at all.
    pub(crate) fn reads(&self) -> bool {
        self.read
    }

    /// Whether the client can write at all.
    pub(crate) fn writes(&self) -> bool {
        self.write
    }

    /// Whether the client can use `topic`. Does not check that it exists.
    pub(crate) fn has_topic(&self, topic: &str) -> bool {
        self.topics.contains(topic)
    }

    /// Reads records: see [`Cluster::fetch`]. Uses the cluster's default size and wait.
    ///
    /// # Cancel safety
    /// A drop abandons the read.
    pub(crate) async fn fetch(
        &self,
        fetch: &CmdKafkaFetch,
        reservation: &mut dyn AnswerReservation,
    ) -> Result<Fetched, CommandError> {
        let CmdKafkaFetch { topic, partition, .. } = fetch;
        self.check_read(Kind::Fetch, topic)?;
        let log = Log { topic, partition: *partition };
        let fetched =
            self.cluster.fetch(log, bounded(self.client, fetch, self.cluster.reads()), reservation).await;
        match fetched {
            Err(error) if error.fault == Fault::OffsetOutOfRange => {
                let ends = self.cluster.ends(self.client, log, false).await.ok();
                Err(CommandError { ends, ..error })
            }
            fetched => fetched,
        }
    }

    /// The largest answer in bytes of a fetch that asks for `max_bytes`; 0: as many as the bridge allows.
    pub(crate) fn max_fetch_bytes(&self, max_bytes: u32) -> usize {
        max_fetch_bytes(max_bytes, self.cluster.reads())
    }

    /// Reads records of many partitions: see [`Cluster::multi_fetch`]. The results are in the order of the command.
    ///
    /// # Errors
    /// The whole command is refused.
    ///
    /// # Cancel safety
    /// A drop abandons the reads.
    pub(crate) async fn multi_fetch(
        &self,
        command: &CmdKafkaMultiFetch,
        reservation: &mut dyn AnswerReservation,
    ) -> Result<Vec<Result<Fetched, CommandError>>, CommandError> {
        let asked = &command.partitions;
        self.check_reads(Kind::MultiFetch, asked.len())?;
        let places: Vec<Place<'_>> = asked
            .iter()
            .filter(|asked| self.has_topic(&asked.topic))
            .map(|asked| (Log { topic: &asked.topic, partition: asked.partition }, asked.offset))
            .collect();
        let mut fetch = bounded_multi(self.client, command, self.cluster.reads());
        if places.len() < asked.len() {
            // An error ends the wait.
            fetch.wait = Duration::ZERO;
        }
        let mut read = self.cluster.multi_fetch(&places, fetch, reservation).await;
        self.cluster.add_ends(self.client, &places, &mut read).await;
        Ok(self.with_denied(asked.iter().map(|asked| &*asked.topic), read))
    }

    /// The results for `topics`: `read` has those that are granted.
    fn with_denied<'a, T>(
        &self,
        topics: impl Iterator<Item = &'a str>,
        read: Vec<Result<T, CommandError>>,
    ) -> Vec<Result<T, CommandError>> {
        let mut read = read.into_iter();
        let result = |topic| match self.has_topic(topic) {
            true => read.next().unwrap_or_else(|| Err(unanswered())),
            false => Err(self.topic_denied(topic)),
        };
        topics.map(result).collect()
    }

    /// The offset of a timestamp: see [`Cluster::list_offset`].
    ///
    /// # Cancel safety
    /// A drop abandons the read.
    pub(crate) async fn list_offset(&self, list: &CmdKafkaListOffset) -> Result<i64, CommandError> {
        let CmdKafkaListOffset { topic, partition, timestamp } = list;
        self.check_read(Kind::ListOffset, topic)?;
        self.cluster.list_offset(self.client, Log { topic, partition: *partition }, *timestamp, false).await
    }

    /// The offsets of many partitions: see [`Cluster::list_offsets`]. The results are in the order of the command.
    ///
    /// # Errors
    /// The whole command is refused.
    ///
    /// # Cancel safety
    /// A drop abandons the reads.
    pub(crate) async fn list_offsets(
        &self,
        command: &CmdKafkaListOffsets,
    ) -> Result<Vec<Result<ListedOffset, CommandError>>, CommandError> {
        let asked = &command.offsets;
        self.check_reads(Kind::ListOffsets, asked.len())?;
        let logs: Vec<(Log<'_>, i64)> = asked
            .iter()
            .filter(|asked| self.has_topic(&asked.topic))
            .map(|asked| (Log { topic: &asked.topic, partition: asked.partition }, asked.timestamp))
            .collect();
        let committed = command.isolation() == Isolation::ReadCommitted;
        let listed = self.cluster.list_offsets(self.client, &logs, committed).await;
        Ok(self.with_denied(asked.iter().map(|asked| &*asked.topic), listed))
    }

    /// Topics, their partitions and leaders: see [`Cluster::metadata`].
    ///
    /// # Errors
    /// The whole command is refused or fails.
    ///
    /// # Cancel safety
    /// A drop abandons the reads.
    pub(crate) async fn metadata(
        &self,
        command: CmdKafkaMetadata,
        size: impl Fn(&DescribedTopic) -> usize,
    ) -> Result<MetadataPage, CommandError> {
        if !self.read {
            return Err(self.denied(Kind::Topics, NOT_READABLE));
        }
        let CmdKafkaMetadata { topics, prefixes, after } = command;
        let lists = topics.is_empty() || !prefixes.is_empty();
        let begins =
            |name: &str| prefixes.is_empty() || prefixes.iter().any(|prefix| name.starts_with(prefix));
        let listed = lists.then_some(|name: &str| self.has_topic(name) && begins(name));
        let (named, ungranted): (BTreeSet<String>, BTreeSet<String>) =
            topics.into_iter().partition(|topic| self.has_topic(topic));
        let mut ungranted: Vec<String> = ungranted.into_iter().filter(|topic| *topic > after).collect();
        let selection = TopicSelection { named, listed, after };
        let mut page =
            self.cluster.metadata(self.client, selection, self.cluster.reads().max_bytes, size).await?;
        if let Some(last) = page.topics.last().filter(|_| page.more) {
            ungranted.retain(|topic| *topic < last.name);
        }
        let error = |name: String| DescribedTopic { description: Err(self.topic_denied(&name)), name };
        page.topics.extend(ungranted.into_iter().map(error));
        page.topics.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(page)
    }

    /// Begins a subscription.
    ///
    /// # Errors
    /// The command is refused, or a topic cannot be read now.
    ///
    /// # Cancel safety
    /// A drop abandons the reads.
    pub(crate) async fn subscribe(&self, command: CmdKafkaSubscribe) -> Result<Subscription, CommandError> {
        for source in &command.sources {
            self.check_read(Kind::Subscribe, &source.topic)?;
        }
        let subscribe =
            Subscribe::of(self.cluster.system, command, self.cluster.reads()).inspect_err(|_| {
                self.cluster.metrics.answered(Kind::Subscribe, Outcome::Refused);
            })?;
        Subscription::open(&self.cluster, &self.metrics, Subscribe { client: self.client, ..subscribe }).await
    }

    /// Writes records in the order of tickets: see [`Cluster::produce`].
    ///
    /// # Cancel safety
    /// The records are written all or none.
    pub(crate) async fn produce(
        &self,
        records: Vec<ProduceRecord>,
        ticket: WriteTicket,
    ) -> Result<Vec<DeliveryReport>, CommandError> {
        if !self.write {
            return Err(self.denied(Kind::Produce, NOT_WRITABLE));
        }
        let reports = self.cluster.produce(self.client, records, &self.topics, ticket, || {}).await?;
        self.cluster.log_failed(&reports);
        Ok(reports)
    }

    fn check_read(&self, kind: Kind, topic: &str) -> Result<(), CommandError> {
        match self {
            Self { read: false, .. } => Err(self.denied(kind, NOT_READABLE)),
            _ if self.has_topic(topic) => Ok(()),
            _ => Err(self.denied(kind, topic_denied(self.cluster.system, topic))),
        }
    }

    /// Checks a command that reads many partitions.
    fn check_reads(&self, kind: Kind, partitions: usize) -> Result<(), CommandError> {
        if !self.read {
            return Err(self.denied(kind, NOT_READABLE));
        }
        if partitions == 0 {
            self.cluster.metrics.answered(kind, Outcome::Refused);
            let message = "0 partitions in one command: expected at least 1";
            return Err(CommandError::new(Fault::Invalid, INVALID_REQUEST, message));
        }
        Ok(())
    }

    /// The error of one topic among many.
    fn topic_denied(&self, topic: &str) -> CommandError {
        CommandError::forbidden(TOPIC_AUTHORIZATION_FAILED, topic_denied(self.cluster.system, topic))
    }

    fn denied(&self, kind: Kind, message: impl Into<String>) -> CommandError {
        self.cluster.metrics.answered(kind, Outcome::Refused);
        CommandError::forbidden(TOPIC_AUTHORIZATION_FAILED, message)
    }
}

fn max_fetch_bytes(max_bytes: u32, defaults: Reads) -> usize {
    match usize::try_from(max_bytes).unwrap_or(usize::MAX) {
        0 => defaults.max_bytes,
        max_bytes => max_bytes.min(defaults.max_bytes),
    }
}

/// The fetch of a command, within the bridge's bounds.
fn bounded(source: Source, fetch: &CmdKafkaFetch, defaults: Reads) -> Fetch {
    let size = |bytes: u32| usize::try_from(bytes).unwrap_or(usize::MAX);
    Fetch {
        offset: fetch.offset,
        max_bytes: max_fetch_bytes(fetch.max_bytes, defaults),
        wait: fetch
            .max_wait_ms
            .map_or(defaults.wait, |wait| Duration::from_millis(wait.into()).min(MAX_WAIT)),
        min_bytes: size(fetch.min_bytes).min(WAITING_BYTES),
        max_records: size(fetch.max_records),
        fill: false,
        committed: fetch.isolation() == Isolation::ReadCommitted,
        source,
    }
}

/// The same for a fetch from many partitions.
fn bounded_multi(source: Source, command: &CmdKafkaMultiFetch, defaults: Reads) -> MultiFetch {
    let CmdKafkaMultiFetch { max_wait_ms, min_bytes, max_bytes, isolation, .. } = *command;
    let of_one = CmdKafkaFetch { max_wait_ms, min_bytes, max_bytes, isolation, ..Default::default() };
    let Fetch { max_bytes, wait, min_bytes, committed, .. } = bounded(source, &of_one, defaults);
    MultiFetch { max_bytes, wait, min_bytes, fill: false, committed, source }
}

fn flag(headers: &HeaderMap, header: &'static str) -> Result<Option<bool>, InvalidHeader> {
    match headers.get(header).map(|value| value.as_bytes()) {
        None => Ok(None),
        Some(b"true") => Ok(Some(true)),
        Some(b"false") => Ok(Some(false)),
        Some(_) => Err(InvalidHeader { header, expected: "true or false" }),
    }
}

/// The longest wait of a fetch.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(30);

/// The error of a read if the route grants none.
pub(crate) const NOT_READABLE: &str = "this route does not let clients read";
/// The error of a write if the route grants none.
pub(crate) const NOT_WRITABLE: &str = "this route does not let clients write";

#[cfg(test)]
mod tests {
    use sluicegate_protocol::PartitionOffset;

    use super::*;
    use crate::cluster::script::Script;

    fn grant(headers: &[(&'static str, &str)]) -> Result<Grant, InvalidHeader> {
        let headers = headers.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap()));
        Grant::of(Script::cluster(1).0, Source::default(), &headers.collect())
    }

    #[test]
    fn default_grant_reads_every_topic_and_writes_none() {
        let grant = grant(&[]).ok().unwrap();
        assert!(grant.reads() && !grant.writes() && grant.has_topic("any"));
    }

    #[test]
    fn headers_limit_reading_writing_and_topics() {
        let headers =
            [(metadata::READ, "false"), (metadata::WRITE, "true"), (metadata::TOPICS, "orders,public.*")];
        let grant = grant(&headers).ok().unwrap();
        assert!(!grant.reads() && grant.writes() && grant.has_topic("public.x") && !grant.has_topic("other"));
    }

    #[test]
    fn invalid_headers_grant_nothing() {
        assert_eq!(grant(&[(metadata::TOPICS, "a b")]).err().unwrap().header, metadata::TOPICS);
        for header in [metadata::READ, metadata::WRITE] {
            for value in ["", "yes", "TRUE", "1", "true, false"] {
                assert_eq!(grant(&[(header, value)]).err().unwrap().header, header, "{value}");
            }
        }
    }

    #[tokio::test]
    async fn commands_beyond_the_grant_are_denied() {
        let code = |error: CommandError| (error.fault, error.code);
        let denied = Some((Fault::Forbidden, 29));
        let fetch = |topic: &str| CmdKafkaFetch { topic: topic.into(), ..Default::default() };
        let list = |topic: &str| CmdKafkaListOffset { topic: topic.into(), ..Default::default() };
        let limited = grant(&[(metadata::TOPICS, "0")]).ok().unwrap();
        assert_eq!(limited.fetch(&fetch("0"), &mut ()).await.err(), None);
        assert_eq!(limited.fetch(&fetch("1"), &mut ()).await.err().map(code), denied);
        assert_eq!(limited.list_offset(&list("0")).await.err(), None);
        assert_eq!(limited.list_offset(&list("1")).await.err().map(code), denied);
        let unread = grant(&[(metadata::READ, "false")]).ok().unwrap();
        assert_eq!(unread.fetch(&fetch("0"), &mut ()).await.err().map(code), denied);
        let many = CmdKafkaMultiFetch { partitions: vec![PartitionOffset::default()], ..Default::default() };
        assert_eq!(unread.multi_fetch(&many, &mut ()).await.err().map(code), denied);
        let many = CmdKafkaListOffsets { offsets: vec![list("0")], ..Default::default() };
        assert_eq!(unread.list_offsets(&many).await.err().map(code), denied);
        assert_eq!(unread.metadata(CmdKafkaMetadata::default(), |_| 0).await.err().map(code), denied);
        let records = vec![ProduceRecord { topic: "0".into(), ..ProduceRecord::default() }];
        assert_eq!(limited.produce(records, WriteTicket::default()).await.err().map(code), denied);
    }

    #[tokio::test]
    async fn results_of_topics_beyond_the_grant_are_errors_in_their_places() {
        let limited = grant(&[(metadata::TOPICS, "0,b.*,gone")]).ok().unwrap();
        let denied = |error: &CommandError| (error.fault, error.code) == (Fault::Forbidden, 29);
        let topics = ["1", "0", "2", "0"];
        let place = |topic: &str| PartitionOffset { topic: topic.into(), ..Default::default() };
        let partitions = topics.map(place).to_vec();
        let max_wait_ms = Some(1000);
        let many = CmdKafkaMultiFetch { partitions, max_wait_ms, ..Default::default() };
        let read = limited.multi_fetch(&many, &mut ()).await.unwrap();
        assert_eq!(
            read.iter().map(|read| read.as_ref().is_err_and(denied)).collect::<Vec<_>>(),
            [true, false, true, false]
        );
        let list = |(topic, timestamp): (&str, i64)| CmdKafkaListOffset {
            topic: topic.into(),
            timestamp,
            ..Default::default()
        };
        let offsets = topics.into_iter().zip(5..).map(list).collect();
        let listed =
            limited.list_offsets(&CmdKafkaListOffsets { offsets, ..Default::default() }).await.unwrap();
        let listed: Vec<_> =
            listed.iter().map(|listed| listed.as_ref().map(|listed| listed.offset).ok()).collect();
        assert_eq!(listed, [None, Some(6), None, Some(8)]);

        let described = async |command: CmdKafkaMetadata| {
            let page = limited.metadata(command, |_| 0).await.unwrap();
            let error =
                |topic: DescribedTopic| (topic.name, topic.description.err().map(|error| error.fault));
            page.topics.into_iter().map(error).collect::<Vec<_>>()
        };
        let found = |name: &str| (name.to_owned(), None);
        assert_eq!(described(CmdKafkaMetadata::default()).await, [found("b.1"), found("b.2")]);
        let topics = vec!["a".to_owned(), "b.1".to_owned()];
        let want = [("a".to_owned(), Some(Fault::Forbidden)), found("b.1")];
        assert_eq!(described(CmdKafkaMetadata { topics, ..Default::default() }).await, want);
    }
}

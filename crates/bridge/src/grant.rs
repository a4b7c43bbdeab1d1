//! The rights of one client, built once from its gateway's headers and checked by every command.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use sluicegate_protocol::error_code::TOPIC_AUTHORIZATION_FAILED;
use sluicegate_protocol::{CmdKafkaFetch, CmdKafkaListOffset, Isolation, ProduceRecord, metadata};
use sluicegate_ws_session::source::Source;

use crate::backend::{
    AnswerReservation, CommandError, DeliveryReport, Fault, Fetch, Fetched, Log, WAITING_BYTES,
};
use crate::cluster::{Cluster, Reads, WriteTicket, topic_denied};
use crate::metrics::{Kind, Outcome};
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
        Ok(Self {
            cluster,
            client,
            read: flag(headers, metadata::READ)?.unwrap_or(true),
            write: flag(headers, metadata::WRITE)?.unwrap_or(false),
            topics: Arc::new(topics),
        })
    }

    /// A grant of everything.
    #[cfg(test)]
    pub(crate) fn all(cluster: &Arc<Cluster>) -> Self {
        Self {
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
        self.cluster.fetch(log, bounded(fetch, self.cluster.reads()), reservation).await
    }

    /// The ends of the log of a failed fetch, if its offset is not between them.
    ///
    /// # Cancel safety
    /// A drop abandons the reads.
    pub(crate) async fn missed_ends(
        &self,
        fetch: &CmdKafkaFetch,
        error: &CommandError,
    ) -> Option<(i64, i64)> {
        if error.fault != Fault::OffsetOutOfRange {
            return None;
        }
        self.cluster.ends(Log { topic: &fetch.topic, partition: fetch.partition }).await.ok()
    }

    /// The offset of a timestamp: see [`Cluster::list_offset`].
    ///
    /// # Cancel safety
    /// A drop abandons the read.
    pub(crate) async fn list_offset(&self, list: &CmdKafkaListOffset) -> Result<i64, CommandError> {
        let CmdKafkaListOffset { topic, partition, timestamp } = list;
        self.check_read(Kind::ListOffset, topic)?;
        self.cluster.list_offset(Log { topic, partition: *partition }, *timestamp).await
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
        self.cluster.produce(self.client, records, &self.topics, ticket, || {}).await
    }

    fn check_read(&self, kind: Kind, topic: &str) -> Result<(), CommandError> {
        match self {
            Self { read: false, .. } => Err(self.denied(kind, NOT_READABLE)),
            _ if self.has_topic(topic) => Ok(()),
            _ => Err(self.denied(kind, topic_denied(topic))),
        }
    }

    fn denied(&self, kind: Kind, message: impl Into<String>) -> CommandError {
        self.cluster.metrics.answered(kind, Outcome::Refused);
        CommandError::forbidden(TOPIC_AUTHORIZATION_FAILED, message)
    }
}

/// The fetch of a command, within the bridge's bounds.
fn bounded(fetch: &CmdKafkaFetch, defaults: Reads) -> Fetch {
    let size = |bytes: u32| usize::try_from(bytes).unwrap_or(usize::MAX);
    Fetch {
        offset: fetch.offset,
        max_bytes: match size(fetch.max_bytes) {
            0 => defaults.max_bytes,
            max_bytes => max_bytes.min(defaults.max_bytes),
        },
        wait: fetch
            .max_wait_ms
            .map_or(defaults.wait, |wait| Duration::from_millis(wait.into()).min(MAX_WAIT)),
        min_bytes: size(fetch.min_bytes).min(WAITING_BYTES),
        max_records: size(fetch.max_records),
        committed: fetch.isolation() == Isolation::ReadCommitted,
    }
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
        let records = vec![ProduceRecord { topic: "0".into(), ..ProduceRecord::default() }];
        assert_eq!(limited.produce(records, WriteTicket::default()).await.err().map(code), denied);
    }
}

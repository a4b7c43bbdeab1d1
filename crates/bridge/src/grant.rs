//! What one client can do: made once from its gateway's headers, and asked by every command.

use std::sync::Arc;

use http::HeaderMap;
use sluicegate_protocol::error_code::TOPIC_AUTHORIZATION_FAILED;
use sluicegate_protocol::{CmdKafkaFetch, CmdKafkaListOffset, ProduceRecord, metadata};
use sluicegate_ws_session::source::Source;

use crate::backend::{CommandError, DeliveryReport, Fetch, Fetched, Log, Room};
use crate::cluster::{Cluster, Reads, Turn, topic_denied};
use crate::metrics::{Kind, Outcome};
use crate::topics::Topics;

/// What one client can do. A session keeps the grant that it was opened with.
#[derive(Clone)]
pub(crate) struct Grant {
    pub(crate) cluster: Arc<Cluster>,
    /// The client, for its share of shared limits.
    pub(crate) client: Source,
    read: bool,
    write: bool,
    topics: Arc<Topics>,
}

/// A header of the gateway's that cannot be understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    pub(crate) header: &'static str,
    pub(crate) expected: &'static str,
}

impl Grant {
    /// What the gateway's headers allow at `cluster`: to read every topic and to write none, unless they say otherwise.
    ///
    /// # Errors
    /// A header has another value than a gateway sends.
    pub(crate) fn of(cluster: Arc<Cluster>, client: Source, headers: &HeaderMap) -> Result<Self, Unreadable> {
        let topics = match headers.get(metadata::TOPICS) {
            None => Topics::All,
            Some(listed) => Topics::parse(listed.as_bytes()).ok_or(Unreadable {
                header: metadata::TOPICS,
                expected: "names of topics, or prefixes followed by *, separated by commas, in at most 8192 bytes",
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

    /// All that there is.
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

    /// Whether the client can read anything.
    pub(crate) fn reads(&self) -> bool {
        self.read
    }

    /// Whether the client can write anything.
    pub(crate) fn writes(&self) -> bool {
        self.write
    }

    /// Whether the client can use `topic`, whether it exists or not.
    pub(crate) fn has_topic(&self, topic: &str) -> bool {
        self.topics.contains(topic)
    }

    /// Reads records as [`Cluster::fetch`], with its usual size and wait.
    ///
    /// # Cancel safety
    /// A drop abandons the read.
    pub(crate) async fn fetch(
        &self,
        fetch: &CmdKafkaFetch,
        room: &mut dyn Room,
    ) -> Result<Fetched, CommandError> {
        let CmdKafkaFetch { topic, partition, offset } = fetch;
        self.check_read(Kind::Fetch, topic)?;
        let Reads { max_bytes, wait } = self.cluster.reads();
        let log = Log { topic, partition: *partition };
        self.cluster.fetch(log, Fetch { offset: *offset, max_bytes, wait }, room).await
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

    /// Writes records in their `turn`: see [`Cluster::produce`].
    ///
    /// # Cancel safety
    /// All records are written, or none.
    pub(crate) async fn produce(
        &self,
        records: Vec<ProduceRecord>,
        turn: Turn,
    ) -> Result<Vec<DeliveryReport>, CommandError> {
        if !self.write {
            return Err(self.denied(Kind::Produce, NOT_WRITABLE));
        }
        self.cluster.produce(self.client, records, &self.topics, turn, || {}).await
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

fn flag(headers: &HeaderMap, header: &'static str) -> Result<Option<bool>, Unreadable> {
    match headers.get(header).map(|value| value.as_bytes()) {
        None => Ok(None),
        Some(b"true") => Ok(Some(true)),
        Some(b"false") => Ok(Some(false)),
        Some(_) => Err(Unreadable { header, expected: "true or false" }),
    }
}

/// The error of a command that reads.
pub(crate) const NOT_READABLE: &str = "this route does not let clients read";
/// The error of a command that writes.
pub(crate) const NOT_WRITABLE: &str = "this route does not let clients write";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Fault;
    use crate::cluster::script::Script;

    fn grant(headers: &[(&'static str, &str)]) -> Result<Grant, Unreadable> {
        let headers = headers.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap()));
        Grant::of(Script::cluster(1).0, Source::default(), &headers.collect())
    }

    #[test]
    fn without_headers_every_topic_is_read_and_none_written() {
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
    fn unreadable_headers_grant_nothing() {
        assert_eq!(grant(&[(metadata::TOPICS, "a b")]).err().unwrap().header, metadata::TOPICS);
        for header in [metadata::READ, metadata::WRITE] {
            for value in ["", "yes", "TRUE", "1", "true, false"] {
                assert_eq!(grant(&[(header, value)]).err().unwrap().header, header, "{value}");
            }
        }
    }

    #[tokio::test]
    async fn commands_are_denied_by_topic_and_by_kind() {
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
        assert_eq!(limited.produce(records, Turn::default()).await.err().map(code), denied);
    }
}

//! What one client can do: made once from its gateway's headers, and asked by every command.

use std::sync::Arc;

use http::HeaderMap;
use sluicegate_protocol::{ErrorResp, metadata};
use sluicegate_ws_session::source::Source;

use crate::cluster::{Cluster, Command, Room, Turn, topic_denied};
use crate::kafka_code::TOPIC_AUTHORIZATION_FAILED;
use crate::metrics::{Kind, Outcome};
use crate::session::Answer;
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

    /// The answer to a session's `command`, as far as the client can ask for it: see [`Cluster::answer`].
    ///
    /// # Cancel safety
    /// As there.
    pub(crate) async fn answer(
        &self,
        sequence: i64,
        command: Command,
        turn: Turn,
        room: impl Room,
    ) -> Answer {
        let (kind, denied) = match &command {
            Command::Fetch(fetch) => (Kind::Fetch, self.denies_reading(&fetch.topic)),
            Command::ListOffset(list) => (Kind::ListOffset, self.denies_reading(&list.topic)),
            Command::Produce(_) => (Kind::Produce, (!self.write).then(|| denied(NOT_WRITABLE))),
        };
        match denied {
            None => self.cluster.answer(self.client, sequence, command, &self.topics, turn, room).await,
            Some(error) => {
                self.cluster.metrics.answered(kind, Outcome::Refused);
                Answer::error(sequence, error)
            }
        }
    }

    fn denies_reading(&self, topic: &str) -> Option<ErrorResp> {
        match self {
            Self { read: false, .. } => Some(denied(NOT_READABLE)),
            _ if self.has_topic(topic) => None,
            _ => Some(denied(topic_denied(topic))),
        }
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

/// Why a client cannot do something, whether its topic exists or not.
fn denied(message: impl Into<String>) -> ErrorResp {
    ErrorResp { code: TOPIC_AUTHORIZATION_FAILED, message: message.into(), ..ErrorResp::default() }
}

/// Answer to a command that reads.
pub(crate) const NOT_READABLE: &str = "this route does not let clients read";
/// Answer to a command that writes.
pub(crate) const NOT_WRITABLE: &str = "this route does not let clients write";

#[cfg(test)]
mod tests {
    use sluicegate_protocol::pub_sub_resp::Resp;
    use sluicegate_protocol::{
        CmdKafkaFetch, CmdKafkaListOffset, CmdKafkaProduce, ProduceRecord, PubSubResp,
    };

    use super::*;

    fn grant(headers: &[(&'static str, &str)]) -> Result<Grant, Unreadable> {
        let headers = headers.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap()));
        Grant::of(Arc::new(Cluster::script(1)), Source::default(), &headers.collect())
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

    async fn ask(grant: &Grant, command: Command) -> PubSubResp {
        let room = ();
        match grant.answer(7, command, Turn::default(), room).await {
            Answer::Message(message) => message,
            Answer::Messages { sequence, .. } => PubSubResp { sequence, resp: None },
        }
    }

    #[track_caller]
    fn code(answer: &PubSubResp) -> Option<i32> {
        match &answer.resp {
            Some(Resp::ErrorResp(error)) => Some(error.code),
            _ => None,
        }
    }

    #[tokio::test]
    async fn session_commands_are_denied_by_topic_and_by_kind() {
        let fetch = |topic: &str| Command::Fetch(CmdKafkaFetch { topic: topic.into(), ..Default::default() });
        let list = |topic: &str| {
            Command::ListOffset(CmdKafkaListOffset { topic: topic.into(), ..Default::default() })
        };
        let limited = grant(&[(metadata::TOPICS, "0")]).ok().unwrap();
        assert_eq!(code(&ask(&limited, fetch("0")).await), None);
        assert_eq!(code(&ask(&limited, fetch("1")).await), Some(29));
        assert_eq!(code(&ask(&limited, list("0")).await), None);
        assert_eq!(code(&ask(&limited, list("1")).await), Some(29));
        let unread = grant(&[(metadata::READ, "false")]).ok().unwrap();
        assert_eq!(code(&ask(&unread, fetch("0")).await), Some(29));
        let records = vec![ProduceRecord { topic: "0".into(), ..ProduceRecord::default() }];
        let produce = Command::Produce(CmdKafkaProduce { records });
        assert_eq!(code(&ask(&limited, produce).await), Some(29));
        assert!(limited.cluster.script.taken().is_empty());
    }
}

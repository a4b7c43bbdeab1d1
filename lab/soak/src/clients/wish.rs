//! The subscription of a client.

use bytes::Bytes;
use sluicegate_protocol::KafkaMessage;

use super::source::Source;

#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) source: Source,
    /// Number of partitions of the source at the beginning.
    pub(crate) count: i32,
    /// None: all.
    pub(crate) partitions: Vec<i32>,
    /// The keys of the records. None: any.
    pub(crate) keys: Vec<Bytes>,
    /// The tenant of the records. None: any.
    pub(crate) tenant: Option<Tenant>,
    /// Bytes that it can take at a time.
    pub(crate) credit: Option<u64>,
    /// Whether it is a table: the newest record of each key.
    pub(crate) is_table: bool,
    /// Whether it begins with what comes next, and not at the beginning of the log.
    pub(crate) is_late: bool,
    /// The paths of sessions, and of resources over HTTP.
    pub(crate) paths: [&'static str; 2],
    /// The header of requests.
    pub(crate) authorization: Option<String>,
}

/// Why a client gets only the records of the tenant [`RED`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tenant {
    /// It filters by header.
    Filter,
    /// Its route has rows.
    Rows,
}

impl Wish {
    /// All of a source.
    pub(crate) fn of(source: Source, count: i32) -> Self {
        Self {
            source,
            count,
            partitions: Vec::new(),
            keys: Vec::new(),
            tenant: None,
            credit: None,
            is_table: false,
            is_late: false,
            paths: [SESSIONS, REST],
            authorization: None,
        }
    }

    /// Where it begins.
    pub(crate) fn from(&self) -> &'static str {
        if self.is_table || self.is_late { "latest" } else { "earliest" }
    }

    /// The partitions, also if they are all.
    pub(crate) fn all_partitions(&self) -> Vec<i32> {
        match &self.partitions[..] {
            [] => (0..self.count).collect(),
            some => some.to_vec(),
        }
    }

    pub(crate) fn reads(&self, partition: i32) -> bool {
        self.partitions.is_empty() || self.partitions.contains(&partition)
    }

    pub(crate) fn wants(&self, message: &KafkaMessage) -> bool {
        let is_red = || {
            let red = Some(RED.as_bytes());
            message.headers.iter().any(|header| header.key == TENANT && header.value.as_deref() == red)
        };
        (self.keys.is_empty() || message.key.as_ref().is_some_and(|key| self.keys.contains(key)))
            && (self.tenant.is_none() || is_red())
    }

    /// Whether it filters by header.
    pub(crate) fn has_header(&self) -> bool {
        self.tenant == Some(Tenant::Filter)
    }
}

/// A header whose value changes from one record of a key to the next.
pub(crate) const TENANT: &str = "tenant";
/// The tenant of filters and rows.
pub(crate) const RED: &str = "red";

pub(crate) const SESSIONS: &str = "/pubsub";
pub(crate) const REST: &str = "/kafka";
pub(crate) const STREAMS: &str = "/streams";
/// These have rows.
pub(crate) const RED_SESSIONS: &str = "/red";
pub(crate) const RED_REST: &str = "/red-kafka";

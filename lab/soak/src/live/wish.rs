//! The subscription of a client.

use bytes::Bytes;
use sluicegate_protocol::KafkaMessage;

use super::system::Source;

#[derive(Debug, Clone)]
pub(super) struct Wish {
    pub(super) source: Source,
    /// Number of partitions of the source at the beginning.
    pub(super) count: i32,
    /// None: all.
    pub(super) partitions: Vec<i32>,
    /// The keys of the records. None: any.
    pub(super) keys: Vec<Bytes>,
    /// The tenant of the records. None: any.
    pub(super) tenant: Option<Tenant>,
    /// Bytes that it can take at a time.
    pub(super) credit: Option<u64>,
    /// Whether it is a table: the newest record of each key.
    pub(super) is_table: bool,
}

/// Why a client gets only the records of the tenant [`RED`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tenant {
    /// It filters by header.
    Filter,
    /// Its route has rows.
    Rows,
}

impl Wish {
    /// The partitions, also if they are all.
    pub(super) fn all_partitions(&self) -> Vec<i32> {
        match &self.partitions[..] {
            [] => (0..self.count).collect(),
            some => some.to_vec(),
        }
    }

    pub(super) fn reads(&self, partition: i32) -> bool {
        self.partitions.is_empty() || self.partitions.contains(&partition)
    }

    pub(super) fn wants(&self, message: &KafkaMessage) -> bool {
        let is_red = || {
            let red = Some(RED.as_bytes());
            message.headers.iter().any(|header| header.key == TENANT && header.value.as_deref() == red)
        };
        (self.keys.is_empty() || message.key.as_ref().is_some_and(|key| self.keys.contains(key)))
            && (self.tenant.is_none() || is_red())
    }

    /// Whether it filters by header.
    pub(super) fn has_header(&self) -> bool {
        self.tenant == Some(Tenant::Filter)
    }

    pub(super) fn path(&self) -> &'static str {
        if self.tenant == Some(Tenant::Rows) { RED_SESSIONS } else { SESSIONS }
    }

    /// The path of its resources over HTTP.
    pub(super) fn rest(&self) -> &'static str {
        if self.tenant == Some(Tenant::Rows) { RED_REST } else { REST }
    }
}

/// A header whose value changes from one record of a key to the next.
pub(super) const TENANT: &str = "tenant";
/// The tenant of filters and rows.
pub(super) const RED: &str = "red";

pub(super) const SESSIONS: &str = "/pubsub";
pub(super) const REST: &str = "/kafka";
/// These have rows.
pub(super) const RED_SESSIONS: &str = "/red";
pub(super) const RED_REST: &str = "/red-kafka";

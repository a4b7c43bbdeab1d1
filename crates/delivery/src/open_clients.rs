//! The open sessions, streams of events and consumers of a cluster: for operators.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use parking_lot::Mutex;
use sluicegate_telemetry::audit::Event;
use sluicegate_telemetry::metrics::SessionEnd;
use sluicegate_telemetry::shown;
use tokio::time::Instant;

use crate::Counts;
use crate::cluster::Cluster;
use crate::grant::Grant;

/// The clients of a cluster that stay for a while, by their numbers.
#[derive(Default)]
pub(crate) struct OpenClients(Mutex<BTreeMap<u64, Arc<OpenClient>>>);

/// A client that stays for a while.
pub struct OpenClient {
    /// The number, which no other client of this process has. Later ones have larger numbers.
    pub id: u64,
    /// The way in which it is connected.
    pub kind: ClientKind,
    /// Of a consumer: its group, and its name there.
    pub consumer: Option<(Arc<str>, Arc<str>)>,
    /// When it came.
    pub opened: SystemTime,
    /// The same, for its age.
    pub since: Instant,
    /// Its rights, and the use that it made of them.
    pub grant: Grant,
    /// Whether the audit log tells of its end.
    is_closed: AtomicBool,
}

/// The way in which a client is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientKind {
    /// A session.
    Session,
    /// A stream of server-sent events.
    Events,
    /// A consumer in a group, whose requests come one by one.
    Consumer,
}

/// A place in the list of open clients. A drop leaves it, which the audit log tells.
pub struct Listed {
    cluster: Arc<Cluster>,
    client: Arc<OpenClient>,
    reason: &'static str,
}

impl OpenClients {
    pub(crate) fn list(
        cluster: &Arc<Cluster>,
        kind: ClientKind,
        consumer: Option<(Arc<str>, Arc<str>)>,
        grant: Grant,
    ) -> Listed {
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let (opened, since) = (SystemTime::now(), Instant::now());
        grant.activity().set_client_id(id, kind);
        grant.log(Event::Opened);
        let client =
            OpenClient { id, kind, consumer, opened, since, grant, is_closed: AtomicBool::new(false) };
        let client = Arc::new(client);
        cluster.open_clients.0.lock().insert(id, Arc::clone(&client));
        Listed { cluster: Arc::clone(cluster), client, reason: SessionEnd::Left.label() }
    }

    pub(crate) fn all(&self) -> Vec<Arc<OpenClient>> {
        self.0.lock().values().map(Arc::clone).collect()
    }
}

impl ClientKind {
    /// A name for operators.
    pub fn label(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Events => "events",
            Self::Consumer => "consumer",
        }
    }
}

impl OpenClient {
    /// Logs the client's end, once.
    pub fn log_end(&self, reason: &'static str) {
        if self.is_closed.swap(true, Ordering::Relaxed) {
            return;
        }
        let Counts { received_bytes, sent_bytes, commands, denied } = self.grant.activity().counts();
        let age_ms = shown::millis(self.since.elapsed());
        self.grant.log(Event::Closed { reason, age_ms, received_bytes, sent_bytes, commands, denied });
    }
}

impl Listed {
    /// Why the client must not stay: an operator has ended it, or the identity that it came with was revoked. Each of its
    /// requests has an identity of its own, so it outlives the first one's expiry.
    pub(crate) fn ended(&self) -> Option<SessionEnd> {
        let is_revoked = || self.client.grant.holding().is_some_and(|holding| holding.person.is_revoked());
        match () {
            () if self.client.grant.is_ended() => Some(SessionEnd::Ended),
            () if is_revoked() => Some(SessionEnd::Revoked),
            () => None,
        }
    }

    /// Logs the client's end before it goes.
    pub(crate) fn log_end(&self, reason: SessionEnd) {
        self.client.log_end(reason.label());
    }

    /// Sets why the client goes. Otherwise, it has left.
    pub fn set_reason(&mut self, reason: &'static str) {
        self.reason = reason;
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.cluster.open_clients.0.lock().remove(&self.client.id);
        self.client.log_end(self.reason);
    }
}

/// The number of the next client of the process.
static NEXT: AtomicU64 = AtomicU64::new(1);

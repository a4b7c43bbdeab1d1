//! The use that a client makes of a cluster: for operators.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;
use sluicegate_backend::Backend;
use sluicegate_telemetry::audit::AuditLog;

use crate::ClientKind;
use crate::lag::{ListedSubscription, Progress};

/// The counts of one client, and its subscriptions.
#[derive(Default)]
pub struct Activity {
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    commands: AtomicU64,
    denied: AtomicU64,
    subscriptions: Mutex<Vec<Weak<Progress>>>,
    /// The client's number, if it stays.
    client_id: OnceLock<(u64, ClientKind)>,
    audit_log: Option<Arc<AuditLog>>,
    /// Whether the client is served only if its line is in the audit log.
    needs_audit: bool,
}

/// The counts of one client since it came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Bytes of the client's requests.
    pub received_bytes: u64,
    /// Bytes of answers and deliveries.
    pub sent_bytes: u64,
    /// Commands for the cluster.
    pub commands: u64,
    /// Commands among them that the client's rights did not allow, in whole or in part.
    pub denied: u64,
}

impl Activity {
    /// Nothing yet, of a client in an audit log.
    pub(crate) fn audited(audit_log: Option<Arc<AuditLog>>, needs_audit: bool) -> Self {
        Self { audit_log, needs_audit, ..Self::default() }
    }

    /// Nothing yet, of another client in the same audit log.
    pub(crate) fn beside(&self) -> Self {
        Self::audited(self.audit_log.clone(), false)
    }

    /// The audit log that must have the client's line.
    pub(crate) fn needed_audit_log(&self) -> Option<&AuditLog> {
        self.audit_log().filter(|_| self.needs_audit)
    }

    pub(crate) fn audit_log(&self) -> Option<&AuditLog> {
        self.audit_log.as_deref()
    }

    /// The client stays, and has this number.
    pub(crate) fn set_client_id(&self, id: u64, kind: ClientKind) {
        // A client comes once.
        let _ = self.client_id.set((id, kind));
    }

    pub(crate) fn client_id(&self) -> Option<(u64, ClientKind)> {
        self.client_id.get().copied()
    }

    /// The client has sent so many bytes.
    pub fn received(&self, bytes: usize) {
        add(&self.received_bytes, bytes);
    }

    /// The client was sent so many bytes.
    pub fn sent(&self, bytes: usize) {
        add(&self.sent_bytes, bytes);
    }

    pub(crate) fn commanded(&self) {
        add(&self.commands, 1);
    }

    pub(crate) fn denied(&self) {
        add(&self.denied, 1);
    }

    pub(crate) fn subscribed(&self, progress: &Arc<Progress>) {
        let mut subscriptions = self.subscriptions.lock();
        // A client has few at the same time.
        subscriptions.retain(|progress| progress.strong_count() > 0);
        subscriptions.push(Arc::downgrade(progress));
    }

    /// All counts as they are now.
    pub fn counts(&self) -> Counts {
        let [received_bytes, sent_bytes, commands, denied] =
            [&self.received_bytes, &self.sent_bytes, &self.commands, &self.denied]
                .map(|count| count.load(Ordering::Relaxed));
        Counts { received_bytes, sent_bytes, commands, denied }
    }

    /// Whether the client subscribes to a topic.
    pub(crate) fn subscribes_to(&self, topic: &str) -> bool {
        self.subscriptions.lock().iter().filter_map(Weak::upgrade).any(|progress| progress.reads(topic))
    }

    /// Each of the client's subscriptions, at each of its topics.
    pub(crate) fn subscriptions(&self, backend: &dyn Backend) -> Vec<ListedSubscription> {
        let open: Vec<_> = self.subscriptions.lock().iter().filter_map(Weak::upgrade).collect();
        open.iter().flat_map(|progress| progress.listed(backend)).collect()
    }
}

fn add(count: &AtomicU64, amount: usize) {
    count.fetch_add(u64::try_from(amount).unwrap_or(u64::MAX), Ordering::Relaxed);
}

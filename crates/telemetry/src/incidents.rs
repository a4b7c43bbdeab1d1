//! Failures whose cause only operators may see: the cause is logged under a reference, and clients get the reference.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::traces;

/// The failures of one cluster in the last minute. Failures with equal causes share a reference.
pub struct Incidents<C> {
    cluster: String,
    /// At most [`MAX_RECENT`], oldest first. Beyond that, new causes are not logged and share the newest reference.
    recent: Mutex<Vec<Incident<C>>>,
}

struct Incident<C> {
    cause: C,
    reference: u32,
    logged: Instant,
}

impl<C: PartialEq> Incidents<C> {
    /// For the cluster with this name in the log.
    pub fn new(cluster: &str) -> Self {
        Self { cluster: cluster.to_owned(), recent: Mutex::default() }
    }

    /// Adds a reference to `text`, and logs `details` under it, at most once a minute.
    pub fn refer(&self, text: &str, cause: C, details: impl FnOnce() -> String) -> String {
        let (reference, is_new) = self.reference(cause);
        let reference = format!("{reference:08x}");
        if is_new {
            tracing::warn!(
                cluster = self.cluster,
                reference,
                cause = details(),
                trace_id = traces::current_id(),
                event = "cluster_unavailable",
                "cluster unavailable"
            );
        }
        format!("{text} (reference {reference})")
    }

    /// The reference of a cause, and whether it is new.
    fn reference(&self, cause: C) -> (u32, bool) {
        let mut recent = self.recent.lock();
        recent.retain(|incident| incident.logged.elapsed() < LOGGED_EVERY);
        let known = recent.iter().find(|incident| incident.cause == cause);
        let full = recent.last().filter(|_| recent.len() >= MAX_RECENT);
        if let Some(incident) = known.or(full) {
            return (incident.reference, false);
        }
        let reference = random();
        recent.push(Incident { cause, reference, logged: Instant::now() });
        (reference, true)
    }
}

fn random() -> u32 {
    let [a, b, c, d, ..] = RandomState::new().build_hasher().finish().to_ne_bytes();
    u32::from_ne_bytes([a, b, c, d])
}

const MAX_RECENT: usize = 100;
const LOGGED_EVERY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn refer(incidents: &Incidents<usize>, cause: usize) -> String {
        incidents.refer("no broker", cause, String::new)
    }

    #[tokio::test(start_paused = true)]
    async fn failures_of_one_cause_share_a_reference_for_a_minute() {
        let incidents = Incidents::new("default");
        let first = refer(&incidents, 1);
        assert!(first.starts_with("no broker (reference "), "{first}");
        assert_eq!(first, refer(&incidents, 1));
        assert_ne!(first, refer(&incidents, 2));
        tokio::time::advance(LOGGED_EVERY).await;
        assert_ne!(first, refer(&incidents, 1));
    }

    #[tokio::test]
    async fn causes_of_a_large_cluster_are_bounded() {
        let incidents = Incidents::new("default");
        let all: Vec<String> = (0..3 * MAX_RECENT).map(|cause| refer(&incidents, cause)).collect();
        assert_eq!(incidents.recent.lock().len(), MAX_RECENT);
        assert!(all[MAX_RECENT..].iter().all(|text| *text == all[MAX_RECENT - 1]));
    }
}

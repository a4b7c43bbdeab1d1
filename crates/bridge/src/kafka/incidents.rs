//! Failures whose cause only operators may see: the cause is logged under a reference, and clients get the reference.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::mem::{Discriminant, discriminant};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sluicegate_reader::{ConnectionError, ReadError};
use tokio::time::Instant;

use crate::traces;

/// The failures of one cluster in the last minute.
pub(super) struct Incidents {
    cluster: String,
    /// At most [`MAX_RECENT`], oldest first. Beyond that, new causes are not logged and share the newest reference.
    recent: Mutex<Vec<Incident>>,
}

struct Incident {
    cause: Cause,
    reference: u32,
    logged: Instant,
}

/// The cause of a failure. Failures with equal causes share a reference.
#[derive(PartialEq)]
enum Cause {
    /// No broker was reachable.
    Unreachable(Discriminant<ConnectionError>),
    /// This broker gave no usable answer.
    Unanswered(String, Discriminant<ConnectionError>),
    /// No token, or no broker that passed the reader's handshake.
    NoProducer,
    NotReadyInTime,
}

impl Incidents {
    /// For the cluster with this name in the log.
    pub(super) fn new(cluster: &str) -> Self {
        Self { cluster: cluster.to_owned(), recent: Mutex::default() }
    }

    /// The text of `error` for clients.
    pub(super) fn public(&self, error: &ReadError) -> String {
        let (text, cause) = match error {
            ReadError::Unreachable { cause, .. } => (UNREACHABLE, Cause::Unreachable(discriminant(cause))),
            ReadError::Unanswered { broker, cause } => {
                (UNANSWERED, Cause::Unanswered(broker.clone(), discriminant(cause)))
            }
            ReadError::Request { .. } | ReadError::Broker { .. } | ReadError::Log { .. } => {
                return error.with_causes();
            }
        };
        self.refer(text, cause, || error.with_causes())
    }

    /// The text for clients if there is no producer for their records.
    pub(super) fn no_producer(&self, cause: String) -> String {
        self.refer(UNREACHABLE, Cause::NoProducer, || cause)
    }

    /// Logs that no broker answered within this time.
    pub(super) fn not_ready(&self, within: Duration) {
        self.refer(UNREACHABLE, Cause::NotReadyInTime, || format!("no broker answered within {within:?}"));
    }

    /// Adds a reference to `text`, and logs `details` under it, at most once a minute.
    fn refer(&self, text: &str, cause: Cause, details: impl FnOnce() -> String) -> String {
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
    fn reference(&self, cause: Cause) -> (u32, bool) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
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

const UNREACHABLE: &str = "no broker of the cluster is reachable";
const UNANSWERED: &str = "no usable answer from the broker of this partition";
const MAX_RECENT: usize = 100;
const LOGGED_EVERY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn unanswered(broker: &str, what: &str) -> ReadError {
        let address = broker.to_owned();
        let cause = ConnectionError::Protocol { address: address.clone(), what: what.to_owned() };
        ReadError::Unanswered { broker: address, cause }
    }

    #[tokio::test(start_paused = true)]
    async fn failures_of_one_cause_share_a_reference_for_a_minute() {
        let incidents = Incidents::new("default");
        let first = incidents.public(&unanswered("kafka.internal:9092", "first"));
        assert!(
            first.starts_with("no usable answer from the broker of this partition (reference "),
            "{first}"
        );
        assert_eq!(first, incidents.public(&unanswered("kafka.internal:9092", "second")));
        assert_ne!(first, incidents.public(&unanswered("other.internal:9092", "first")));
        let refused = std::io::Error::from_raw_os_error(111);
        let cause = ConnectionError::Connect { address: "a.internal:1".into(), cause: Arc::new(refused) };
        let connect = incidents.public(&ReadError::Unreachable {
            brokers: "b.internal".into(),
            cause,
            retriable: true,
        });
        for text in [connect, incidents.no_producer("/etc/token".to_owned())] {
            assert!(text.starts_with("no broker of the cluster is reachable (reference "), "{text}");
            assert!(!text.contains("internal") && !text.contains('/') && !text.contains("111"), "{text}");
        }
        tokio::time::advance(LOGGED_EVERY).await;
        assert_ne!(first, incidents.public(&unanswered("kafka.internal:9092", "first")));
    }

    #[tokio::test]
    async fn causes_of_a_large_cluster_are_bounded() {
        let incidents = Incidents::new("default");
        let all: Vec<String> = (0..3 * MAX_RECENT)
            .map(|broker| incidents.public(&unanswered(&broker.to_string(), "")))
            .collect();
        assert_eq!(incidents.recent.lock().unwrap().len(), MAX_RECENT);
        assert!(all[MAX_RECENT..].iter().all(|text| *text == all[MAX_RECENT - 1]));
    }
}

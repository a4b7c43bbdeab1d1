//! Causes of failed reads and writes that clients must not see.

use std::mem::{Discriminant, discriminant};
use std::time::Duration;

use sluicegate_reader::{ConnectionError, ReadError};

use sluicegate_telemetry::incidents;

/// The failures of one cluster.
pub(super) struct Incidents(incidents::Incidents<Cause>);

/// The cause of a failure.
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
        Self(incidents::Incidents::new(cluster))
    }

    /// The text of `error` for clients.
    pub(super) fn public(&self, error: &ReadError) -> String {
        self.text(error, UNANSWERED)
    }

    /// The same, of a request about a group.
    pub(super) fn of_group(&self, error: &ReadError) -> String {
        self.text(error, "no usable answer from the coordinator of this group")
    }

    fn text(&self, error: &ReadError, unanswered: &'static str) -> String {
        let (text, cause) = match error {
            ReadError::Unreachable { cause, .. } => (UNREACHABLE, Cause::Unreachable(discriminant(cause))),
            ReadError::Unanswered { broker, cause } => {
                (unanswered, Cause::Unanswered(broker.clone(), discriminant(cause)))
            }
            ReadError::Request { .. }
            | ReadError::Broker { .. }
            | ReadError::Log { .. }
            | ReadError::Busy => {
                return error.with_causes();
            }
        };
        self.0.refer(text, cause, || error.with_causes())
    }

    /// The text for clients if there is no producer for their records.
    pub(super) fn no_producer(&self, cause: String) -> String {
        self.0.refer(UNREACHABLE, Cause::NoProducer, || cause)
    }

    /// Logs that no broker answered within this time, and returns the cause.
    pub(super) fn not_ready(&self, within: Duration) -> String {
        let cause = format!("no broker answered within {within:?}");
        self.0.refer(UNREACHABLE, Cause::NotReadyInTime, || cause.clone());
        cause
    }
}

pub(super) const UNREACHABLE: &str = "no broker of the cluster is reachable";
const UNANSWERED: &str = "no usable answer from the broker of this partition";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn unanswered(broker: &str, what: &str) -> ReadError {
        let address = broker.to_owned();
        let cause = ConnectionError::Protocol { address: address.clone(), what: what.to_owned() };
        ReadError::Unanswered { broker: address, cause }
    }

    #[tokio::test]
    async fn clients_see_no_address_and_no_file() {
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
            assert!(!text.contains("internal") && !text.contains('/') && !text.contains("refused"), "{text}");
        }
    }
}

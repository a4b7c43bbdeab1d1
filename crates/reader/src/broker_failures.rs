//! The failures of several brokers, as one error.

use crate::config::Config;
use crate::error::{ConnectionError, ReadError};

/// The failures of several brokers; empty if the time ran out before the first one.
#[derive(Default)]
pub(crate) struct BrokerFailures {
    /// The failure to report. A temporary one comes first because a retry helps, then one that an operator must repair.
    reported: Option<ConnectionError>,
    /// Whether one of the failures can pass: its broker can recover even if an operator must repair the others.
    retriable: bool,
}

impl BrokerFailures {
    pub(crate) fn of(failure: ConnectionError) -> Self {
        let mut failures = Self::default();
        failures.add(failure);
        failures
    }

    /// The error of a cluster without a reachable broker.
    pub(crate) fn unreachable(self, config: &Config) -> ReadError {
        let retriable = self.retriable || self.reported.is_none();
        let cause = self.reported.unwrap_or_else(|| ConnectionError::Silent {
            address: config.bootstrap.first().map(ToString::to_string).unwrap_or_default(),
            after: config.request_timeout,
        });
        let servers: Vec<String> = config.bootstrap.iter().map(ToString::to_string).collect();
        ReadError::Unreachable { brokers: servers.join(","), cause, retriable }
    }

    pub(crate) fn add(&mut self, failure: ConnectionError) {
        self.retriable |= failure.retriable();
        let is_reported = match (&self.reported, &failure) {
            (None, _) => true,
            // The retry waits for the shortest throttle time.
            (
                Some(ConnectionError::Throttled { left: known, .. }),
                ConnectionError::Throttled { left, .. },
            ) => left < known,
            (Some(known), failure) => rank(known) <= rank(failure),
        };
        if is_reported {
            self.reported = Some(failure);
        }
    }
}

fn rank(failure: &ConnectionError) -> u8 {
    match failure {
        failure if failure.is_temporary() => 2,
        failure if !failure.retriable() => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn throttled(seconds: u64) -> ConnectionError {
        ConnectionError::Throttled { address: "a:1".to_owned(), left: Duration::from_secs(seconds) }
    }

    #[test]
    fn most_useful_failure_is_reported_in_any_order() {
        let address = || "a:1".to_owned();
        let starting = ConnectionError::Starting { address: address() };
        let silent = ConnectionError::Silent { address: address(), after: Duration::from_secs(1) };
        let refused =
            ConnectionError::Authentication { address: address(), what: "wrong".into(), retriable: false };
        for (reported, other, retriable) in [
            (&refused, &silent, true),
            (&refused, &refused, false),
            (&starting, &silent, true),
            (&throttled(1), &refused, true),
            (&throttled(1), &throttled(9), true),
        ] {
            for order in [[reported, other], [other, reported]] {
                let mut failures = BrokerFailures::default();
                order.into_iter().for_each(|failure| failures.add(failure.clone()));
                let got = failures.reported.map(|failure| failure.to_string());
                assert_eq!((got, failures.retriable), (Some(reported.to_string()), retriable));
            }
        }
    }
}

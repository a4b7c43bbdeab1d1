//! The failures of several brokers, as one error.

use crate::config::Config;
use crate::connection_error::ConnectionError;
use crate::read_error::ReadError;

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

    fn starting() -> ConnectionError {
        ConnectionError::Starting { address: "a:1".to_owned() }
    }

    fn refused() -> ConnectionError {
        ConnectionError::Authentication {
            address: "a:1".to_owned(),
            what: "wrong".to_owned(),
            retriable: false,
        }
    }

    fn silent() -> ConnectionError {
        ConnectionError::Silent { address: "a:1".to_owned(), after: Duration::from_secs(1) }
    }

    /// Checks, in both orders, which failure is reported and whether a retry can help.
    #[track_caller]
    fn check(two: [ConnectionError; 2], reported: &ConnectionError, retriable: bool) {
        let [one, other] = two;
        for order in [[one.clone(), other.clone()], [other, one]] {
            let mut failures = BrokerFailures::default();
            order.into_iter().for_each(|failure| failures.add(failure));
            assert_eq!(failures.reported.map(|failure| failure.to_string()), Some(reported.to_string()));
            assert_eq!(failures.retriable, retriable);
        }
    }

    #[test]
    fn most_useful_failure_is_reported() {
        check([refused(), silent()], &refused(), true);
        check([refused(), refused()], &refused(), false);
        check([silent(), starting()], &starting(), true);
        check([refused(), throttled(1)], &throttled(1), true);
    }

    #[test]
    fn shortest_throttle_time_is_reported() {
        check([throttled(1), throttled(9)], &throttled(1), true);
    }
}

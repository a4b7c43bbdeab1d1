//! Checks the bootstrap brokers of a cluster for a client that trusts brokers more than this crate does.

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::address::Address;
use crate::broker_failures::BrokerFailures;
use crate::config::Config;
use crate::dial::dial;
use crate::error::{ConnectionError, ReadError};
use crate::transport::Limits;

/// The result of a check of the brokers in `bootstrap.servers`.
#[derive(Debug)]
pub struct BootstrapCheck {
    /// `host:port` of the brokers that passed, and of those that could not be checked at this time.
    pub usable: Vec<String>,
    /// The failures of the other brokers, which must not be used: they violated the protocol.
    pub rejected: Vec<ConnectionError>,
}

impl Config {
    /// Connects to all brokers of `bootstrap.servers` at the same time, and waits for all. Each connection is secured
    /// and authenticated as for reads; then the broker's versions are requested as librdkafka does.
    ///
    /// The check does not cover brokers that metadata names later, or a broker whose behaviour changes.
    ///
    /// # Errors
    /// No broker passed; within twice `socket.connection.setup.timeout.ms`.
    ///
    /// # Cancel safety
    /// Dropping the call has no effect.
    pub async fn check_bootstrap(&self) -> Result<BootstrapCheck, ReadError> {
        let config = Arc::new(self.clone());
        let mut checks = JoinSet::new();
        for address in self.bootstrap.iter().cloned() {
            let config = Arc::clone(&config);
            checks.spawn(async move { (check(&address, &config).await, address) });
        }
        let mut result = BootstrapCheck { usable: Vec::new(), rejected: Vec::new() };
        let (mut has_passed, mut failures) = (false, BrokerFailures::default());
        while let Some(checked) = checks.join_next().await {
            match checked {
                Ok((Ok(()), address)) => {
                    has_passed = true;
                    result.usable.push(address.to_string());
                }
                Ok((Err(failure @ ConnectionError::Protocol { .. }), _)) => {
                    failures.add(failure.clone());
                    result.rejected.push(failure);
                }
                Ok((Err(failure), address)) => {
                    failures.add(failure);
                    result.usable.push(address.to_string());
                }
                // The runtime is shutting down.
                Err(_) => {}
            }
        }
        if has_passed { Ok(result) } else { Err(failures.unreachable(self)) }
    }
}

async fn check(address: &Address, config: &Config) -> Result<(), ConnectionError> {
    let limits = Limits { in_flight: 1, max_response: config.max_response_bytes, max_idle: None };
    let connection = dial(address, config, limits).await?;
    connection.check_versions(config.setup_timeout).await
}

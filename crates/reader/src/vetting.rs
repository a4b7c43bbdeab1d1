//! Checks the bootstrap brokers of a cluster before a client connects to them that trusts their answers more than this one.

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::address::Address;
use crate::cluster::Failures;
use crate::config::Config;
use crate::dial::dial;
use crate::link::Limits;
use crate::{ConnectionError, ReadError};

/// The brokers of `bootstrap.servers`, by what they answered.
#[derive(Debug)]
pub struct Vetted {
    /// `host:port` of those that passed, and of those that could not be asked at this time.
    pub usable: Vec<String>,
    /// Why the others are not to be used: they broke the protocol.
    pub refused: Vec<ConnectionError>,
}

impl Config {
    /// Asks each broker of `bootstrap.servers` for a connection, all at the same time, and waits for all. A connection is
    /// secured and authenticated as for reads; then the broker is asked for its versions as librdkafka asks.
    ///
    /// This says nothing of brokers that metadata names later, or of a broker that changes its mind.
    ///
    /// # Errors
    /// None of them has passed; within twice `socket.connection.setup.timeout.ms`.
    ///
    /// # Cancel safety
    /// Dropping the call has no effect.
    pub async fn vet(&self) -> Result<Vetted, ReadError> {
        let config = Arc::new(self.clone());
        let mut checks = JoinSet::new();
        for address in self.bootstrap.iter().cloned() {
            let config = Arc::clone(&config);
            checks.spawn(async move { (check(&address, &config).await, address) });
        }
        let mut vetted = Vetted { usable: Vec::new(), refused: Vec::new() };
        let (mut passed, mut failures) = (false, Failures::default());
        while let Some(checked) = checks.join_next().await {
            match checked {
                Ok((Ok(()), address)) => {
                    passed = true;
                    vetted.usable.push(address.to_string());
                }
                Ok((Err(failure @ ConnectionError::Protocol { .. }), _)) => {
                    failures.add(failure.clone());
                    vetted.refused.push(failure);
                }
                Ok((Err(failure), address)) => {
                    failures.add(failure);
                    vetted.usable.push(address.to_string());
                }
                // The runtime is ending.
                Err(_) => {}
            }
        }
        if passed { Ok(vetted) } else { Err(failures.of_all(self)) }
    }
}

async fn check(address: &Address, config: &Config) -> Result<(), ConnectionError> {
    let limits = Limits { in_flight: 1, max_response: config.max_response_bytes, max_idle: None };
    let connection = dial(address, config, limits).await?;
    connection.check_versions(config.setup_timeout).await
}

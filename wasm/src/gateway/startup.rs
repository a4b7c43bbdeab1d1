//! Detects and creates the gateway of a plugin.

use super::Gateway;
use super::apisix::Apisix;
use super::envoy::{self, Envoy};
use crate::config::{Config, Host};
use crate::host::Status;

/// Detects the gateway by a function that only Envoy has. An error says why it cannot.
pub(crate) fn detect() -> Result<Host, String> {
    match envoy::ask_for_ticks() {
        Ok(()) => Ok(Host::Envoy),
        Err(Status::UNIMPLEMENTED) => Ok(Host::Apisix),
        Err(status) => {
            Err(format!("the gateway cannot be detected, as it answers a request for ticks with {status}"))
        }
    }
}

/// The gateway of a configuration. An error is the line to log.
pub(crate) fn start(config: &Config) -> Result<Box<dyn Gateway>, String> {
    match config.host {
        Host::Apisix => Ok(Box::new(Apisix)),
        Host::Envoy => match envoy::ask_for_ticks() {
            Ok(()) => Ok(Box::new(Envoy::default())),
            Err(status @ Status::UNIMPLEMENTED) => Err(format!(
                "invalid configuration: host: must be \"apisix\": Envoy has ticks, but this gateway answers {status}"
            )),
            Err(status) => Err(format!("failed to set the tick period: {status}")),
        },
    }
}

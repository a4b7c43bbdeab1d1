//! Causes for which a module does not load, does not start, or stops.

use std::fmt;

use super::log::LogLine;

/// Why a host rejects a module, worded to follow "failed to".
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct LoadError(pub(crate) String);

/// Why an instance did not start.
#[derive(Debug, thiserror::Error)]
#[error("{stage} the plugin{}; it logged {:?}", trap.as_ref().map_or(String::new(), |trap| format!(": {trap}")),
    log.iter().map(|line| line.text.as_str()).collect::<Vec<_>>())]
pub struct StartError {
    /// The failed step, worded to follow "failed to".
    pub stage: &'static str,
    /// `None` if the module itself returned false.
    pub trap: Option<Trap>,
    pub log: Vec<LogLine>,
}

/// The module trapped: a panic, an access out of bounds, an endless loop, or a call that this host never accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trap {
    /// The exported function that trapped.
    pub callback: String,
    /// The runtime's reason. A panic's own message is in the log.
    pub reason: String,
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} trapped: {}", self.callback, self.reason)
    }
}

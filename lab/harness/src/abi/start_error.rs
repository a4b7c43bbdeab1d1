//! Causes for which a module did not start.

use super::log::LogLine;
use super::trap::Trap;

/// Why an instance did not start.
#[derive(Debug, thiserror::Error)]
#[error("{stage} the plugin{}; it logged {:?}", trap.as_ref().map_or(String::new(), |trap| format!(": {trap}")),
    texts(log))]
pub struct StartError {
    /// The failed step, worded to follow "failed to".
    pub stage: &'static str,
    /// `None` if the module itself returned false.
    pub trap: Option<Trap>,
    /// The log so far.
    pub log: Vec<LogLine>,
}

fn texts(log: &[LogLine]) -> Vec<&str> {
    log.iter().map(|line| line.text.as_str()).collect()
}

//! Why a module did not start.

use super::log::LogLine;
use super::trap::Trap;

/// Why an instance did not start.
#[derive(Debug, thiserror::Error)]
#[error("{stage} the plugin{}; it logged {:?}", trap.as_ref().map_or(String::new(), |trap| format!(": {trap}")), texts(log))]
pub struct StartError {
    /// What was being done, so that it reads after "failed to".
    pub stage: &'static str,
    /// `None` where the filter itself answered no.
    pub trap: Option<Trap>,
    /// Everything logged until then.
    pub log: Vec<LogLine>,
}

fn texts(log: &[LogLine]) -> Vec<&str> {
    log.iter().map(|line| line.text.as_str()).collect()
}

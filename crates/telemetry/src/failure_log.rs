//! Logs failed commands, under the trace id that their clients get.

use sluicegate_protocol::Reason;

use crate::rate_limit::RateLimit;
use crate::traces;

/// Of one cluster. A failure that an operator may have to act on is a warning, but of each reason only one in ten
/// seconds: an outage fails every command. All others are for debugging.
#[derive(Debug, Default)]
pub struct FailureLog(RateLimit);

impl FailureLog {
    /// Logs one failure, in the words that the client gets.
    pub fn log(&self, cluster: &str, command: &'static str, reason: Reason, message: &str) {
        let name = reason.as_str_name();
        if is_for_operators(reason) && self.0.is_due(name) {
            tracing::warn!(
                cluster,
                command,
                reason = name,
                trace_id = traces::current_id(),
                event = "command_failed",
                "command failed: {message}"
            );
        } else {
            tracing::debug!(
                cluster,
                command,
                reason = name,
                trace_id = traces::current_id(),
                event = "command_failed",
                "command failed: {message}"
            );
        }
    }
}

fn is_for_operators(reason: Reason) -> bool {
    match reason {
        Reason::Unauthorized
        | Reason::QueueFull
        | Reason::Transient
        | Reason::Rejected
        | Reason::Unreachable
        | Reason::UnknownOutcome => true,
        Reason::Unspecified
        | Reason::InvalidCommand
        | Reason::OffsetOutOfRange
        | Reason::Denied
        | Reason::NotFound
        | Reason::Recreated
        | Reason::TooLarge
        | Reason::InvalidRecord
        | Reason::QuotaExceeded => false,
    }
}

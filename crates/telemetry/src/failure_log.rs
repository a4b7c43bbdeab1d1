//! Logs failed commands, under the trace id that their clients get.

use sluicegate_protocol::Reason;

use crate::rate_limit::RateLimit;
use crate::traces;

/// Of one cluster. A failure that an operator may have to act on is a warning, but of each reason only one in ten
/// seconds: an outage fails every command. All others are for debugging.
#[derive(Debug, Default)]
pub struct FailureLog(RateLimit);

/// The client of a failed command. The log does not name people: the audit log does, under the same number or trace id.
#[derive(Debug, Clone, Copy)]
pub struct FailedClient<'a> {
    /// The cluster.
    pub cluster: &'a str,
    /// The gateway's name of the route.
    pub route: Option<&'a str>,
    /// The number of the session or stream.
    pub id: Option<u64>,
}

impl FailureLog {
    /// Logs one failure, in the words that the client gets.
    pub fn log(&self, client: FailedClient<'_>, command: &'static str, reason: Reason, message: &str) {
        let FailedClient { cluster, route, id } = client;
        let name = reason.as_str_name();
        if is_for_operators(reason) && self.0.is_due(name) {
            tracing::warn!(
                cluster,
                route,
                id,
                command,
                reason = name,
                trace_id = traces::current_id(),
                event = "command_failed",
                "command failed: {message}"
            );
        } else {
            tracing::debug!(
                cluster,
                route,
                id,
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
        | Reason::QuotaExceeded
        | Reason::OutOfOrder
        | Reason::Fenced
        | Reason::Expired => false,
    }
}

//! Why a session is over, and what its client is told.

use std::time::Duration;

use sluicegate_protocol::Close;

use super::frames::FrameError;
use crate::metrics::SessionEnd;

/// Why a session is over.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum End {
    /// The gateway said so, with what the client is to be told.
    Closed(Close),
    /// The peer left: end of its stream, or a reset.
    Left,
    /// The bridge is shutting down.
    Drained,
    /// No answer to pings.
    Silent,
    /// Output was not taken.
    Stalled,
    /// A message of the client's was not whole so long after its first byte.
    Unfinished(Duration),
    /// More requests wait than a peer that is always read can have waiting.
    TooManyWaiting {
        /// As many may wait.
        requests: usize,
        /// Of as many bytes together.
        bytes: usize,
    },
    /// The gateway's gRPC framing cannot be followed.
    Unreadable(FrameError),
}

impl End {
    /// The last message of the session.
    pub(super) fn close(&self) -> Option<Close> {
        let close = |code, reason: &str| Some(Close { code, reason: reason.to_owned() });
        match self {
            Self::Closed(content) => Some(content.clone()),
            Self::Left => close(NORMAL, ""),
            Self::Drained => close(GOING_AWAY, "going away"),
            Self::Silent => close(INTERNAL, "no answer to ping"),
            // Nothing more will be taken, this neither.
            Self::Stalled => None,
            Self::Unfinished(within) => close(POLICY, &format!("message not whole within {within:?}")),
            Self::TooManyWaiting { requests, bytes } => close(
                POLICY,
                &format!(
                    "more than {requests} requests or {bytes} bytes wait: read answers before asking more"
                ),
            ),
            Self::Unreadable(error @ FrameError::TooLarge { .. }) => close(TOO_LARGE, &error.to_string()),
            Self::Unreadable(error @ FrameError::Compressed) => close(INTERNAL, &error.to_string()),
        }
    }

    /// As metrics and logs have it.
    pub(crate) fn kind(&self) -> SessionEnd {
        match self {
            Self::Closed(_) => SessionEnd::Closed,
            Self::Left => SessionEnd::Left,
            Self::Drained => SessionEnd::Drained,
            Self::Silent => SessionEnd::Silent,
            Self::Stalled => SessionEnd::Stalled,
            Self::Unfinished(_) => SessionEnd::Unfinished,
            Self::TooManyWaiting { .. } => SessionEnd::TooManyWaiting,
            Self::Unreadable(FrameError::TooLarge { .. }) => SessionEnd::TooLarge,
            Self::Unreadable(FrameError::Compressed) => SessionEnd::Compressed,
        }
    }
}

// RFC 6455, section 7.4.1.
const NORMAL: u32 = 1000;
const GOING_AWAY: u32 = 1001;
const POLICY: u32 = 1008;
const TOO_LARGE: u32 = 1009;
const INTERNAL: u32 = 1011;

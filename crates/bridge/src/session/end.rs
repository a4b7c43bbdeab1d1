//! The end of a session: its cause, and its last message for the client, behind what is ready.

use std::task::Context;
use std::time::Duration;

use sluicegate_delivery::grant::TermCause;
use sluicegate_dialect::session::Answer;
use sluicegate_protocol::Close;
use sluicegate_telemetry::metrics::SessionEnd;
use tokio::time::timeout;

use super::Session;
use super::input::{FrameError, read_meanwhile, read_to_end};

/// Why a session ends.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum End {
    /// The gateway closed it, with this message for the client.
    Closed(Close),
    /// The peer left: its stream ended or was reset.
    Left,
    /// The bridge is shutting down.
    Drained,
    /// The client did not answer pings.
    Silent,
    /// The client did not read.
    Stalled,
    /// The client did not finish a message within this time of its first byte.
    Unfinished(Duration),
    /// A peer that is always read has more waiting requests than these limits.
    TooManyWaiting {
        /// The limit on requests.
        requests: usize,
        /// The limit on their bytes.
        bytes: usize,
    },
    /// The gateway's gRPC framing is invalid.
    Unreadable(FrameError),
    /// The client's grant has ended.
    Over(TermCause),
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
            // The client would not read a close message either.
            Self::Stalled => None,
            Self::Unfinished(within) => close(POLICY, &format!("message not finished within {within:?}")),
            Self::TooManyWaiting { requests, bytes } => close(
                POLICY,
                &format!(
                    "too many waiting requests (limits: {requests}, {bytes} bytes), read answers before sending more"
                ),
            ),
            Self::Over(TermCause::Identity) => close(UNAUTHORIZED, "identity expired"),
            Self::Over(TermCause::Revoked) => close(UNAUTHORIZED, "identity revoked"),
            Self::Over(TermCause::Age) => close(GOING_AWAY, "maximum session age"),
            Self::Over(TermCause::Operator) => close(POLICY, "ended by an operator"),
            Self::Unreadable(error @ FrameError::TooLarge { .. }) => close(TOO_LARGE, &error.to_string()),
            Self::Unreadable(error @ FrameError::Compressed) => close(INTERNAL, &error.to_string()),
        }
    }

    /// The kind of end for metrics and logs.
    pub(crate) fn kind(&self) -> SessionEnd {
        match self {
            Self::Closed(_) => SessionEnd::Closed,
            Self::Left => SessionEnd::Left,
            Self::Drained => SessionEnd::Drained,
            Self::Silent => SessionEnd::Silent,
            Self::Stalled => SessionEnd::Stalled,
            Self::Unfinished(_) => SessionEnd::Unfinished,
            Self::TooManyWaiting { .. } => SessionEnd::TooManyWaiting,
            Self::Over(cause) => cause.session_end(),
            Self::Unreadable(FrameError::TooLarge { .. }) => SessionEnd::TooLarge,
            Self::Unreadable(FrameError::Compressed) => SessionEnd::Compressed,
        }
    }
}

impl Session<'_> {
    /// Drops the commands in flight, sends the ready answers and a last message, and waits for the peer to end its
    /// side. Dropping the stream earlier would reset it and lose data in flight.
    pub(super) async fn finish(&mut self, end: &End) {
        self.commands.clear();
        self.subscriptions.clear();
        let Some(close) = end.close() else { return };
        self.outbox.push(Answer::close(close), None);
        let within = if *end == End::Left { LEFT_TIMEOUT } else { self.limits.close_timeout };
        // Unsent output is dropped.
        let _ = timeout(within, self.flush_and_close()).await;
    }

    async fn flush_and_close(&mut self) {
        let mut left = false;
        while self.output_waits() {
            let progress = |cx: &mut Context<'_>| self.output.poll_progress(cx, &mut self.outbox);
            if read_meanwhile(&mut self.input, &mut left, progress).await.is_err() {
                return;
            }
        }
        if !left && self.output.ends_both_sides() && self.answered > INITIAL_WINDOW_BYTES {
            left = timeout(LINGER, read_to_end(&mut self.input)).await.is_ok();
        }
        read_meanwhile(&mut self.input, &mut left, |cx| self.output.poll_end(cx)).await;
        if !left {
            read_to_end(&mut self.input).await;
        }
    }
}

/// Time for a peer that ended its own side to read the ready answers.
const LEFT_TIMEOUT: Duration = Duration::from_secs(1);

/// Delay between the last message and the end of the response, for clients that read slowly. If a response ends before
/// its request, a proxy resets the stream, and Envoy then drops the data it still buffers. Shorter than the filter's
/// own timeout.
const LINGER: Duration = Duration::from_secs(1);

/// Answers up to this size are never held back by a proxy: the initial window of an HTTP/2 stream (RFC 9113, section
/// 6.9.2).
const INITIAL_WINDOW_BYTES: usize = 65_535;

// RFC 6455, section 7.4.1.
const NORMAL: u32 = 1000;
const GOING_AWAY: u32 = 1001;
const POLICY: u32 = 1008;
const TOO_LARGE: u32 = 1009;
const INTERNAL: u32 = 1011;
/// IANA's registry of close codes: "Unauthorized".
const UNAUTHORIZED: u32 = 3000;

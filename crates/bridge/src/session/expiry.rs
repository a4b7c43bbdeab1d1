//! The end of a session's grant, and the message shortly before for clients that asked.

use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sluicegate_delivery::grant::{Grant, TermCause};
use tokio::time::Instant;

/// The end of one grant, until its next renewal.
pub(super) struct Expiry {
    ended: BoxFuture<'static, TermCause>,
    /// When the client's identity expires.
    expires: Option<Instant>,
    /// The sequence of the client's last command that asked for it.
    asked: Option<i64>,
    /// When it is told that it expires.
    tell_at: Option<Instant>,
}

impl Expiry {
    /// The end of `grant`.
    pub(super) fn of(grant: &Grant) -> Self {
        let holding = grant.holding();
        let watched = grant.clone();
        let ended = async move { watched.ended().await }.boxed();
        Self { ended, expires: holding.and_then(|holding| holding.expires), asked: None, tell_at: None }
    }

    /// The end of `grant` after its renewal. A client that asked is told again.
    pub(super) fn renewed(&mut self, grant: &Grant) {
        let asked = self.asked;
        *self = Self::of(grant);
        if let Some(sequence) = asked {
            self.ask(sequence);
        }
    }

    /// Tells the client that its identity expires, shortly before, with this sequence.
    pub(super) fn ask(&mut self, sequence: i64) {
        self.asked = Some(sequence);
        let lead = |left: Duration| (left / 4).min(MAX_LEAD).mul_f64(0.5 + 0.5 * fastrand::f64());
        self.tell_at = self.expires.and_then(|at| at.checked_sub(lead(left(at))));
    }

    /// The time until the client's identity expires; None: it does not.
    pub(super) fn left(&self) -> Option<Duration> {
        self.expires.map(left)
    }

    /// When [`Expiry::due`] has something to tell.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.tell_at
    }

    /// The sequence with which the client is told now that its identity expires, once.
    pub(super) fn due(&mut self, now: Instant) -> Option<i64> {
        self.tell_at.take_if(|at| *at <= now).and(self.asked)
    }

    /// Ready at the end of the grant, with its cause.
    pub(super) fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<TermCause> {
        self.ended.poll_unpin(cx)
    }
}

fn left(at: Instant) -> Duration {
    at.saturating_duration_since(Instant::now())
}

/// Enough time for a page to ask its issuer for another token, and for a few attempts. The message comes at half of it
/// at the latest: clients that logged in together do not renew together.
const MAX_LEAD: Duration = Duration::from_secs(60);

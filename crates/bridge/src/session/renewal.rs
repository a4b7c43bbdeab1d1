//! The end of a session's grant, of which clients that asked are told shortly before; and another token, by which the grant
//! is renewed and what it does not cover ends.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sluicegate_backend::CommandError;
use sluicegate_delivery::grant::{Grant, TermCause};
use sluicegate_dialect::session::Answer;
use sluicegate_protocol::error_code::TOPIC_AUTHORIZATION_FAILED;
use sluicegate_telemetry::metrics::{Kind, Outcome};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::{Done, Session};

/// A client's grant, and how its identity is renewed.
pub(crate) struct Granted {
    pub(crate) grant: Grant,
    /// None: its route does not renew identities.
    pub(crate) renewal: Option<Arc<dyn Renew>>,
}

#[cfg(any(test, feature = "testing"))]
impl From<Grant> for Granted {
    fn from(grant: Grant) -> Self {
        Self { grant, renewal: None }
    }
}

/// Renews the identity of one client.
pub(crate) trait Renew: Send + Sync {
    /// Verifies another token, and renews the client's grant by it.
    ///
    /// # Errors
    /// The token is not one of the same person, or cannot be verified now. The grant stays as it was.
    fn renew<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<(), CommandError>>;
}

impl Session<'_> {
    /// Begins to renew the client's identity.
    pub(super) fn start_renewal(&self, sequence: i64, token: String, reserved: OwnedSemaphorePermit) {
        let (grant, renewal) = (self.grant.clone(), self.renewal.clone());
        let running = async move {
            let renewed = match renewal {
                Some(renewal) => renewal.renew(&token).await,
                None => {
                    grant.log_refused("identity_not_renewable");
                    Err(CommandError::forbidden(TOPIC_AUTHORIZATION_FAILED, NOT_RENEWED))
                }
            };
            let outcome = if renewed.is_ok() { Outcome::Answered } else { Outcome::Refused };
            grant.metrics().answered(Kind::Auth, outcome);
            let failed =
                |error| Answer::failed(sequence, grant.system(), format_args!("renew the identity"), error);
            (renewed.map_or_else(|error| Done::Answer(failed(error)), |()| Done::Renewed(sequence)), reserved)
        };
        self.commands.push(Box::pin(running));
    }

    /// Goes on with the client's new rights. Subscriptions that they do not cover end.
    pub(super) fn renewed(&mut self, sequence: i64, reserved: OwnedSemaphorePermit) {
        self.subscriptions.recheck(&self.grant);
        self.expiry.renewed(&self.grant);
        self.expiry.deadline().into_iter().for_each(|at| self.wake_by(at));
        self.push(Answer::renewed(sequence, self.expiry.left()), Some(reserved));
    }
}

/// The error of a renewal on a route that does not name an issuer, or of a client that is nobody in particular.
const NOT_RENEWED: &str =
    "this session has no identity that can be renewed, open another one with the new token";

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

//! Another token for an open session: the client's grant is renewed, and what it does not cover ends.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use sluicegate_backend::CommandError;
use sluicegate_delivery::grant::Grant;
use sluicegate_dialect::session::Answer;
use sluicegate_protocol::error_code::TOPIC_AUTHORIZATION_FAILED;
use sluicegate_telemetry::metrics::{Kind, Outcome};
use tokio::sync::OwnedSemaphorePermit;

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

//! Renews the identity of a client whose session is open.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sluicegate_backend::{CommandError, Fault};
use sluicegate_delivery::grant::Grant;
use sluicegate_protocol::error_code::TOPIC_AUTHORIZATION_FAILED;
use sluicegate_rights::{Policy, Rights};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use super::identity_error::IdentityError;
use super::refusal::Refusal;
use super::{Endpoint, rights};
use crate::session::Renew;

/// A session's way to another identity of the same person.
pub(super) struct Renewal {
    endpoint: Arc<Endpoint>,
    grant: Grant,
    route: Rights,
    policy: Policy,
    /// The next token is not verified before.
    next: Mutex<Instant>,
}

impl Renewal {
    /// The renewals of the client that was granted `grant`; None: its route does not name an issuer, or the client is
    /// nobody in particular.
    pub(super) fn of(
        endpoint: &Arc<Endpoint>,
        grant: &Grant,
        route: Rights,
        policy: Option<Policy>,
    ) -> Option<Arc<dyn Renew>> {
        let policy =
            policy.filter(|policy| policy.identity.as_ref().is_some_and(|way| way.token.is_some()))?;
        grant.holding()?;
        let (endpoint, grant) = (Arc::clone(endpoint), grant.clone());
        Some(Arc::new(Self { endpoint, grant, route, policy, next: Mutex::new(Instant::now()) }))
    }

    async fn renewed(&self, token: &str) -> Result<(), CommandError> {
        let mut next = self.next.lock().await;
        sleep_until(*next).await;
        *next = Instant::now().checked_add(REST).unwrap_or(*next);
        // As they are now: keys can have been replaced since the session was opened.
        let settings = self.endpoint.settings.load_full();
        let way = self.policy.identity.as_ref().ok_or_else(|| denied("this route asks for no identity"))?;
        let verified = settings.believed.verified(way, token.as_bytes(), SystemTime::now()).await;
        let refused = |refusal: Refusal| {
            self.grant.log_refused(refusal.label());
            self.endpoint.log_refused(&refusal, self.grant.route_name());
            error(&refusal)
        };
        let identity = verified.map_err(refused)?;
        let holding = identity.holding(&settings.logged_claims);
        self.endpoint.serve(&holding).map_err(refused)?;
        if !self.grant.holding().is_some_and(|held| held.person.is_same(&holding.person)) {
            return Err(refused(Refusal::Identity(IdentityError::Other)));
        }
        let rights = rights::rights(self.route.clone(), Some(&self.policy), Some(&identity.claims));
        self.grant.renew(settings.rights(rights, self.grant.system()), holding);
        Ok(())
    }
}

impl Renew for Renewal {
    fn renew<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<(), CommandError>> {
        self.renewed(token).boxed()
    }
}

fn error(refusal: &Refusal) -> CommandError {
    match refusal {
        Refusal::Identity(error) => denied(error.text()),
        Refusal::NoKeys | Refusal::NoRevocations => CommandError::new(Fault::Transient, 0, refusal.text()),
        _ => denied("gateway and bridge are misconfigured, see their logs"),
    }
}

fn denied(message: &str) -> CommandError {
    CommandError::forbidden(TOPIC_AUTHORIZATION_FAILED, message)
}

/// The time between two tokens of one session: a signature costs the bridge more than the client that invents it.
const REST: Duration = Duration::from_secs(1);

//! The lines of the audit log about a client.

use std::sync::Arc;

use sluicegate_backend::{CommandError, Fault, MissingRight};
use sluicegate_telemetry::audit::{AuditLog, Client, Event, HTTP};
use sluicegate_telemetry::metrics::Kind;

use super::{Grant, Person};
use crate::{Activity, ClientKind};

impl Grant {
    /// This grant, whose client is in the audit log, if there is one. If it `needs` to be, see [`Grant::is_logged`].
    #[must_use]
    pub fn audited(self, log: Option<Arc<AuditLog>>, needs: bool) -> Self {
        Self { activity: Arc::new(Activity::audited(log, needs)), ..self }
    }

    /// Waits until the lines about the client are written, for at most half a second, if it is not to be served without
    /// them. False: they are not.
    ///
    /// # Cancel safety
    /// A drop ends the wait.
    pub async fn is_logged(&self) -> bool {
        match self.activity.needed_audit_log() {
            None => true,
            Some(log) => log.flush().await,
        }
    }

    /// Logs that a request, a command or a renewal is refused, for one of a few reasons. Denied commands are counted
    /// instead.
    pub fn log_refused(&self, reason: &'static str) {
        self.log(Event::Refused { reason });
    }

    /// Counts a command as denied if its error says so.
    pub fn count_denied(&self, kind: Kind, error: &CommandError) {
        self.count_any_denied(kind, std::iter::once(error));
    }

    /// Counts a command as denied if one of its errors says so. After the identity's end, it is refused.
    pub(super) fn count_any_denied<'a>(
        &self,
        kind: Kind,
        mut errors: impl Iterator<Item = &'a CommandError>,
    ) {
        let Some(error) =
            errors.find(|error| [Fault::Forbidden, Fault::Unauthenticated].contains(&error.fault))
        else {
            return;
        };
        if error.fault == Fault::Unauthenticated {
            let is_revoked = self.holding().is_some_and(|holding| holding.person.is_revoked());
            self.log_refused(if is_revoked { IDENTITY_REVOKED } else { IDENTITY_EXPIRED });
        } else {
            self.activity.denied();
            let (right, topic) = match error.lacks.as_deref() {
                Some(MissingRight { right, topic }) => (Some(*right), topic.as_deref()),
                None => (None, None),
            };
            self.log(Event::Denied { command: kind.label(), right, topic });
        }
    }

    /// Adds a line about the client to the audit log.
    pub(crate) fn log(&self, event: Event<'_>) {
        let Some(log) = self.activity.audit_log() else { return };
        let person = self.holding().map(|holding| holding.person);
        let of_person = person.as_deref().map(Person::as_client).unwrap_or_default();
        let (id, kind) = self.activity.client_id().unzip();
        let client = Client {
            id,
            kind: Some(kind.map_or(HTTP, ClientKind::label)),
            cluster: Some(self.metrics().name()),
            route: self.route_name(),
            address: self.client.address(),
            ..of_person
        };
        log.log(self.client, client, event);
    }
}

/// The reason of a refusal after the identity has expired.
pub const IDENTITY_EXPIRED: &str = "identity_expired";
/// The reason of a refusal after the identity was revoked.
pub const IDENTITY_REVOKED: &str = "identity_revoked";

//! A person whose identity was verified, as far as others need to know who it is.

use serde_json::value::RawValue;
use sluicegate_telemetry::audit::Client;
use tokio_util::sync::CancellationToken;

/// A person with a verified identity.
#[derive(Debug)]
pub struct Person {
    /// `iss`: who issued the identity.
    pub issuer: Option<String>,
    /// `sub`: the person.
    pub subject: Option<String>,
    /// `jti`: the token.
    pub token_id: Option<String>,
    /// `iat`, in seconds since 1970.
    pub issued_at: Option<i64>,
    /// Claims for the audit log, as JSON.
    pub claims: Option<Box<RawValue>>,
    revoked: CancellationToken,
}

impl Person {
    /// A person with the claims `iss`, `sub`, `jti` and `iat`.
    pub fn new(
        issuer: Option<String>,
        subject: Option<String>,
        token_id: Option<String>,
        issued_at: Option<i64>,
    ) -> Self {
        Self { issuer, subject, token_id, issued_at, claims: None, revoked: CancellationToken::new() }
    }

    /// This person with claims for the audit log.
    #[must_use]
    pub fn with_claims(self, claims: Option<Box<RawValue>>) -> Self {
        Self { claims, ..self }
    }

    /// Whether both are the same person, known by issuer and subject.
    pub fn is_same(&self, other: &Self) -> bool {
        self.issuer.is_some()
            && self.subject.is_some()
            && self.issuer == other.issuer
            && self.subject == other.subject
    }

    /// The person as a client in the audit log.
    pub fn as_client(&self) -> Client<'_> {
        Client {
            issuer: self.issuer.as_deref(),
            subject: self.subject.as_deref(),
            token_id: self.token_id.as_deref(),
            claims: self.claims.as_deref(),
            ..Client::default()
        }
    }

    /// Ends whatever this identity grants.
    pub fn revoke(&self) {
        self.revoked.cancel();
    }

    /// Whether its identity was revoked.
    pub fn is_revoked(&self) -> bool {
        self.revoked.is_cancelled()
    }

    /// Waits until its identity is revoked.
    ///
    /// # Cancel safety
    /// A drop ends the wait.
    pub async fn revoked(&self) {
        self.revoked.cancelled().await;
    }
}

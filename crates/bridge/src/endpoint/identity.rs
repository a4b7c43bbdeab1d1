//! Identities of clients: the claims that its gateway has verified, or those of a token that the bridge verifies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use http::HeaderMap;
use serde_json::value::RawValue;
use sluicegate_delivery::grant::{Holding, Person};
use sluicegate_identity::{Issuer, TokenError, Verifier};
use sluicegate_protocol::metadata;
use sluicegate_protocol::metadata::MAX_IDENTITY_BYTES;
use sluicegate_rights::{Claims, policy};
use tokio::time::Instant;

use super::identity_error::IdentityError;
use super::refusal::Refusal;
use crate::clusters::BASE64;
use crate::config::{Config, tls};

/// The identities that the bridge believes.
#[derive(Clone, Default)]
pub(crate) struct Believed {
    /// Whether they can be in headers of authenticated gateways.
    pub(crate) from_gateway: bool,
    /// How far clocks can differ.
    pub(crate) leeway: Duration,
    /// Verifiers of those in tokens, by the names of `[identity.NAME]`.
    verifiers: BTreeMap<String, Arc<Verifier>>,
}

/// A client's identity.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Identity {
    pub(crate) claims: Claims,
    /// Until then it is valid, leeway included. None: it does not expire.
    pub(crate) until: Option<SystemTime>,
    /// The end of what it opens comes up to so much sooner, at random: people whose tokens expire together do not come
    /// back together.
    pub(crate) spread: Duration,
}

impl Identity {
    /// The person, with these claims for the audit log, and until when.
    pub(crate) fn holding(&self, logged_claims: &BTreeSet<String>) -> Holding {
        let text = |claim: Option<&str>| claim.map(str::to_owned);
        let person = Person::new(
            text(self.claims.issuer()),
            text(self.claims.subject()),
            text(self.claims.token_id()),
            self.claims.issued_at().ok().flatten(),
        );
        let logged = self.claims.named(logged_claims);
        let logged = (!logged.is_empty()).then(|| RawValue::from_string(logged.to_json()).ok()).flatten();
        let person = person.with_claims(logged);
        let left = |until: SystemTime| until.duration_since(SystemTime::now()).unwrap_or_default();
        let sooner = |left: Duration| self.spread.min(left / 2).mul_f64(fastrand::f64());
        let end = |left: Duration| Instant::now().checked_add(left.saturating_sub(sooner(left)));
        let expires = self.until.and_then(|until| end(left(until)));
        Holding { person: Arc::new(person), expires }
    }
}

impl Believed {
    /// The believed identities of a configuration. Verifiers that do not change keep the keys that they have fetched.
    pub(super) fn of(config: &Config, before: &Self) -> Self {
        let from_gateway = config.identity.from_gateway && config.knows_gateways();
        let verifier = |(name, issuer): (&String, &Issuer)| {
            let same = before.verifiers.get(name).filter(|verifier| verifier.is_of(issuer)).cloned();
            (name.clone(), same.unwrap_or_else(|| Arc::new(verifier(issuer))))
        };
        let verifiers = config.identity.issuers.iter().map(verifier).collect();
        Self { from_gateway, leeway: config.identity.leeway, verifiers }
    }

    /// The identity of a client on a route that asks for one in this `way`; None: nobody in particular.
    ///
    /// # Errors
    /// The route asks for an identity, and the client has none; or gateway and bridge do not match.
    ///
    /// # Cancel safety
    /// A drop abandons the wait for an issuer's keys.
    pub(crate) async fn identify(
        &self,
        way: Option<&policy::Identity>,
        headers: &HeaderMap,
        now: SystemTime,
    ) -> Result<Option<Identity>, Refusal> {
        let told = headers.get(metadata::IDENTITY).map(|told| told.as_bytes());
        let token = headers.get(metadata::TOKEN).map(|token| token.as_bytes());
        let Some(way) = way else {
            return match (told, token) {
                (None, None) => Ok(None),
                (Some(_), _) => Err(unexpected(metadata::IDENTITY)),
                (None, Some(_)) => Err(unexpected(metadata::TOKEN)),
            };
        };
        match (told, token) {
            (Some(_), _) if !way.from_gateway => Err(unexpected(metadata::IDENTITY)),
            (None, Some(_)) if way.from_gateway => Err(unexpected(metadata::TOKEN)),
            (Some(_), Some(_)) => Err(unexpected(metadata::TOKEN)),
            (Some(_), None) if !self.from_gateway => Err(Refusal::IdentityFromGateway),
            (Some(told), None) => self.valid(claims(told)?, now).map(Some).map_err(Refusal::Identity),
            (None, Some(token)) => self.verified(way, token, now).await.map(Some),
            (None, None) if way.anonymous => Ok(None),
            (None, None) => Err(Refusal::Identity(IdentityError::Missing)),
        }
    }

    /// The issuer of `[identity.NAME]`.
    pub(super) fn issuer(&self, name: &str) -> Option<&Issuer> {
        self.verifiers.get(name).map(|verifier| verifier.issuer())
    }

    /// The identity of a token on a route that asks for one in this `way`.
    ///
    /// # Errors
    /// It is not valid, or cannot be verified.
    ///
    /// # Cancel safety
    /// A drop abandons the wait for an issuer's keys.
    pub(super) async fn verified(
        &self,
        way: &policy::Identity,
        token: &[u8],
        now: SystemTime,
    ) -> Result<Identity, Refusal> {
        let name = way.token.as_deref().unwrap_or_default();
        let verifier = self.verifiers.get(name).ok_or_else(|| Refusal::unknown_issuer(name))?;
        match verifier.verify(token).await {
            Ok(claims) => self.valid(claims, now).map_err(Refusal::Identity),
            Err(TokenError::NoKeys) => Err(Refusal::NoKeys),
            Err(TokenError::Expired) => Err(Refusal::Identity(IdentityError::Expired)),
            Err(error) => Err(Refusal::Identity(IdentityError::Token(error))),
        }
    }

    fn valid(&self, claims: Claims, now: SystemTime) -> Result<Identity, IdentityError> {
        if !claims.are_named_by_text() {
            return Err(IdentityError::NotText);
        }
        let expires = claims.expires_at().map_err(|_| IdentityError::NotATime)?;
        let time = |seconds: i64| {
            let since =
                Duration::from_secs(seconds.try_into().unwrap_or_default()).saturating_add(self.leeway);
            SystemTime::UNIX_EPOCH.checked_add(since)
        };
        let until = expires.and_then(time);
        match until {
            Some(until) if until <= now => Err(IdentityError::Expired),
            _ => Ok(Identity { claims, until, spread: (self.leeway / 2).min(MAX_SPREAD) }),
        }
    }
}

/// Ends of so many identities as 5,000 delay nobody else then.
const MAX_SPREAD: Duration = Duration::from_secs(10);

/// A verifier of an issuer's tokens, whose keys it fetches when it needs them.
pub(crate) fn verifier(issuer: &Issuer) -> Verifier {
    Verifier::new(issuer.clone(), || tls::client(tls::system_roots()))
}

pub(super) fn claims(told: &[u8]) -> Result<Claims, Refusal> {
    let bytes = (told.len() <= MAX_IDENTITY_BYTES).then(|| BASE64.decode(told).ok()).flatten();
    let claims = bytes.and_then(|bytes| Claims::parse(&bytes));
    let expected = "claims as a JSON object in base64, in at most 4096 bytes";
    claims.ok_or(Refusal::InvalidHeader { header: metadata::IDENTITY, expected })
}

fn unexpected(header: &'static str) -> Refusal {
    Refusal::InvalidHeader { header, expected: "none on a route that does not ask for it" }
}

#[cfg(test)]
mod tests;

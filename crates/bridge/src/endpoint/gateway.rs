//! Reads a gateway's headers: its secret, the cluster, and what the client can do there.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue, Request};
use sluicegate_delivery::cluster::Cluster;
use sluicegate_delivery::grant::{Grant, Holding};
use sluicegate_delivery::quota::Account;
use sluicegate_fair_share::ClientKey;
use sluicegate_protocol::metadata;
use sluicegate_rights::{Policy, Rights};
use sluicegate_telemetry::shown;
use tokio::time::Instant;

use super::identity::{Believed, Identity};
use super::identity_error::IdentityError;
use super::refusal::Refusal;
use super::renewal::Renewal;
use super::requester::{Requester, peer};
use super::{Endpoint, rights};
use crate::revocation::NotServed;
use crate::session::Granted;

/// A gateway's words about a client, checked.
pub(crate) struct Admission {
    /// The rights of everybody on the route.
    pub(crate) route: Rights,
    pub(crate) policy: Option<Policy>,
    /// None: nobody in particular.
    pub(crate) identity: Option<Identity>,
    /// No client is served for longer.
    pub(crate) aged: Option<Instant>,
}

impl Admission {
    /// The client's rights.
    pub(crate) fn rights(&self) -> Rights {
        let claims = self.identity.as_ref().map(|identity| &identity.claims);
        rights::rights(self.route.clone(), self.policy.as_ref(), claims)
    }

    /// The person, with these claims for the audit log, and until when.
    pub(crate) fn holding(&self, logged_claims: &BTreeSet<String>) -> Option<Holding> {
        self.identity.as_ref().map(|identity| identity.holding(logged_claims))
    }

    /// The account that quotas count a person's use to; None: nobody in particular, whom shares by source bound.
    fn account(&self, headers: &HeaderMap, route: Option<&[u8]>) -> Option<Account> {
        let (policy, claims) = (self.policy.as_ref()?, &self.identity.as_ref()?.claims);
        let named = |name: &str| shown::name(name).into_owned();
        Some(Account {
            cluster: cluster_hash(headers),
            route: route.map(|route| named(&String::from_utf8_lossy(route))),
            quota: policy.quota,
            issuer: claims.issuer().map(named),
            subject: claims.subject().map(named),
        })
    }
}

impl Endpoint {
    /// Checks that a gateway sent the request, and that this version knows each of its headers. `requester` becomes the
    /// client that the gateway names.
    pub(super) fn check_gateway<B>(
        &self,
        request: &Request<B>,
        requester: &mut Requester,
    ) -> Result<(), Refusal> {
        self.authenticate(request)?;
        requester.believe(request);
        check_headers(request.headers())
    }

    /// Checks certificate and secret by one configuration: by two, a request could be admitted with neither.
    fn authenticate<B>(&self, request: &Request<B>) -> Result<(), Refusal> {
        let (settings, headers) = (self.settings.load(), request.headers());
        // The connection is from before `tls.client_ca` was set.
        if settings.needs_certificate && !peer(request).is_some_and(|peer| peer.has_certificate) {
            return Err(Refusal::Outdated);
        }
        if settings.secrets.is_empty() {
            return Ok(());
        }
        check_once(headers, metadata::GATEWAY_SECRET)?;
        match headers.get(metadata::GATEWAY_SECRET) {
            None => Err(Refusal::SecretMissing),
            Some(given) if settings.secrets.iter().any(|secret| secret.is(given.as_bytes())) => Ok(()),
            Some(_) => Err(Refusal::SecretWrong),
        }
    }

    /// The client's grant, from its gateway's headers. `requester` becomes the person, as soon as it is known.
    pub(super) async fn grant<B>(
        self: &Arc<Self>,
        request: &Request<B>,
        requester: &mut Requester,
    ) -> Result<Granted, Refusal> {
        let (headers, client) = (request.headers(), requester.source);
        let cluster = self.cluster(headers, client).await?;
        let settings = self.settings.load_full();
        let admission = admission(headers, &settings.believed, settings.max_age).await?;
        let route = headers.get(metadata::ROUTE).map(|route| route.as_bytes());
        let holding = admission.holding(&settings.logged_claims);
        requester.person = holding.as_ref().map(|holding| Arc::clone(&holding.person));
        holding.iter().try_for_each(|holding| self.serve(holding))?;
        if settings.needs_audit && self.audit.as_ref().is_some_and(|log| !log.has_room(client)) {
            return Err(Refusal::NoAudit);
        }
        let (tables, schemas) = (rights::tables(headers)?, rights::schemas(headers)?);
        let rights = settings.rights(admission.rights(), cluster.system);
        let grant = Grant::new(cluster, client, route, rights)
            .with_tables(tables)
            .with_schemas(schemas)
            .with_describe(rights::describes(headers)?);
        let usage = admission
            .account(headers, route)
            .map(|account| self.people.usage(account, &grant.metrics().quotas));
        let grant = grant
            .held(holding, admission.aged)
            .counted_to(usage)
            .audited(self.audit.clone(), settings.needs_audit);
        let renewal = Renewal::of(self, &grant, admission.route, admission.policy);
        Ok(Granted { grant, renewal })
    }

    /// Serves a person until the identity is revoked.
    pub(super) fn serve(&self, holding: &Holding) -> Result<(), Refusal> {
        self.revoked.serve(&holding.person).map_err(|not_served| match not_served {
            NotServed::Revoked => Refusal::Identity(IdentityError::Revoked),
            NotServed::Incomplete => Refusal::NoRevocations,
        })
    }

    /// The cluster that `headers` name or define.
    async fn cluster(&self, headers: &HeaderMap, client: ClientKey) -> Result<Arc<Cluster>, Refusal> {
        let carried = headers.get(metadata::CLUSTER_DEFINITION);
        let cluster = match carried {
            None => None,
            Some(_) if headers.contains_key(metadata::CLUSTER) => return Err(Refusal::TwoClusters),
            Some(definition) => Some(Box::pin(self.clusters.defined(client, definition.as_bytes())).await),
        };
        // Checked after the cluster was created, which takes a moment.
        if self.drain.has_begun() {
            return Err(Refusal::Draining);
        }
        if let Some(cluster) = cluster {
            return cluster.map_err(Refusal::RouteCluster);
        }
        let name = headers.get(metadata::CLUSTER).map_or(&b"default"[..], |name| name.as_bytes());
        let found = std::str::from_utf8(name).ok().and_then(|name| self.clusters.named(name));
        found.ok_or_else(|| Refusal::unknown_cluster(name))
    }
}

/// Checks that this version knows each header of a gateway, and that none is repeated.
pub(super) fn check_headers(headers: &HeaderMap) -> Result<(), Refusal> {
    let is_known = |name: &str| metadata::ALL.contains(&name);
    let mut sent = headers.keys().filter(|name| name.as_str().starts_with(metadata::PREFIX));
    if let Some(unknown) = sent.find(|name| !is_known(name.as_str())) {
        return Err(Refusal::unknown_header(unknown));
    }
    metadata::ALL.iter().try_for_each(|name| check_once(headers, name))
}

/// A hash of the cluster that `headers` name or define.
fn cluster_hash(headers: &HeaderMap) -> u64 {
    let mut hasher = DefaultHasher::new();
    [metadata::CLUSTER, metadata::CLUSTER_DEFINITION]
        .map(|name| headers.get(name).map(HeaderValue::as_bytes))
        .hash(&mut hasher);
    hasher.finish()
}

/// A gateway's words about a client in `headers`, checked.
///
/// # Errors
/// The route asks for an identity, and the client has none; or gateway and bridge do not match.
///
/// # Cancel safety
/// A drop abandons the wait for an issuer's keys.
pub(crate) async fn admission(
    headers: &HeaderMap,
    believed: &Believed,
    max_age: Option<Duration>,
) -> Result<Admission, Refusal> {
    let policy = rights::policy(headers)?;
    let way = policy.as_ref().and_then(|policy| policy.identity.as_ref());
    let opened = Instant::now();
    let identity = believed.identify(way, headers, SystemTime::now()).await?;
    let route = rights::of_route(headers)?;
    // Sessions that were opened together do not end together.
    let aged = max_age.and_then(|age| opened.checked_add(age.mul_f64(1.0 - 0.1 * fastrand::f64())));
    Ok(Admission { route, policy, identity, aged })
}

/// Refuses repeated headers: if a relay adds its header instead of replacing it, one of the two is the client's.
fn check_once(headers: &HeaderMap, name: &'static str) -> Result<(), Refusal> {
    match headers.get_all(name).iter().nth(1) {
        None => Ok(()),
        Some(_) => Err(Refusal::Repeated { name }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::tests::headers;

    fn account(cluster: (&str, &str), route: &str, claims: &str) -> Account {
        let claims = sluicegate_rights::Claims::parse(claims.as_bytes()).unwrap();
        let identity = Some(Identity { claims, until: None, spread: Duration::ZERO });
        let policy = Policy::parse(br#"{"identity":{"from_gateway":true}}"#).ok();
        let admission = Admission { route: Rights::all(), policy, identity, aged: None };
        admission.account(&headers(&[cluster]), Some(route.as_bytes())).unwrap()
    }

    #[test]
    fn people_of_other_issuers_routes_and_clusters_have_their_own_accounts() {
        let (a, alice) = ((metadata::CLUSTER, "a"), r#"{"iss":"i","sub":"alice"}"#);
        let one = account(a, "/r", alice);
        let long = |end: char| account(a, "/r", &format!(r#"{{"sub":"{}{end}"}}"#, "x".repeat(5000)));
        assert!(long('a') == long('a') && long('a') != long('b'));
        assert!(one == account(a, "/r", r#"{"iss":"i","sub":"alice","jti":"2"}"#));
        for other in [
            account(a, "/r", r#"{"iss":"i","sub":"bob"}"#),
            account(a, "/r", r#"{"iss":"j","sub":"alice"}"#),
            account(a, "/s", alice),
            account((metadata::CLUSTER, "b"), "/r", alice),
            account((metadata::CLUSTER_DEFINITION, "a"), "/r", alice),
        ] {
            assert!(one != other);
        }
    }
}

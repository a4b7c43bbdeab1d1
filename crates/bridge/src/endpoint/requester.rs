//! The sender of a request, as shared limits know it, and as the audit log names it when the request is refused.

use std::sync::Arc;

use http::{HeaderValue, Request};
use sluicegate_delivery::grant::Person;
use sluicegate_fair_share::ClientKey;
use sluicegate_protocol::metadata;
use sluicegate_telemetry::audit::{AuditLog, Client, Event};

use super::Peer;

/// The sender of a request.
pub(super) struct Requester {
    /// The client that its gateway names, otherwise the peer.
    pub(super) source: ClientKey,
    kind: Option<&'static str>,
    cluster: Option<HeaderValue>,
    route: Option<HeaderValue>,
    /// None: nobody in particular, or nobody yet.
    pub(super) person: Option<Arc<Person>>,
}

impl Requester {
    /// The peer that sent a request of this kind; None: of no known one.
    pub(super) fn of<B>(request: &Request<B>, kind: Option<&'static str>) -> Self {
        let source = peer(request).map(|peer| ClientKey::from(peer.address.ip())).unwrap_or_default();
        Self { source, kind, cluster: None, route: None, person: None }
    }

    /// Takes the client that the request names, once it is known to be a gateway's.
    pub(super) fn believe<B>(&mut self, request: &Request<B>) {
        let header = |name| request.headers().get(name).cloned();
        (self.cluster, self.route) = (header(metadata::CLUSTER), header(metadata::ROUTE));
        if let Some(client) = request.headers().get(metadata::CLIENT) {
            self.source = ClientKey::parse(client.as_bytes());
        }
    }

    /// The gateway's name of the route.
    pub(super) fn route(&self) -> Option<&str> {
        self.route.as_ref().and_then(|header| header.to_str().ok())
    }

    /// Logs that its request is refused.
    pub(super) fn refused(&self, log: &AuditLog, reason: &'static str) {
        let cluster = self.cluster.as_ref().and_then(|header| header.to_str().ok());
        let route = self.route();
        let of_person = self.person.as_deref().map(Person::as_client).unwrap_or_default();
        let address = self.source.address();
        log.log(
            self.source,
            Client { kind: self.kind, cluster, route, address, ..of_person },
            Event::Refused { reason },
        );
    }
}

/// The other end of the request's connection.
pub(super) fn peer<B>(request: &Request<B>) -> Option<&Peer> {
    request.extensions().get()
}

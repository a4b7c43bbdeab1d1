//! How a route's clients show who they are.

use sluicegate_rights::policy;

use super::Host;
use super::is_name;
use super::reader::Reader;
use crate::token::Places;

/// Where the gateway has the identity of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// In Envoy's dynamic metadata, which no client can write.
    Metadata {
        /// The filter that verified the claims.
        namespace: &'static str,
        /// The member with the claims; None: all members are claims.
        payload: Option<String>,
    },
    /// In the client's certificate, whose chain Envoy has verified.
    Certificate(CertificateName),
    /// In the headers of APISIX' authentication plugins.
    Consumer,
    /// In a token that the bridge verifies.
    Token(Places),
}

/// The part of a certificate that names its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateName {
    /// The first URI among the alternative names.
    Uri,
    /// The first DNS name among them.
    Dns,
    /// The subject.
    Subject,
}

impl Source {
    /// Reports a source that this gateway does not have.
    pub(super) fn check(&self, host: Host) -> Result<(), &'static str> {
        match self {
            Self::Token(_) => Ok(()),
            Self::Consumer if host == Host::Envoy => Err("must be another: only APISIX has consumers"),
            Self::Consumer => Ok(()),
            Self::Metadata { .. } | Self::Certificate(_) if host == Host::Apisix => {
                Err("must be \"token\" or \"consumer\" in APISIX")
            }
            Self::Metadata { .. } | Self::Certificate(_) => Ok(()),
        }
    }

    /// The question for the operator if a client shows a token, and this source has no claims.
    pub fn doubt(&self) -> Option<String> {
        let Self::Metadata { namespace, payload } = self else { return None };
        let filter = namespace.rsplit('.').next().unwrap_or_default();
        Some(match payload {
            Some(payload) if *namespace == JWT_AUTHN => {
                format!(
                    "no payload {payload:?} of {filter}: is it before this filter, with payload_in_metadata?"
                )
            }
            Some(payload) => {
                format!("no member {payload:?} in the metadata of {filter}: is it before this filter?")
            }
            None => format!("no metadata of {filter}: is it before this filter?"),
        })
    }
}

/// Reads a route's `identity`: where the gateway has it, and what the bridge is told.
pub(super) fn read(reader: &mut Reader) -> Option<(Source, policy::Identity)> {
    reader.object("identity", |reader| {
        let from = reader.string("from").unwrap_or_default();
        let source = match from.as_str() {
            "jwt_authn" => {
                let payload = reader.string("payload");
                if payload.is_none() {
                    reader.mistake("payload", "is missing; the provider's payload_in_metadata");
                }
                Source::Metadata { namespace: JWT_AUTHN, payload }
            }
            "ext_authz" => Source::Metadata { namespace: EXT_AUTHZ, payload: reader.string("payload") },
            "certificate" => Source::Certificate(certificate(reader)),
            "consumer" => {
                if !reader.flag("trust_consumer_headers") {
                    let expected = "must be true: without an authentication plugin on the route, clients can send these \
                                    headers themselves";
                    reader.mistake("trust_consumer_headers", expected);
                }
                Source::Consumer
            }
            "token" => Source::Token(Places { query: reader.string("query"), cookie: reader.string("cookie") }),
            _ => {
                let expected = "must be \"jwt_authn\", \"ext_authz\", \"certificate\", \"consumer\" or \"token\"";
                reader.mistake("from", expected);
                Source::Token(Places::default())
            }
        };
        let token = reader.string("name");
        if token.as_ref().is_some_and(|name| !is_name(name)) {
            reader.mistake("name", "must be the NAME of an [identity.NAME] of the bridge");
        }
        let from_gateway = !matches!(source, Source::Token(_));
        if token.is_none() && !from_gateway {
            reader.mistake("name", "is missing; the NAME of an [identity.NAME] of the bridge");
        }
        let anonymous = reader.flag("anonymous");
        (source, policy::Identity { from_gateway, token, anonymous })
    })
}

fn certificate(reader: &mut Reader) -> CertificateName {
    match reader.string("subject").as_deref() {
        Some("uri_san") => CertificateName::Uri,
        Some("dns_san") => CertificateName::Dns,
        Some("subject") => CertificateName::Subject,
        _ => {
            reader.mistake("subject", "must be \"uri_san\", \"dns_san\" or \"subject\"");
            CertificateName::Subject
        }
    }
}

const JWT_AUTHN: &str = "envoy.filters.http.jwt_authn";
const EXT_AUTHZ: &str = "envoy.filters.http.ext_authz";

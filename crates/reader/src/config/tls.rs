//! `ssl.*` and `https.*`: trusted CAs and the client's certificate.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::{ClientConfig, Error, RootCertStore};
use sluicegate_tls_faults::Settings;

use super::properties::Properties;
use crate::tls::{AnyName, Tls};

/// A certificate chain and its private key.
type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl Properties<'_> {
    /// TLS to brokers; `None` if there is a problem.
    pub(super) fn tls(&mut self) -> Option<Tls> {
        let provider = Arc::new(ring::default_provider());
        let verifies = self.boolean("enable.ssl.certificate.verification", true);
        if !verifies {
            self.reject_checks();
        }
        let names = self.checks_names();
        let roots = self.roots("ssl.ca.location", "ssl.ca.pem", verifies);
        let lists = self.revocation_lists();
        let identity = self.identity();
        let (roots, lists, identity) = (roots?, lists?, identity?);
        let chain = if verifies { Some(self.verifier(roots, lists, &provider)?) } else { None };
        let verifier: Arc<dyn ServerCertVerifier> = match chain {
            Some(verifier) if names => verifier,
            chain => Arc::new(AnyName { chain, algorithms: provider.signature_verification_algorithms }),
        };
        self.client(provider, verifier, BROKERS, identity)
    }

    /// TLS to the token endpoint.
    pub(super) fn https(&mut self) -> Option<Tls> {
        let provider = Arc::new(ring::default_provider());
        let roots = self.roots("https.ca.location", "https.ca.pem", true)?;
        let verifier = self.verifier(roots, Vec::new(), &provider)?;
        let settings = Settings { ca: "https.ca.location", certificate: None, names: None, revoked: None };
        self.client(provider, verifier, settings, None)
    }

    /// Rejects checks of certificates if verification is off. CAs are accepted: verification is often off only for a
    /// while.
    fn reject_checks(&mut self) {
        let lists = "ssl.crl.location";
        let names = "ssl.endpoint.identification.algorithm";
        let named = self.unread.get(names).is_some_and(|value| value.eq_ignore_ascii_case("https"));
        for key in [Some(lists), named.then_some(names)].into_iter().flatten() {
            if self.take(key).is_some() {
                self.problem(
                    key,
                    "has no effect with `enable.ssl.certificate.verification` false: expected `true`",
                );
            }
        }
    }

    fn checks_names(&mut self) -> bool {
        let key = "ssl.endpoint.identification.algorithm";
        match self.take(key).map(str::to_ascii_lowercase).as_deref() {
            None | Some("https") => true,
            Some("none") => false,
            Some(other) => {
                self.problem(key, format!("expected `https` or `none`, got `{other}`"));
                true
            }
        }
    }

    /// The trusted CAs: configured ones, or else the system's. Without verification there can be none.
    fn roots(
        &mut self,
        location: &'static str,
        inline: &'static str,
        needed: bool,
    ) -> Option<Arc<RootCertStore>> {
        if self.unread.get(location) == Some(&"probe") {
            self.take(location);
        }
        if self.unread.contains_key(location) || self.unread.contains_key(inline) {
            let pem = self.pem(location, inline, true)?;
            return self.usable(pem.key, pem.roots()).map(Arc::new);
        }
        let mut roots = RootCertStore::empty();
        if needed {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                self.problem(
                    location,
                    format!(
                        "is required because the system has no CA certificates: expected it or `{inline}`"
                    ),
                );
                return None;
            }
        }
        Some(Arc::new(roots))
    }

    fn revocation_lists(&mut self) -> Option<Vec<CertificateRevocationListDer<'static>>> {
        if !self.unread.contains_key("ssl.crl.location") {
            return Some(Vec::new());
        }
        let pem = self.pem_file("ssl.crl.location")?;
        self.usable(pem.key, pem.items("X509 CRL", "list of revoked certificates"))
    }

    /// `Some(None)` without a client certificate.
    fn identity(&mut self) -> Option<Option<Identity>> {
        let password = self.take("ssl.key.password");
        let has = |read: &Self, location, inline| {
            read.unread.contains_key(location) || read.unread.contains_key(inline)
        };
        let has_chain = has(self, "ssl.certificate.location", "ssl.certificate.pem");
        let has_key = has(self, "ssl.key.location", "ssl.key.pem");
        let chain = self.pem("ssl.certificate.location", "ssl.certificate.pem", false);
        let key = self.pem("ssl.key.location", "ssl.key.pem", false);
        if password.is_some() && !has_key {
            self.problem(
                "ssl.key.password",
                "has no effect without a key: expected `ssl.key.location` or `ssl.key.pem`",
            );
        }
        match (has_chain, has_key) {
            (false, false) => return Some(None),
            (true, false) => {
                self.problem(
                    "ssl.key.location",
                    "is required with a certificate: expected it or `ssl.key.pem`",
                );
                return None;
            }
            (false, true) => {
                self.problem(
                    "ssl.certificate.location",
                    "is required with a key: expected it or `ssl.certificate.pem`",
                );
                return None;
            }
            (true, true) => {}
        }
        let chain = chain.and_then(|pem| self.usable(pem.key, pem.certificates()));
        let key = key.and_then(|pem| self.usable(pem.key, pem.private_key(password)));
        Some(Some((chain?, key?)))
    }

    fn verifier(
        &mut self,
        roots: Arc<RootCertStore>,
        lists: Vec<CertificateRevocationListDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Option<Arc<WebPkiServerVerifier>> {
        // As OpenSSL with X509_V_FLAG_CRL_CHECK: only the server's certificate is checked, against a current list. Of
        // several lists of one CA the first is used, even if another is newer.
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider))
            .with_crls(lists)
            .only_check_end_entity_revocation()
            .enforce_revocation_expiration()
            .build();
        self.usable("ssl.crl.location", verifier.map_err(|error| error.to_string()))
    }

    fn client(
        &mut self,
        provider: Arc<CryptoProvider>,
        verifier: Arc<dyn ServerCertVerifier>,
        settings: Settings,
        identity: Option<Identity>,
    ) -> Option<Tls> {
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|versions| {
                let builder = versions.dangerous().with_custom_certificate_verifier(verifier);
                match identity {
                    None => Ok(builder.with_no_client_auth()),
                    Some((chain, key)) => builder.with_client_auth_cert(chain, key),
                }
            });
        let config = config.map_err(|error| match error {
            Error::InconsistentKeys(_) => "is not the key of the certificate".to_owned(),
            _ => "cannot be used: expected an RSA key of 2048 to 8192 bits, or an ECDSA P-256, P-384 or Ed25519 key"
                .to_owned(),
        });
        Some(Tls::new(self.usable("ssl.key.location", config)?, settings))
    }

    /// The value; an error becomes a problem.
    fn usable<T>(&mut self, key: &str, value: Result<T, String>) -> Option<T> {
        value.map_err(|problem| self.problem(key, problem)).ok()
    }
}

const BROKERS: Settings = Settings {
    ca: "ssl.ca.location",
    certificate: Some(["ssl.certificate.location", "ssl.key.location"]),
    names: Some("ssl.endpoint.identification.algorithm=none"),
    revoked: Some("ssl.crl.location"),
};

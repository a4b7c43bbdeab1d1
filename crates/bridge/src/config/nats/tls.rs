//! `tls.*`.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, Error, RootCertStore};
use sluicegate_nats::Tls;

use super::{Values, keys};
use crate::config::tls::{certificates, private_key, root_store};

/// A certificate chain and its private key.
type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl Values<'_> {
    /// `None` without TLS, or if there is a problem.
    pub(super) fn tls(&mut self, is_required: bool) -> Option<Tls> {
        let handshake_first = self.flag(keys::TLS_HANDSHAKE_FIRST.name, false);
        if !is_required && !handshake_first && !super::PATHS.iter().any(|name| self.has(name)) {
            return None;
        }
        let roots = self.roots();
        let identity = self.identity();
        let client = client(roots?, identity?);
        Some(Tls { client: self.usable(keys::TLS_KEY.name, client)?, handshake_first })
    }

    /// The configured CAs, or else the system's.
    fn roots(&mut self) -> Option<RootCertStore> {
        let name = keys::TLS_CA.name;
        if self.has(name) {
            return self.file(name, |path| certificates(path).and_then(root_store));
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            let problem =
                "is required because the system has no CA certificates: expected the path of a file";
            self.problem(name, problem);
            return None;
        }
        Some(roots)
    }

    /// `Some(None)` without a client certificate.
    fn identity(&mut self) -> Option<Option<Identity>> {
        let (chain, key) = (keys::TLS_CERTIFICATE.name, keys::TLS_KEY.name);
        match (self.has(chain), self.has(key)) {
            (false, false) => return Some(None),
            (true, false) => self.problem(key, format!("is required with `{chain}`")),
            (false, true) => self.problem(chain, format!("is required with `{key}`")),
            (true, true) => {}
        }
        let chain = self.file(chain, certificates);
        let key = self.file(key, private_key);
        Some(Some((chain?, key?)))
    }

    fn file<T>(&mut self, name: &str, load: fn(&Path) -> Result<T, String>) -> Option<T> {
        let path = self.given.get(name)?;
        self.usable(name, load(Path::new(path.trim())))
    }
}

fn client(roots: RootCertStore, identity: Option<Identity>) -> Result<ClientConfig, String> {
    let versions = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions();
    let client = versions.and_then(|versions| {
        let builder = versions.with_root_certificates(roots);
        match identity {
            None => Ok(builder.with_no_client_auth()),
            Some((chain, key)) => builder.with_client_auth_cert(chain, key),
        }
    });
    client.map_err(|error| match error {
        Error::InconsistentKeys(_) => "is not the key of the certificate".to_owned(),
        error => format!("cannot be used: {error}"),
    })
}

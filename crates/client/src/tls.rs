//! TLS for `wss://` and `https://` URLs: rustls with ring.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::ConnectError;

/// Certificates that a client trusts, and those with which it identifies itself.
#[derive(Debug, Clone)]
pub struct Tls {
    pub(crate) config: Arc<ClientConfig>,
}

impl Tls {
    /// Trusts the certificates in the PEM file `ca`, or the system's without one. `identity` holds the PEM files of the
    /// client's certificate chain and of its private key; one file can hold both.
    ///
    /// # Errors
    /// [`ConnectError::Tls`]: a file cannot be read, or has no certificate or key.
    pub fn new(ca: Option<&Path>, identity: Option<(&Path, &Path)>) -> Result<Self, ConnectError> {
        let roots = match ca {
            Some(path) => roots_of(path)?,
            None => system_roots()?,
        };
        // The provider is named because rustls' own choice panics if a program links more than one.
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|why| problem(why.to_string()))?
            .with_root_certificates(roots);
        let config = match identity {
            None => config.with_no_client_auth(),
            Some((cert, key)) => {
                let chain = certificates(cert)?;
                let private = PrivateKeyDer::from_pem_file(key).map_err(|why| in_file(key, &why))?;
                config.with_client_auth_cert(chain, private).map_err(|why| in_file(cert, &why))?
            }
        };
        Ok(Self { config: Arc::new(config) })
    }
}

fn system_roots() -> Result<RootCertStore, ConnectError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Unreadable certificates are skipped; the others are still trusted.
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let why = found.errors.first().map_or_else(|| "none installed".to_owned(), ToString::to_string);
        return Err(problem(format!("no trusted certificates: {why}")));
    }
    Ok(roots)
}

fn roots_of(path: &Path) -> Result<RootCertStore, ConnectError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|why| in_file(path, &why))?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let read: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).and_then(|certificates| certificates.collect());
    match read {
        Ok(certificates) if certificates.is_empty() => Err(in_file(path, &"it has no PEM certificate")),
        Ok(certificates) => Ok(certificates),
        Err(why) => Err(in_file(path, &why)),
    }
}

fn in_file(path: &Path, why: &dyn std::fmt::Display) -> ConnectError {
    problem(format!("{}: {why}", path.display()))
}

fn problem(problem: String) -> ConnectError {
    ConnectError::Tls { problem }
}

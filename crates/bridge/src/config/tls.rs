//! `[tls]`: the listener's certificate and key, from PEM files.

use std::fmt;
use std::hash::Hasher;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use sluicegate_backend::file_hash;

use super::keys;
use super::problem::Problems;
use super::section::Section;

/// TLS on `listen`: `certificate` (PEM, followed by its chain), `key` (PEM) and `client_ca` (PEM).
#[derive(Clone)]
pub struct Tls {
    pub(crate) server: Arc<ServerConfig>,
    /// Whether gateways have to present a certificate that `client_ca` signed.
    pub(crate) mutual: bool,
    /// Differs if one of the files does.
    pub(crate) version: u64,
}

pub(super) fn parse(mut table: Section, problems: &mut Problems) -> Option<Tls> {
    let certificate = table.required_path(keys::TLS_CERTIFICATE.short(), problems);
    let key = table.required_path(keys::TLS_KEY.short(), problems);
    let client_ca = table.path(keys::TLS_CLIENT_CA.short(), problems);
    table.end(problems);

    let mut hasher = file_hash::hasher();
    for path in [&certificate, &key, &client_ca].into_iter().flatten() {
        file_hash::hash(path, &mut hasher);
    }

    let mut load = |name: &str, problem: String| problems.add(format!("tls.{name}"), problem);
    let chain = certificate.map(|path| certificates(&path).map_err(|error| load("certificate", error)).ok());
    let key = key.map(|path| private_key(&path).map_err(|error| load("key", error)).ok());
    let roots = client_ca.map(|path| certificates(&path).map_err(|error| load("client_ca", error)).ok());
    let (chain, key) = (chain??, key??);
    let roots = match roots {
        Some(roots) => Some(roots?),
        None => None,
    };
    let mutual = roots.is_some();
    match server(chain, key, roots) {
        Ok(server) => Some(Tls { server: Arc::new(server), mutual, version: hasher.finish() }),
        Err(problem) => {
            problems.add("tls", problem);
            None
        }
    }
}

fn server(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    client_roots: Option<Vec<CertificateDer<'static>>>,
) -> Result<ServerConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let builder = match client_roots {
        None => builder.with_no_client_auth(),
        Some(certificates) => {
            let roots = root_store(certificates).map_err(|error| format!("client_ca: {error}"))?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder
                .with_client_cert_verifier(verifier.build().map_err(|error| format!("client_ca: {error}"))?)
        }
    };
    let mut server =
        builder.with_single_cert(chain, key).map_err(|error| format!("certificate and key: {error}"))?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(server)
}

/// TLS to a server that one of `roots` vouches for.
#[expect(clippy::expect_used, reason = "ring has the default versions, and nothing of it comes from outside")]
pub(crate) fn client(roots: RootCertStore) -> ClientConfig {
    let versions = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions();
    versions.expect("default versions").with_root_certificates(roots).with_no_client_auth()
}

/// The certificates that the system trusts.
pub(crate) fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

pub(super) fn root_store(certificates: Vec<CertificateDer<'static>>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    Ok(roots)
}

/// The certificates of a PEM file, one at least.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(certificates) if certificates.is_empty() => {
            Err(format!("{}: no certificate found, expected PEM", path.display()))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// The first private key of a PEM file.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| format!("{}: {error}", path.display()))
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("mutual", &self.mutual).finish_non_exhaustive()
    }
}

//! TLS for `wss://`: rustls with ring, trusting what the system trusts.

use std::io;
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::{ClientConfig, RootCertStore};
use tokio_tungstenite::Connector;
use tokio_tungstenite::tungstenite::error::{Error, TlsError};
use tokio_tungstenite::tungstenite::http::Uri;

/// The connector for `uri`; none where it does not ask for TLS.
///
/// The provider is named here because rustls' own choice panics where a program links more than one.
pub(crate) fn connector(uri: &Uri) -> Result<Option<Connector>, Error> {
    if uri.scheme_str() != Some("wss") {
        return Ok(None);
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|why| Error::Tls(TlsError::Rustls(Box::new(why))))?
        .with_root_certificates(roots()?)
        .with_no_client_auth();
    Ok(Some(Connector::Rustls(Arc::new(config))))
}

fn roots() -> Result<RootCertStore, Error> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // One certificate that cannot be read is no reason to distrust the others.
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let why = found.errors.first().map_or_else(|| "none installed".to_owned(), ToString::to_string);
        return Err(Error::Io(io::Error::other(format!("no trusted certificates: {why}"))));
    }
    Ok(roots)
}

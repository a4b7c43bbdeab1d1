//! TLS to brokers and token endpoints.

mod verify;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::client::ResolvesClientCert;
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, ClientConfig, Error, SignatureScheme};
use sluicegate_tls_faults::{Settings, Shown, find};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
pub(crate) use verify::AnyName;

use crate::network::Stream;

/// The TLS settings of connections. Clones share them.
#[derive(Clone)]
pub(crate) struct Tls {
    connector: TlsConnector,
    /// The names of the properties, for errors.
    settings: Settings,
    has_certificate: bool,
    /// Whether a server has ever asked for a client certificate.
    asked: Arc<AtomicBool>,
    /// Whether a handshake has ever succeeded.
    agreed: Arc<AtomicBool>,
}

/// The failure of a TLS handshake.
#[derive(Debug)]
pub(crate) struct TlsFault {
    pub(crate) what: String,
    pub(crate) retriable: bool,
}

impl Tls {
    pub(crate) fn new(mut config: ClientConfig, settings: Settings) -> Self {
        let (own, asked) = (config.client_auth_cert_resolver, Arc::new(AtomicBool::new(false)));
        let has_certificate = own.has_certs();
        config.client_auth_cert_resolver = Arc::new(Asked { own, asked: Arc::clone(&asked) });
        Self { connector: Arc::new(config).into(), settings, has_certificate, asked, agreed: Arc::default() }
    }

    /// Performs the handshake with a peer of this host name or IP address.
    ///
    /// Dropping the call closes the stream.
    pub(crate) async fn connect<S: Stream>(&self, host: &str, stream: S) -> Result<TlsStream<S>, TlsFault> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| permanent(format!("`{host}` is not a valid name for a certificate")))?;
        let stream = self.connector.connect(name, stream).await.map_err(|error| self.failed(&error))?;
        self.agreed.store(true, Ordering::Relaxed);
        Ok(stream)
    }

    /// The TLS failure behind an I/O error, if there is one.
    ///
    /// In TLS 1.3 the client finishes before the server has checked its certificate: a rejection comes with the first
    /// read.
    pub(crate) fn fault(&self, error: &io::Error) -> Option<TlsFault> {
        let error = find(error)?;
        let was_asked = self.asked.load(Ordering::Relaxed);
        let shown = Shown { has_certificate: self.has_certificate, was_asked };
        Some(TlsFault { what: self.settings.explain(error, shown), retriable: is_temporary(error) })
    }

    fn failed(&self, error: &io::Error) -> TlsFault {
        self.fault(error).unwrap_or_else(|| match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => TlsFault {
                // Kafka's way to refuse either.
                what: "closed the connection during the TLS handshake: expected a TLS listener, is it a \
                       PLAINTEXT one? Or its certificate has a key of P-521 or DSA: expected RSA, P-256, \
                       P-384 or Ed25519"
                    .to_owned(),
                // A listener that has completed a handshake before may just be stopping.
                retriable: self.agreed.load(Ordering::Relaxed),
            },
            _ => TlsFault { what: format!("the TLS handshake was cut short: {error}"), retriable: true },
        })
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("has_certificate", &self.has_certificate).finish_non_exhaustive()
    }
}

/// Whether the peer, or a load balancer in front of it, may just be stopping or starting.
fn is_temporary(error: &Error) -> bool {
    use AlertDescription as A;
    matches!(error, Error::AlertReceived(A::InternalError | A::UserCanceled) | Error::DecryptError)
}

fn permanent(what: String) -> TlsFault {
    TlsFault { what, retriable: false }
}

/// Notes that the server has asked for a certificate.
#[derive(Debug)]
struct Asked {
    own: Arc<dyn ResolvesClientCert>,
    asked: Arc<AtomicBool>,
}

impl ResolvesClientCert for Asked {
    fn resolve(&self, issuers: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.own.resolve(issuers, schemes)
    }

    fn has_certs(&self) -> bool {
        self.own.has_certs()
    }
}

#[cfg(test)]
mod tests;

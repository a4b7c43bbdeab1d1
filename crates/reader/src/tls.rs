//! TLS to a broker or a token endpoint, and what its failures mean to a person.

mod verify;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::pki_types::{ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, ClientConfig, Error, InvalidMessage};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::redact::sanitize;

pub(crate) use verify::AnyName;

/// How to secure connections. Clones share it.
#[derive(Clone)]
pub(crate) struct Tls {
    connector: TlsConnector,
    /// The property that says which CAs are trusted.
    ca: &'static str,
    /// Whether a client certificate is shown where one is asked for.
    identity: bool,
    /// Whether a handshake has ever succeeded.
    agreed: Arc<AtomicBool>,
}

/// Why a stream could not be secured.
#[derive(Debug)]
pub(crate) struct TlsFault {
    pub(crate) what: String,
    pub(crate) retriable: bool,
}

impl Tls {
    pub(crate) fn new(config: ClientConfig, ca: &'static str, identity: bool) -> Self {
        Self { connector: Arc::new(config).into(), ca, identity, agreed: Arc::default() }
    }

    /// Shakes hands with the peer that is called `host`, a name or an IP address.
    ///
    /// Dropping the call closes the stream.
    pub(crate) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, TlsFault> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| lasting(format!("`{host}` is not a name that a certificate can be for")))?;
        let stream = self.connector.connect(name, stream).await.map_err(|error| self.failed(&error))?;
        self.agreed.store(true, Ordering::Relaxed);
        Ok(stream)
    }

    /// The fault of TLS behind the failure of a stream, if that is one.
    ///
    /// In TLS 1.3 the client is done before the server has looked at its certificate: a refusal comes with the first read.
    pub(crate) fn fault(&self, error: &io::Error) -> Option<TlsFault> {
        let error = error.get_ref()?.downcast_ref::<Error>()?;
        Some(TlsFault { what: self.explain(error), retriable: passes(error) })
    }

    fn failed(&self, error: &io::Error) -> TlsFault {
        self.fault(error).unwrap_or_else(|| match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => TlsFault {
                what: "closed the connection during the TLS handshake: expected a TLS listener, is it a \
                       PLAINTEXT one?"
                    .to_owned(),
                // A listener of the wrong kind never agrees; one that has agreed before may just be stopping.
                retriable: self.agreed.load(Ordering::Relaxed),
            },
            _ => TlsFault { what: format!("the TLS handshake was cut short: {error}"), retriable: true },
        })
    }

    fn explain(&self, error: &Error) -> String {
        match error {
            Error::InvalidCertificate(fault) => certificate(fault, self.ca),
            Error::AlertReceived(alert) => self.alert(*alert),
            Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
                "answered with something other than TLS: expected a TLS listener, is it a PLAINTEXT one?"
                    .to_owned()
            }
            Error::NoCertificatesPresented => "showed no certificate".to_owned(),
            Error::PeerIncompatible(what) => format!("cannot agree on TLS 1.2 or 1.3: {what:?}"),
            other => format!("the TLS handshake failed: {}", sanitize(&other.to_string(), &[])),
        }
    }

    fn alert(&self, alert: AlertDescription) -> String {
        use AlertDescription as A;
        match alert {
            A::CertificateRequired | A::BadCertificate | A::HandshakeFailure if !self.identity => format!(
                "demands a client certificate ({alert:?}): expected `ssl.certificate.location` and `ssl.key.location`"
            ),
            A::CertificateRequired
            | A::BadCertificate
            | A::UnsupportedCertificate
            | A::CertificateRevoked
            | A::CertificateExpired
            | A::CertificateUnknown
            | A::UnknownCA
            | A::DecryptError
            | A::AccessDenied
                if self.identity =>
            {
                format!("refused the client certificate ({alert:?}): see `ssl.certificate.location`")
            }
            A::ProtocolVersion => "speaks neither TLS 1.2 nor 1.3 (ProtocolVersion)".to_owned(),
            _ => format!("refused the TLS handshake ({alert:?})"),
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// Whether the peer, or a load balancer before it, may just be stopping or starting.
fn passes(error: &Error) -> bool {
    use AlertDescription as A;
    matches!(error, Error::AlertReceived(A::InternalError | A::UserCanceled) | Error::DecryptError)
}

fn lasting(what: String) -> TlsFault {
    TlsFault { what, retriable: false }
}

fn certificate(fault: &CertificateError, ca: &str) -> String {
    match fault {
        // The latter where a trusted CA has the same name, but not the same key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            format!("its certificate is not signed by a trusted CA, see `{ca}`")
        }
        CertificateError::ExpiredContext { time, not_after } => {
            format!("its certificate expired {} ago", between(*not_after, *time))
        }
        CertificateError::Expired => "its certificate has expired".to_owned(),
        CertificateError::NotValidYetContext { time, not_before } => {
            format!("its certificate is not valid before {} from now", between(*time, *not_before))
        }
        CertificateError::NotValidYet => "its certificate is not valid yet".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names: Vec<&str> = presented.iter().take(MAX_NAMES).map(|name| bare(name)).collect();
            let names = if names.is_empty() { "no name".to_owned() } else { names.join(", ") };
            format!("its certificate is for {}, not for {}", sanitize(&names, &[]), expected.to_str())
        }
        CertificateError::Revoked => "its certificate has been revoked, see `ssl.crl.location`".to_owned(),
        CertificateError::UnknownRevocationStatus => {
            "no list says whether its certificate was revoked, see `ssl.crl.location`".to_owned()
        }
        CertificateError::ExpiredRevocationListContext { .. } | CertificateError::ExpiredRevocationList => {
            "the list of revoked certificates has expired, see `ssl.crl.location`".to_owned()
        }
        // webpki's error, in a type that rustls does not export.
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "its certificate is that of a CA: expected one for a server (CA:FALSE), which a CA has signed"
                .to_owned()
        }
        other => format!("its certificate cannot be used: {}", sanitize(&other.to_string(), &[])),
    }
}

/// The name in `DnsName("…")` or `IpAddress(…)`.
fn bare(presented: &str) -> &str {
    let inner = presented.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(presented).trim_matches('"')
}

fn between(from: UnixTime, to: UnixTime) -> String {
    span(Duration::from_secs(to.as_secs().saturating_sub(from.as_secs())))
}

/// A time that has passed, in its largest unit.
pub(crate) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..MINUTE => format!("{seconds} s"),
        MINUTE..HOUR => format!("{} min", seconds / MINUTE),
        HOUR..DAY => format!("{} h", seconds / HOUR),
        _ => format!("{} days", seconds / DAY),
    }
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Names of a certificate in an error.
const MAX_NAMES: usize = 8;

#[cfg(test)]
mod tests;

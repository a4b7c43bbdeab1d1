//! TLS to brokers and token endpoints, and readable texts for its failures.

mod verify;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::pki_types::{ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, ClientConfig, Error, InvalidMessage};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
pub(crate) use verify::AnyName;

use crate::network::Stream;
use crate::redact::sanitize;

/// The TLS settings of connections. Clones share them.
#[derive(Clone)]
pub(crate) struct Tls {
    connector: TlsConnector,
    /// The property of the trusted CAs, for errors.
    ca: &'static str,
    /// Whether there is a client certificate.
    identity: bool,
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
    pub(crate) fn new(config: ClientConfig, ca: &'static str, identity: bool) -> Self {
        Self { connector: Arc::new(config).into(), ca, identity, agreed: Arc::default() }
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
        let error = error.get_ref()?.downcast_ref::<Error>()?;
        Some(TlsFault { what: self.explain(error), retriable: is_temporary(error) })
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
                // A listener that has completed a handshake before may just be stopping.
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

/// Whether the peer, or a load balancer in front of it, may just be stopping or starting.
fn is_temporary(error: &Error) -> bool {
    use AlertDescription as A;
    matches!(error, Error::AlertReceived(A::InternalError | A::UserCanceled) | Error::DecryptError)
}

fn permanent(what: String) -> TlsFault {
    TlsFault { what, retriable: false }
}

fn certificate(fault: &CertificateError, ca: &str) -> String {
    match fault {
        // The latter if a trusted CA has the same name with another key.
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

/// A time span in its largest unit.
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

/// The number of a certificate's names in an error.
const MAX_NAMES: usize = 8;

#[cfg(test)]
mod tests;

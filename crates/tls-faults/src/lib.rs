//! Failures of TLS in words: the cause, and the setting to look at.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

/// The names of a client's settings, as its errors have them.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Trusted CAs.
    pub ca: &'static str,
    /// The client's certificate, and its key. None: there can be none.
    pub certificate: Option<[&'static str; 2]>,
    /// Whether the server's name is checked, and the value that switches it off. None: it always is.
    pub names: Option<&'static str>,
    /// Lists of revoked certificates. None: there can be none.
    pub revoked: Option<&'static str>,
}

/// The part of a client's certificate in a handshake.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shown {
    /// Whether the client has a certificate.
    pub has_certificate: bool,
    /// Whether the server has asked for one.
    pub was_asked: bool,
}

/// The failure of TLS behind an error, if there is one.
pub fn find<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    cause(error)
}

/// The error of a type behind an error, if there is one.
pub fn cause<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // The source of such an error is that of the error inside.
        let inside = error.downcast_ref().and_then(io::Error::get_ref);
        next = inside.map(|inside| inside as &(dyn StdError + 'static)).or_else(|| error.source());
    }
    None
}

impl Settings {
    /// Why a handshake failed, as a continuation of "the server …". The server's own words are on one line, and bounded.
    pub fn explain(&self, error: &Error, shown: Shown) -> String {
        match error {
            Error::InvalidCertificate(fault) => self.certificate(fault),
            Error::AlertReceived(alert) => self.alert(*alert, shown),
            Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
                "answered with something other than TLS: expected a TLS listener, is it a PLAINTEXT one?"
                    .to_owned()
            }
            Error::NoCertificatesPresented => "showed no certificate".to_owned(),
            Error::PeerIncompatible(what) => format!("cannot agree on TLS 1.2 or 1.3: {what:?}"),
            other => format!("the TLS handshake failed: {}", printable(other)),
        }
    }

    fn alert(&self, alert: AlertDescription, shown: Shown) -> String {
        use AlertDescription as A;
        let location = self.certificate.map_or("", |[location, _]| location);
        match alert {
            // Some servers of TLS 1.2 have no better word for a missing certificate.
            A::HandshakeFailure | A::InsufficientSecurity if !shown.was_asked => {
                format!(
                    "refused the TLS handshake ({alert:?}), as it has no algorithm in common: expected {ALGORITHMS}"
                )
            }
            A::CertificateRequired | A::BadCertificate | A::HandshakeFailure if !shown.has_certificate => {
                let expected =
                    self.certificate.map(|[chain, key]| format!(": expected `{chain}` and `{key}`"));
                format!("demands a client certificate ({alert:?}){}", expected.unwrap_or_default())
            }
            A::CertificateRequired
            | A::BadCertificate
            | A::UnsupportedCertificate
            | A::CertificateRevoked
            | A::CertificateExpired
            | A::CertificateUnknown
            | A::UnknownCA
            | A::DecryptError
            | A::AccessDenied
                if shown.has_certificate =>
            {
                format!("refused the client certificate ({alert:?}): see `{location}`")
            }
            A::ProtocolVersion => "speaks neither TLS 1.2 nor 1.3 (ProtocolVersion)".to_owned(),
            _ => format!("refused the TLS handshake ({alert:?})"),
        }
    }

    fn certificate(&self, fault: &CertificateError) -> String {
        let Self { ca, .. } = self;
        let revoked = self.revoked.map(|list| format!(", see `{list}`")).unwrap_or_default();
        let names = self.names.map(|names| format!("; `{names}` accepts any name")).unwrap_or_default();
        match fault {
            CertificateError::UnknownIssuer => {
                format!("its certificate is not signed by a trusted CA, see `{ca}`")
            }
            // The latter if a trusted CA has the same name with another key, or the key cannot be used.
            CertificateError::BadSignature => format!(
                "its certificate is not signed by a trusted CA, see `{ca}`, or has an RSA key below 2048 or above 8192 bits"
            ),
            CertificateError::ExpiredContext { time, not_after } => {
                format!("its certificate expired {} ago", between(*not_after, *time))
            }
            CertificateError::Expired => "its certificate has expired".to_owned(),
            CertificateError::NotValidYetContext { time, not_before } => {
                format!("its certificate is not valid before {} from now", between(*time, *not_before))
            }
            CertificateError::NotValidYet => "its certificate is not valid yet".to_owned(),
            CertificateError::NotValidForNameContext { expected, presented } if presented.is_empty() => {
                format!(
                    "its certificate has no subjectAltName, and a common name does not count: expected one with {}{names}",
                    expected.to_str()
                )
            }
            CertificateError::NotValidForNameContext { expected, presented } => {
                let presented: Vec<&str> = presented.iter().take(MAX_NAMES).map(|name| bare(name)).collect();
                let presented = printable(presented.join(", "));
                format!("its certificate is for {presented}, not for {}{names}", expected.to_str())
            }
            CertificateError::Revoked => format!("its certificate has been revoked{revoked}"),
            CertificateError::UnknownRevocationStatus => {
                format!("no list says whether its certificate was revoked{revoked}")
            }
            CertificateError::ExpiredRevocationListContext { .. }
            | CertificateError::ExpiredRevocationList => {
                format!("the list of revoked certificates has expired{revoked}")
            }
            CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
                format!(
                    "its certificate, or that of its CA, has a key that is not supported: expected {KEYS}"
                )
            }
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                "its certificate is not one for servers: expected the extended key usage serverAuth"
                    .to_owned()
            }
            CertificateError::BadEncoding => "its certificate is malformed".to_owned(),
            CertificateError::UnhandledCriticalExtension => {
                "its certificate has a critical extension that is not supported".to_owned()
            }
            // webpki's errors, in a type that rustls does not export.
            CertificateError::Other(other) => {
                let other = other.to_string();
                match OTHERS.into_iter().find(|(name, _)| other.contains(name)) {
                    Some((_, text)) => text.to_owned(),
                    None => format!("its certificate cannot be used: {}", printable(other)),
                }
            }
            other => format!("its certificate cannot be used: {}", printable(other)),
        }
    }
}

/// A peer's text on one line, cut.
fn printable(text: impl ToString) -> String {
    text.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_TEXT).collect()
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
pub fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..MINUTE => format!("{seconds} s"),
        MINUTE..HOUR => format!("{} min", seconds / MINUTE),
        HOUR..DAY => format!("{} h", seconds / HOUR),
        _ => format!("{} days", seconds / DAY),
    }
}

/// Of rustls with ring.
const ALGORITHMS: &str =
    "ECDHE with AES-GCM or ChaCha20, and a certificate with a key of RSA, P-256, P-384 or Ed25519";
const KEYS: &str = "RSA, P-256, P-384 or Ed25519, signed with SHA-256 or longer";

/// Parts of webpki's errors, and their texts.
const OTHERS: [(&str, &str); 4] = [
    (
        "CaUsedAsEndEntity",
        "its certificate is that of a CA: expected one for a server (CA:FALSE), which a CA has signed",
    ),
    (
        "UnsupportedCertVersion",
        "its certificate, or that of its CA, is of X.509 version 1 or 2: expected version 3, with the server's name in subjectAltName",
    ),
    ("EndEntityUsedAsCa", "its certificate is signed by one that is not of a CA (CA:TRUE)"),
    ("NameConstraintViolation", "its CA may not sign for its names: see the name constraints of the CA"),
];

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// The number of a certificate's names in an error.
const MAX_NAMES: usize = 8;
/// Characters of a peer's text in an error.
const MAX_TEXT: usize = 300;

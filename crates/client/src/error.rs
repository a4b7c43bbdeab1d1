//! Errors, by fault.

use std::io::ErrorKind;
use std::time::Duration;

use sluicegate_protocol::{ErrorResp, Reason};
use tokio_tungstenite::tungstenite;

use crate::LoginError;
use crate::refusal::after_status;

/// Why a connection was not established.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The caller's URL is not one to connect to.
    #[error("use the URL {url:?}: {problem}")]
    Url {
        /// As given, without user, password and query, which can hold secrets.
        url: String,
        /// The problem.
        problem: String,
    },
    /// The caller's TLS files cannot be used, or the system has no trusted certificates.
    #[error("set up TLS: {problem}")]
    Tls {
        /// The file and its problem.
        problem: String,
    },
    /// The caller's header cannot be sent.
    #[error("send the header {name:?}: {problem}")]
    Header {
        /// As given.
        name: String,
        /// The problem of the name or the value.
        problem: &'static str,
    },
    /// [`Builder::refresh`](crate::Builder::refresh) gave no token, or one that cannot be sent.
    #[error("log in: {0}")]
    Login(LoginError),
    /// The server answered the upgrade with another status than 101.
    #[error("open a WebSocket at {url}: the server answered HTTP {status}{}", after_status(.body))]
    Refused {
        /// As given, without user, password and query.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The start of the answer's body: the part that arrived together with the head, at most a few KiB.
        body: String,
    },
    /// No answer in time.
    #[error("connect to {url} within {} s", .after.as_secs_f64())]
    Timeout {
        /// As given, without user, password and query.
        url: String,
        /// The time allowed.
        after: Duration,
    },
    /// No connection, one that broke during the handshake, or a certificate that is not trusted.
    #[error("connect to {url}: {cause}")]
    Network {
        /// As given, without user, password and query.
        url: String,
        /// Part of the text, and no `source`.
        cause: std::io::Error,
    },
    /// The server does not speak HTTP and WebSocket as this client does.
    #[error("open a WebSocket at {url}: {cause}")]
    Handshake {
        /// As given, without user, password and query.
        url: String,
        /// Part of the text, and no `source`.
        cause: Box<tungstenite::Error>,
    },
}

impl ConnectError {
    /// Whether the port may be one for the URL's other scheme: without TLS instead of with it, or the other way round.
    #[must_use]
    pub fn suspects_scheme(&self) -> bool {
        use tungstenite::error::ProtocolError::{HandshakeIncomplete, HttparseError};
        match self {
            Self::Network { cause, .. } => {
                matches!(cause.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset)
                    || is_not_tls(cause)
            }
            Self::Handshake { cause, .. } => {
                matches!(**cause, tungstenite::Error::Protocol(HandshakeIncomplete | HttparseError(_)))
            }
            _ => false,
        }
    }

    /// Whether the server's certificate is of an authority that is not trusted, such as a private one.
    #[must_use]
    pub fn suspects_authority(&self) -> bool {
        matches!(self, Self::Network { cause, .. } if is_of_unknown_issuer(cause))
    }
}

/// Whether the server answered a TLS handshake with something else.
#[cfg(feature = "tls")]
fn is_not_tls(why: &std::io::Error) -> bool {
    matches!(tls_error(why), Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)))
}

#[cfg(feature = "tls")]
fn is_of_unknown_issuer(why: &std::io::Error) -> bool {
    matches!(tls_error(why), Some(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer)))
}

#[cfg(feature = "tls")]
fn tls_error(why: &std::io::Error) -> Option<&rustls::Error> {
    why.get_ref()?.downcast_ref()
}

#[cfg(not(feature = "tls"))]
fn is_not_tls(_: &std::io::Error) -> bool {
    false
}

#[cfg(not(feature = "tls"))]
fn is_of_unknown_issuer(_: &std::io::Error) -> bool {
    false
}

/// Why a command has no answer.
///
/// After [`Closed`](Self::Closed), [`Lost`](Self::Lost) and [`Protocol`](Self::Protocol) the session is over: every
/// later command fails with the same error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server answered that the command failed.
    #[error("{message}")]
    Command {
        /// Kafka's error code, or JetStream's `err_code`; 0 if it has none.
        code: i32,
        /// The server's text.
        message: String,
        /// The same command may succeed later.
        retriable: bool,
        /// Time to wait before that, if the server says so.
        retry_after: Option<Duration>,
        /// The party at fault; [`Reason::Unspecified`] if the server does not say so.
        reason: Reason,
        /// For [`Reason::OffsetOutOfRange`], if the server knows it: the first offset that can be fetched, or
        /// sequence.
        earliest_offset: Option<i64>,
        /// For [`Reason::OffsetOutOfRange`], if the server knows it: the log end, the last offset that can be fetched
        /// from, or sequence.
        latest_offset: Option<i64>,
        /// Finds the command in the bridge's logs and traces; empty if the server does not say so.
        trace_id: String,
    },
    /// The fetch asked for [`Isolation::ReadCommitted`](crate::Isolation::ReadCommitted), and the server does not know
    /// isolation levels. The session stays open; no message was delivered.
    #[error("read only committed records: the server does not support isolation levels")]
    IsolationUnsupported,
    /// The server does not know groups. The session stays open; no message was delivered.
    #[error("join the group: the server does not support groups")]
    GroupsUnsupported,
    /// The server does not know producers: it would write a repeat once more. The session stays open.
    #[error("write with a producer: the server is too old to recognize repeats{written}")]
    ProducersUnsupported {
        /// Empty, or a clause which says that it has written the records.
        written: &'static str,
    },
    /// A commit is for a partition that the [`Member`](crate::Member) does not have now: the group has taken it back, or
    /// the connection was lost. Messages that are not committed are delivered again.
    #[error("commit: {detail}; messages that are not committed come again")]
    Revoked {
        /// The server's text, or the client's.
        detail: String,
    },
    /// The server is too old for this command. The session stays open.
    #[error("run the command {command}: the server does not support it")]
    CommandUnsupported {
        /// The command's name.
        command: &'static str,
    },
    /// The command is larger than the gateway or the bridge accepts. It was not sent, and the session stays open.
    #[error("send a message of {bytes} bytes: the server accepts at most {max} bytes")]
    TooLarge {
        /// The size of the command.
        bytes: usize,
        /// The largest one that the server accepts in this session.
        max: usize,
    },
    /// The server ended the session with a WebSocket Close.
    #[error("keep the session: the server closed it with {code} {reason:?}")]
    Closed {
        /// The status of RFC 6455, section 7.4; 1005 if the server sent none.
        code: u16,
        /// The server's text. If the identity has expired, also why it was not renewed.
        reason: String,
    },
    /// The connection ended without a WebSocket Close.
    #[error("keep the connection: {detail}")]
    Lost {
        /// Description of the end.
        detail: String,
    },
    /// A subscription lost its connection, and could not open another one.
    #[error("connect again: {detail}")]
    Reconnect {
        /// A [`ConnectError`] as text.
        detail: String,
        /// Another attempt can succeed.
        retriable: bool,
    },
    /// The server violated the protocol.
    #[error("understand the server: {detail}")]
    Protocol {
        /// The unexpected content, and the expected one.
        detail: String,
    },
    /// No answer in time. The session stays open; a late answer is dropped.
    #[error("get an answer within {} s", .after.as_secs_f64())]
    Timeout {
        /// The time allowed.
        after: Duration,
    },
}

impl Error {
    /// Why a subscription is not connected. The next token of a client that `logs_in` can be accepted.
    pub(crate) fn reconnect(why: &ConnectError, logs_in: bool) -> Self {
        let retriable = match why {
            ConnectError::Url { .. } | ConnectError::Tls { .. } | ConnectError::Header { .. } => false,
            ConnectError::Login(why) => why.retriable,
            ConnectError::Refused { status: 401, .. } => logs_in,
            ConnectError::Refused { status, .. } => matches!(status, 408 | 429 | 500..),
            ConnectError::Timeout { .. } | ConnectError::Network { .. } | ConnectError::Handshake { .. } => {
                true
            }
        };
        Self::Reconnect { detail: why.to_string(), retriable }
    }

    pub(crate) fn command(error: ErrorResp) -> Self {
        Self::Command {
            reason: error.reason(),
            code: error.code,
            retriable: error.retriable,
            retry_after: retry_after(&error),
            earliest_offset: error.earliest_offset,
            latest_offset: error.latest_offset,
            trace_id: error.trace_id,
            message: error.message,
        }
    }
}

pub(crate) fn retry_after(error: &ErrorResp) -> Option<Duration> {
    (error.retry_after_ms > 0).then(|| Duration::from_millis(error.retry_after_ms.into()))
}

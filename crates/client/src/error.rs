//! What can go wrong, by whose doing.

use std::time::Duration;

use tokio_tungstenite::tungstenite;

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The caller's URL names nothing to connect to.
    #[error("use {url:?} as a ws:// or wss:// URL: {problem}")]
    Url {
        /// As given.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The caller's header cannot be sent.
    #[error("send the header {name:?}: {problem}")]
    Header {
        /// As given.
        name: String,
        /// What is wrong with it or with its value.
        problem: &'static str,
    },
    /// An HTTP server answered, and not with an upgrade.
    #[error("open a WebSocket: the server answered HTTP {status}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The start of the answer's body, as far as it came along with the head; at most a few KiB.
        body: String,
    },
    /// Nobody answered in time.
    #[error("connect within {} s", .after.as_secs_f64())]
    Timeout {
        /// The time allowed.
        after: Duration,
    },
    /// No connection, or one that broke during the handshake.
    #[error("connect")]
    Network(#[source] std::io::Error),
    /// What answered is not a WebSocket or TLS server that this client can talk to.
    #[error("open a WebSocket")]
    Handshake(#[source] Box<tungstenite::Error>),
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
        /// Kafka's error code, where there is one, otherwise 0.
        code: i32,
        /// In the server's words.
        message: String,
        /// The same command may succeed later.
        retriable: bool,
    },
    /// The server ended the session with a WebSocket Close.
    #[error("keep the session: the server closed it with {code} {reason:?}")]
    Closed {
        /// The status of RFC 6455, section 7.4; 1005 where the server gave none.
        code: u16,
        /// In the server's words.
        reason: String,
    },
    /// The connection ended without a WebSocket Close.
    #[error("keep the connection: {detail}")]
    Lost {
        /// What was seen of the end.
        detail: String,
    },
    /// The server sent what the contract does not allow.
    #[error("understand the server: {detail}")]
    Protocol {
        /// What was seen, and what was expected.
        detail: String,
    },
    /// No answer in time. The session goes on; an answer that comes later is dropped.
    #[error("get an answer within {} s", .after.as_secs_f64())]
    Timeout {
        /// The time allowed.
        after: Duration,
    },
}

//! The errors of a bridge's admin port.

use std::time::Duration;

/// Failure of a request that has a connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdminError {
    /// The status is not 200.
    #[error("use the admin port: it answered HTTP {status}{cause}")]
    Refused {
        status: u16,
        /// The server's text and a hint, or nothing.
        cause: String,
    },
    /// The connection ended before the answer was complete.
    #[error("keep the connection: {detail}")]
    Lost { detail: String },
    /// The answer has another content than expected, or is too large.
    #[error("understand the bridge: {detail}")]
    Answer { detail: String },
    #[error("get an answer within {} s", .after.as_secs_f64())]
    Timeout { after: Duration },
}

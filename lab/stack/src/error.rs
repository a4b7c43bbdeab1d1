//! Errors of the stack's parts.

use std::error::Error as StdError;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// A failure of the set-up, a part, or the operating system.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{what} is missing at {}: {remedy}", path.display())]
    Missing { what: &'static str, path: PathBuf, remedy: &'static str },
    /// The bridge would not start with a configuration.
    #[error("the bridge cannot use its configuration: {0}")]
    Configuration(String),
    #[error("port {0} is in use")]
    PortInUse(u16),
    /// What the caller asks for is not possible.
    #[error("failed to {0}")]
    SetUp(String),
    #[error("{part} ended ({status}); its log {}", ends_with(tail))]
    Ended { part: &'static str, status: ExitStatus, tail: String },
    /// A part runs, but a condition did not come true in time.
    #[error("{part} did not {what} within {} s{detail}", within.as_secs())]
    Late {
        part: &'static str,
        /// The condition, as a verb: "become ready".
        what: &'static str,
        within: Duration,
        /// The actual result after a separator, or nothing.
        detail: String,
    },
    #[error("failed to make a certificate")]
    Certificate(#[from] rcgen::Error),
    #[error("failed to make or use a key")]
    Key,
    /// The operating system or a messaging system refused.
    #[error("failed to {what}")]
    Failed { what: String, source: Box<dyn StdError + Send + Sync> },
    #[error("JetStream refused {call}: {error}")]
    JetStream { call: String, error: String },
}

fn ends_with(tail: &str) -> String {
    if tail.trim().is_empty() { "is empty".to_owned() } else { format!("ends with\n{tail}") }
}

impl From<ring::error::Unspecified> for Error {
    fn from(_: ring::error::Unspecified) -> Self {
        Self::Key
    }
}

impl Error {
    /// For `map_err`: the failed action and its reason.
    pub(crate) fn failed<E: Into<Box<dyn StdError + Send + Sync>>>(
        what: impl Into<String>,
    ) -> impl FnOnce(E) -> Self {
        let what = what.into();
        move |source| Self::Failed { what, source: source.into() }
    }
}

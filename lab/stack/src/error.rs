//! Errors of the stack's parts, by fault.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// A failure of the set-up, a part, or the operating system.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something has not been built or installed.
    #[error("{what} is missing at {}: {remedy}", path.display())]
    Missing {
        /// Its name in messages.
        what: &'static str,
        /// The path where it was expected.
        path: PathBuf,
        /// The way to fix it.
        remedy: &'static str,
    },
    /// The bridge would not start with a configuration.
    #[error("the bridge cannot use its configuration: {0}")]
    Configuration(String),
    /// The requested port is in use.
    #[error("port {0} is in use")]
    PortInUse(u16),
    /// All ports of the range are in use.
    #[error("find a free port from {first} to {last}")]
    NoPort {
        /// Lowest port tried.
        first: u16,
        /// Highest port tried.
        last: u16,
    },
    /// The test edits Envoy's configuration, but its stack has no Envoy.
    #[error("edit Envoy's configuration: this stack has no Envoy")]
    NoEnvoy,
    /// The filter could not be started in APISIX's emulated host.
    #[error("start the filter in APISIX's host: {0}")]
    Filter(String),
    /// A Kafka has no listener of this name.
    #[error("find the listener {0}")]
    NoListener(String),
    /// A text to replace does not occur exactly once in a committed file.
    #[error("{} contains {text:?} {count} times, expected once", file.display())]
    Substitution {
        /// The file.
        file: PathBuf,
        /// The exact text.
        text: String,
        /// Its occurrences.
        count: usize,
    },
    /// A part ended unexpectedly.
    #[error("{part} ended ({status}); its log {}", ends_with(tail))]
    Ended {
        /// The part.
        part: &'static str,
        /// Its exit status.
        status: ExitStatus,
        /// The last lines of its log.
        tail: String,
    },
    /// A part runs, but a condition did not come true in time.
    #[error("{part} did not {what} within {} s{detail}", within.as_secs())]
    Late {
        /// The part.
        part: &'static str,
        /// The condition, as a verb: "become ready".
        what: &'static str,
        /// The time limit.
        within: Duration,
        /// The actual result after a separator, or nothing.
        detail: String,
    },
    /// A certificate could not be made.
    #[error("failed to make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// A key could not be made or used.
    #[error("failed to make or use a key")]
    Key,
    /// The operating system refused.
    #[error("failed to {what}")]
    Io {
        /// The failed action.
        what: String,
        /// Its reason.
        source: io::Error,
    },
    /// librdkafka or the broker refused.
    #[error("failed to {what}")]
    Kafka {
        /// The failed action.
        what: String,
        /// Its reason.
        source: rdkafka::error::KafkaError,
    },
    /// nats-server refused, or did not answer.
    #[error("failed to {what}")]
    Nats {
        /// The failed action.
        what: String,
        /// Its reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// JetStream answered with an error.
    #[error("JetStream refused {call}: {error}")]
    JetStream {
        /// The call of its API.
        call: String,
        /// The error in JSON.
        error: String,
    },
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
    /// For `map_err`: an I/O error and the failed action.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// For `map_err`: a Kafka error and the failed action.
    pub(crate) fn kafka(what: impl Into<String>) -> impl FnOnce(rdkafka::error::KafkaError) -> Self {
        let what = what.into();
        move |source| Self::Kafka { what, source }
    }

    /// For `map_err`: an error of async-nats and the failed action.
    pub(crate) fn nats<E: std::error::Error + Send + Sync + 'static>(
        what: impl Into<String>,
    ) -> impl FnOnce(E) -> Self {
        let what = what.into();
        move |source| Self::Nats { what, source: Box::new(source) }
    }
}

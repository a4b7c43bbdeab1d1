//! Why a part of the stack could not be started or asked.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// Whose fault it is: the set-up's, the part's own, or the operating system's.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something has not been built or installed.
    #[error("{what} is missing at {}: {remedy}", path.display())]
    Missing {
        /// The thing, as one would call it.
        what: &'static str,
        /// The path where it was expected.
        path: PathBuf,
        /// How to fix it.
        remedy: &'static str,
    },
    /// The bridge would not start with a configuration.
    #[error("the bridge cannot use its configuration: {0}")]
    Configuration(String),
    /// A port that was asked for by number belongs to someone else.
    #[error("port {0} is in use")]
    PortInUse(u16),
    /// Every port that may be picked is taken.
    #[error("find a free port from {first} to {last}")]
    NoPort {
        /// Lowest port tried.
        first: u16,
        /// Highest port tried.
        last: u16,
    },
    /// Envoy's configuration was to be edited, and the way in has no Envoy.
    #[error("edit Envoy's configuration where there is no Envoy")]
    NoEnvoy,
    /// The filter could not be started in APISIX's emulated host.
    #[error("start the filter in APISIX's host: {0}")]
    Filter(String),
    /// A Kafka has no listener of this name.
    #[error("find the listener {0}")]
    NoListener(String),
    /// A committed file no longer holds what is to be replaced in it.
    #[error("{} holds {text:?} {count} times where once was expected", file.display())]
    Substitution {
        /// The file.
        file: PathBuf,
        /// The exact text.
        text: String,
        /// How often it stands there.
        count: usize,
    },
    /// A part ended by itself.
    #[error("{part} ended ({status}); its log {}", ends_with(tail))]
    Ended {
        /// Which.
        part: &'static str,
        /// How.
        status: ExitStatus,
        /// The last lines of its log.
        tail: String,
    },
    /// A part runs, but a condition did not come true in time.
    #[error("{part} did not {what} within {} s{detail}", within.as_secs())]
    Late {
        /// Which.
        part: &'static str,
        /// The condition, as a verb: "become ready".
        what: &'static str,
        /// The time that it had.
        within: Duration,
        /// The actual result, beginning with a separator, or nothing.
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
    /// For `map_err`: an I/O error with what was being done.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// For `map_err`: a Kafka error with what was being done.
    pub(crate) fn kafka(what: impl Into<String>) -> impl FnOnce(rdkafka::error::KafkaError) -> Self {
        let what = what.into();
        move |source| Self::Kafka { what, source }
    }
}

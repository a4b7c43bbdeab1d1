//! What went wrong: in words for people, as an exit code for scripts.

use std::error::Error as _;
use std::process::ExitCode;
use std::time::Duration;

use sluicegate_client::{ConnectError, Error};

use crate::stderr::{printable, say};

#[derive(Debug)]
pub(crate) enum Failure {
    Start(std::io::Error),
    Connect(ConnectError),
    Command(Error),
    Output(std::io::Error),
    /// What is to be produced cannot be read.
    Input(String),
    /// A read got no further than `at`, though the log reached to `end` when it began.
    BelowEnd {
        at: i64,
        end: i64,
        within: Duration,
    },
    /// Not every record was acknowledged; which, and why, has been said.
    Unacknowledged,
    /// Whoever read standard output has closed it.
    ReaderGone,
    Interrupted,
}

impl Failure {
    /// Says what failed in a session with `url`, and gives the exit code.
    pub(crate) fn report(&self, url: &str) -> ExitCode {
        match self {
            Self::Start(why) => say(format_args!("sluicegate: failed to start: {why}")),
            Self::Connect(why @ (ConnectError::Url { .. } | ConnectError::Header { .. })) => {
                say(format_args!("sluicegate: failed to {why}"));
            }
            Self::Connect(why) => {
                let cause = match why {
                    ConnectError::Refused { body, .. } => printable(body),
                    why => why.source().map(ToString::to_string).unwrap_or_default(),
                };
                let between = if cause.is_empty() { "" } else { ": " };
                say(format_args!("sluicegate: {url}: failed to {why}{between}{cause}"));
            }
            Self::Command(Error::Command { message, .. }) => {
                say(format_args!("sluicegate: {}", printable(message)));
            }
            Self::Command(why) => {
                say(format_args!("sluicegate: failed to {}", printable(&why.to_string())));
            }
            Self::Output(why) => say(format_args!("sluicegate: failed to write the output: {why}")),
            Self::Input(why) => say(format_args!("sluicegate: failed to read {}", printable(why))),
            Self::BelowEnd { at, end, within } => say(format_args!(
                "sluicegate: failed to read to the log end, {end}: no progress within {within:?}; go on with --from {at}"
            )),
            Self::ReaderGone | Self::Interrupted | Self::Unacknowledged => {}
        }
        ExitCode::from(self.code())
    }

    fn code(&self) -> u8 {
        match self {
            Self::ReaderGone => 0,
            Self::Command(Error::Command { .. }) | Self::BelowEnd { .. } | Self::Unacknowledged => 1,
            Self::Connect(ConnectError::Url { .. } | ConnectError::Header { .. }) | Self::Input(_) => 2,
            Self::Connect(_) | Self::Command(_) | Self::Start(_) => 3,
            Self::Output(_) => 4,
            // As a shell reports a process that SIGINT ended: 128 + 2.
            Self::Interrupted => 130,
        }
    }
}

impl From<Error> for Failure {
    fn from(why: Error) -> Self {
        Self::Command(why)
    }
}

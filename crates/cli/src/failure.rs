//! Errors: a message for people, an exit code for scripts. Ctrl-C is one like any other.

use std::process::ExitCode;
use std::time::Duration;

use sluicegate_client::{ConnectError, Error, Reason, RestError};
use tokio::sync::watch;

use crate::log::Log;
use crate::refusal;
use crate::stderr::{printable, say};

#[derive(Debug)]
pub(crate) enum Failure {
    Start(std::io::Error),
    /// An argument, a variable or the configuration file is invalid.
    Settings(String),
    Connect(ConnectError),
    Command(Error),
    Rest(RestError),
    Admin(AdminError),
    Output(std::io::Error),
    /// The records to produce cannot be read.
    Input(String),
    /// A read stalled at `at`, below the log end at its start.
    Stalled {
        log: Log,
        at: i64,
        end: i64,
        within: Duration,
    },
    /// Records of a producer that nobody can tell the outcome of.
    Untold(String),
    /// Not every record was acknowledged, which has been reported.
    Unacknowledged,
    /// The filter's configuration has mistakes, each with its file and key.
    InvalidRoutes(Vec<String>),
    /// A client is refused or lacks a right, which has been explained.
    Denied,
    /// The reader of standard output has closed it.
    ReaderGone,
    /// Ctrl-C.
    Interrupted,
    /// SIGTERM, where there is something to finish.
    Terminated,
}

impl Failure {
    /// Reports the failure of a command that used `url`, and returns the exit code.
    pub(crate) fn report(&self, url: &str) -> ExitCode {
        match self {
            Self::Start(why) => say(format_args!("sluicegate: failed to start: {why}")),
            Self::Settings(why) => say(format_args!("sluicegate: {}", printable(why))),
            Self::Connect(why) | Self::Rest(RestError::Connect(why)) => report_connect(why, url),
            Self::Command(Error::Command {
                reason,
                message,
                earliest_offset: Some(earliest),
                latest_offset: Some(latest),
                trace_id,
                ..
            }) => {
                let message = refusal::advice(message, *reason);
                let message = format!("{message}; {earliest} to {latest} can be fetched from");
                say(format_args!("sluicegate: {}", printable(&refusal::traced(&message, trace_id))));
            }
            Self::Command(Error::Command { reason, message, trace_id, .. }) => {
                let message = refusal::advice(message, *reason);
                say(format_args!("sluicegate: {}", printable(&refusal::traced(&message, trace_id))));
            }
            Self::Rest(RestError::Problem { status, message, trace_id, .. }) => {
                let message = refusal::advice(message, Reason::Unspecified);
                let message = format!("{message}{}", refusal::longer_than_the_route(*status, url));
                say(format_args!("sluicegate: {}", printable(&refusal::traced(&message, trace_id))));
            }
            Self::Command(why) => {
                say(format_args!("sluicegate: failed to {}", printable(&why.to_string())));
            }
            Self::Rest(why) => {
                let hint = match why {
                    RestError::Refused { status, body } => refusal::hint(*status, body, url),
                    RestError::Lost { .. } => refusal::other_scheme(url),
                    _ => String::new(),
                };
                say(format_args!("sluicegate: {url}: {}", printable(&format!("failed to {why}{hint}"))));
            }
            Self::Admin(why) => {
                say(format_args!("sluicegate: {url}: {}", printable(&format!("failed to {why}"))));
            }
            Self::Output(why) => say(format_args!("sluicegate: failed to write the output: {why}")),
            Self::Untold(why) => say(format_args!("sluicegate: {}", printable(why))),
            Self::Input(why) => say(format_args!("sluicegate: failed to read {}", printable(why))),
            Self::Stalled { log, at, end, within } => say(format_args!(
                "sluicegate: failed to read {log} to its log end {end}: no progress within {within:?}; \
                 continue with {}",
                log.options_from(*at)
            )),
            Self::InvalidRoutes(mistakes) => {
                mistakes.iter().for_each(|mistake| say(format_args!("sluicegate: {}", printable(mistake))));
            }
            Self::ReaderGone | Self::Interrupted | Self::Terminated | Self::Unacknowledged | Self::Denied => {
            }
        }
        ExitCode::from(self.code())
    }

    fn code(&self) -> u8 {
        use ConnectError::{Header, Login, Tls, Url};
        match self {
            Self::ReaderGone => 0,
            Self::Command(
                Error::Command { .. }
                | Error::IsolationUnsupported
                | Error::GroupsUnsupported
                | Error::ProducersUnsupported { .. }
                | Error::CommandUnsupported { .. }
                | Error::TooLarge { .. },
            )
            | Self::Rest(RestError::Problem { .. })
            | Self::Admin(AdminError::Refused { status: 400..=499, .. })
            | Self::Stalled { .. }
            | Self::InvalidRoutes(_)
            | Self::Denied
            | Self::Untold(_)
            | Self::Unacknowledged => 1,
            Self::Connect(Url { .. } | Header { .. } | Tls { .. } | Login(_))
            | Self::Rest(RestError::Connect(Url { .. } | Header { .. } | Tls { .. } | Login(_)))
            | Self::Settings(_)
            | Self::Input(_) => 2,
            Self::Connect(_) | Self::Command(_) | Self::Rest(_) | Self::Admin(_) | Self::Start(_) => 3,
            Self::Output(_) => 4,
            // As a shell reports a process that SIGINT ended: 128 + 2.
            Self::Interrupted => 130,
            // 128 + 15.
            Self::Terminated => 143,
        }
    }
}

fn report_connect(why: &ConnectError, url: &str) {
    match why {
        ConnectError::Url { .. }
        | ConnectError::Header { .. }
        | ConnectError::Tls { .. }
        | ConnectError::Login(_) => {
            say(format_args!("sluicegate: failed to {}", printable(&why.to_string())));
        }
        why => {
            let hint = match why {
                ConnectError::Refused { status, body, .. } => refusal::hint(*status, body, url),
                why if why.suspects_scheme() => refusal::other_scheme(url),
                why if why.suspects_authority() => "; to trust a private CA, use --cacert".to_owned(),
                _ => String::new(),
            };
            say(format_args!("sluicegate: failed to {}", printable(&format!("{why}{hint}"))));
        }
    }
}

impl From<AdminError> for Failure {
    fn from(why: AdminError) -> Self {
        Self::Admin(why)
    }
}

impl From<RestError> for Failure {
    fn from(why: RestError) -> Self {
        Self::Rest(why)
    }
}

impl From<Error> for Failure {
    fn from(why: Error) -> Self {
        Self::Command(why)
    }
}

/// Stays set once a signal has come.
pub(crate) struct Interrupt {
    signal: watch::Receiver<Option<Signal>>,
}

#[derive(Debug, Clone, Copy)]
enum Signal {
    Interrupt,
    Terminate,
}

impl Interrupt {
    /// Handles Ctrl-C from now on, and SIGTERM for a command that `finishes` what it has begun.
    pub(crate) fn watch(finishes: bool) -> Self {
        let (sender, signal) = watch::channel(None);
        tokio::spawn(async move {
            // If a handler cannot be installed, the signal still ends the process.
            let signal = tokio::select! {
                Ok(()) = tokio::signal::ctrl_c() => Signal::Interrupt,
                Some(()) = terminated(), if finishes => Signal::Terminate,
                else => return,
            };
            sender.send_replace(Some(signal));
        });
        Self { signal }
    }

    /// Runs `work` until it is done or a signal comes.
    pub(crate) async fn unless<T>(
        &mut self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            outcome = work => outcome,
            Ok(signal) = self.signal.wait_for(Option::is_some) => Err(match *signal {
                Some(Signal::Terminate) => Failure::Terminated,
                _ => Failure::Interrupted,
            }),
        }
    }
}

#[cfg(unix)]
async fn terminated() -> Option<()> {
    use tokio::signal::unix::{SignalKind, signal};
    signal(SignalKind::terminate()).ok()?.recv().await
}

#[cfg(not(unix))]
async fn terminated() -> Option<()> {
    None
}

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

//! Logging to standard error.

use std::io::IsTerminal;
use std::panic::PanicHookInfo;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Directive;

use crate::config::{LogFormat, Place, Problem};

/// Selects the lines to log.
#[derive(Debug)]
pub struct Filter(EnvFilter);

impl Filter {
    /// The filter in `RUST_LOG`, or `info` without it. Without lines of async-nats, unless the variable names it: the
    /// bridge logs the same itself, with an `event`.
    ///
    /// # Errors
    /// The variable is invalid.
    pub fn from_environment() -> Result<Self, Problem> {
        let problem = |problem| Problem { place: Place::Variable(VARIABLE.to_owned()), problem };
        let text = match std::env::var_os(VARIABLE) {
            None => "info".to_owned(),
            Some(text) => text.into_string().map_err(|_| problem("is not UTF-8".to_owned()))?,
        };
        Self::parse(&text).map_err(problem)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let filter = EnvFilter::try_new(text).map_err(|error| error.to_string())?;
        if text.contains("async_nats") {
            return Ok(Self(filter));
        }
        let quiet = "async_nats=off".parse::<Directive>().map_err(|error| error.to_string())?;
        Ok(Self(filter.add_directive(quiet)))
    }
}

/// Starts logging for the whole process. Lines that cannot be written are dropped.
///
/// # Errors
/// Logging was already started.
pub fn start(format: LogFormat, filter: Filter) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter.0)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && !no_color())
        // Internal errors would be reported with `eprintln!`, which panics if standard error is closed or full.
        .log_internal_errors(false);
    match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => {
            std::panic::set_hook(Box::new(log_panic));
            builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
        }
    }
}

/// A panic as one line; by default it is text of several.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("no message");
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(location, event = "panic", "panic: {message}");
}

/// Logs why the program ends.
pub fn stopped(error: &str) {
    tracing::error!(event = "stopped", "{error}");
}

/// The convention of <https://no-color.org>: set, and not empty.
fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

const VARIABLE: &str = "RUST_LOG";

#[cfg(test)]
mod tests;

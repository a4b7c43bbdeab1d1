//! Logging to standard error.

use std::io::IsTerminal;
use std::panic::PanicHookInfo;

use tracing_subscriber::filter::Directive;
use tracing_subscriber::reload::Handle;
use tracing_subscriber::{EnvFilter, fmt};

use crate::config::{Config, LOG_LEVELS, LogFormat, Place, Problem, is_log_level};

/// Selects the lines to log.
#[derive(Debug)]
pub struct Filter(EnvFilter);

impl Filter {
    /// The filter of a configuration, otherwise the one in `RUST_LOG`.
    ///
    /// # Errors
    /// The filter is invalid.
    pub fn of(config: &Config) -> Result<Self, Problem> {
        let Some(text) = &config.log_level else { return Self::from_environment() };
        let place = Place::Key("log_level".to_owned());
        Self::parse(text).map_err(|problem| Problem { place, problem })
    }

    /// The filter in `RUST_LOG`, or `info` without it.
    ///
    /// # Errors
    /// The variable is invalid.
    pub fn from_environment() -> Result<Self, Problem> {
        let problem = |problem| Problem { place: Place::Variable(VARIABLE.to_owned()), problem };
        let text = match std::env::var_os(VARIABLE) {
            None => "info".to_owned(),
            Some(text) => text.into_string().map_err(|_| problem("is not UTF-8".to_owned()))?,
        };
        if !text.is_empty() && !is_log_level(&text) {
            return Err(problem(format!("is {text:?}, {LOG_LEVELS}")));
        }
        Self::parse(&text).map_err(problem)
    }

    /// Leaves out the lines of async-nats, unless the filter names it: the bridge logs the same itself, with an `event`.
    fn parse(text: &str) -> Result<Self, String> {
        let filter = EnvFilter::try_new(text).map_err(|error| error.to_string())?;
        if text.contains("async_nats") {
            return Ok(Self(filter));
        }
        let quiet = "async_nats=off".parse::<Directive>().map_err(|error| error.to_string())?;
        Ok(Self(filter.add_directive(quiet)))
    }
}

/// The log of the process, whose filter can be replaced.
pub struct Log(Box<dyn Fn(EnvFilter) + Send + Sync>);

impl Log {
    fn of<S: 'static>(handle: Handle<EnvFilter, S>) -> Self {
        // Fails only if there is no log any more.
        Self(Box::new(move |filter| _ = handle.reload(filter)))
    }

    /// Selects other lines.
    pub fn set(&self, filter: Filter) {
        (self.0)(filter.0);
    }
}

/// Starts logging for the whole process. Lines that cannot be written are dropped.
///
/// # Errors
/// Logging was already started.
pub fn start(format: LogFormat, filter: Filter) -> Result<Log, Box<dyn std::error::Error + Send + Sync>> {
    let builder = fmt()
        .with_env_filter(filter.0)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && !no_color())
        // Internal errors would be reported with `eprintln!`, which panics if standard error is closed or full.
        .log_internal_errors(false);
    match format {
        LogFormat::Text => {
            let builder = builder.with_filter_reloading();
            let log = Log::of(builder.reload_handle());
            builder.try_init().map(|()| log)
        }
        LogFormat::Json => {
            std::panic::set_hook(Box::new(log_panic));
            let builder = builder.json().flatten_event(true).with_current_span(false).with_span_list(false);
            let builder = builder.with_filter_reloading();
            let log = Log::of(builder.reload_handle());
            builder.try_init().map(|()| log)
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

//! Log lines, to standard error.

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Starts logging for the whole process. `filter` is what `RUST_LOG` says; without it, `info`.
///
/// # Errors
/// `filter` cannot be read, or logging has been started before.
pub fn start(
    format: LogFormat,
    filter: Option<&str>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let filter = EnvFilter::try_new(filter.unwrap_or("info"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    }
}

//! Standard output takes payload and nothing else, standard error everything else.

use std::fmt::Display;
use std::io::{ErrorKind, Write as _};

use tokio::io::AsyncWriteExt;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::time::uptime;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::failure::Failure;

/// Writes whole chunks without blocking the session, which must answer pings even while a pager does not read.
pub(crate) struct Stdout {
    inner: tokio::io::Stdout,
}

impl Stdout {
    pub(crate) fn new() -> Self {
        Self { inner: tokio::io::stdout() }
    }

    /// Writes and flushes `bytes`.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.try_write(bytes).await.map_err(|why| match why.kind() {
            ErrorKind::BrokenPipe => Failure::ReaderGone,
            _ => Failure::Output(why),
        })
    }

    async fn try_write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.inner.write_all(bytes).await?;
        self.inner.flush().await
    }
}

/// Writes a line. Errors are ignored: there is no other place to report them.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Writes the debug log of this program and its client to standard error, with the time since the start. Libraries are
/// left out: they log header values.
pub(crate) fn show_debug_log() {
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_timer(uptime())
        .with_ansi(false)
        .with_level(false)
        .with_target(false);
    let ours = Targets::new().with_target("sluicegate", Level::DEBUG);
    tracing_subscriber::registry().with(lines).with(ours).init();
}

/// `text` without control characters, which would let a server control the terminal.
pub(crate) fn printable(text: &str) -> String {
    let shown: String = text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    shown.trim().to_owned()
}

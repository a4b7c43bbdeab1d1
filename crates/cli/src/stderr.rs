//! Standard error: everything but payload.

use std::fmt::Display;
use std::io::Write as _;

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::time::uptime;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

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

//! The progress line of a long read or write.

use std::fmt::Display;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

/// Appears on standard error after a second, and is wiped when dropped.
pub(crate) struct Progress {
    /// Total steps, if known.
    total: Option<u64>,
    /// The formats with a total and without.
    templates: [&'static str; 2],
    start: Instant,
    wanted: bool,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Progress in messages. Draws nothing unless standard error is a terminal and standard output is not: there, the
    /// messages show the progress.
    pub(crate) fn new(total: Option<u64>, quiet: bool) -> Self {
        Self::unless(quiet || std::io::stdout().is_terminal(), total, MESSAGES)
    }

    /// Progress in bytes of an input. A command that `prints` on a terminal draws nothing.
    pub(crate) fn of_input(total: Option<u64>, quiet: bool, prints: bool) -> Self {
        Self::unless(quiet || prints && std::io::stdout().is_terminal(), total, BYTES)
    }

    fn unless(unwanted: bool, total: Option<u64>, templates: [&'static str; 2]) -> Self {
        let wanted = !unwanted && std::io::stderr().is_terminal();
        Self { total, templates, start: Instant::now(), wanted, bar: None }
    }

    /// Shows `done` of the total, and a detail.
    pub(crate) fn at(&mut self, done: u64, detail: impl Display) {
        if self.wanted && self.bar.is_none() && self.start.elapsed() >= LONG {
            self.bar = Some(self.bar().with_elapsed(self.start.elapsed()));
        }
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            bar.set_message(detail.to_string());
        }
    }

    fn bar(&self) -> ProgressBar {
        let [with_total, without] = self.templates;
        let template = if self.total.is_some() { with_total } else { without };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        ProgressBar::with_draw_target(self.total, ProgressDrawTarget::stderr())
            .with_style(style)
            .with_finish(ProgressFinish::AndClear)
    }

    /// Prints with `say` without garbling the line.
    pub(crate) fn suspend(&self, say: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(say),
            None => say(),
        }
    }
}

const MESSAGES: [&str; 2] = [
    "[{wide_bar}] {percent}% {human_pos}/{human_len} {per_sec} {msg} eta {eta}",
    "{spinner} {human_pos} {per_sec} {msg}",
];
const BYTES: [&str; 2] = [
    "[{wide_bar}] {percent}% {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {msg} eta {eta}",
    "{spinner} {binary_bytes} {binary_bytes_per_sec} {msg}",
];
/// Shorter commands have no progress line.
const LONG: Duration = Duration::from_secs(1);

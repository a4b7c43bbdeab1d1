//! The progress line of a long read or write.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

/// Draws on standard error once a read turns out to be long, and wipes the line when dropped.
pub(crate) struct Progress {
    /// Steps to go in all, where they are known.
    total: Option<u64>,
    start: Instant,
    wanted: bool,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Draws nothing where standard error is no terminal, nor where standard output is one: there, the payload is
    /// the progress.
    pub(crate) fn new(total: Option<u64>, quiet: bool) -> Self {
        Self::unless(total, quiet || std::io::stdout().is_terminal())
    }

    /// As [`new`](Self::new), for what prints nothing on standard output.
    pub(crate) fn of_input(total: Option<u64>, quiet: bool) -> Self {
        Self::unless(total, quiet)
    }

    fn unless(total: Option<u64>, unwanted: bool) -> Self {
        let wanted = !unwanted && std::io::stderr().is_terminal();
        Self { total, start: Instant::now(), wanted, bar: None }
    }

    /// `done` of the total, and `bytes` of payload so far.
    pub(crate) fn at(&mut self, done: u64, bytes: u64) {
        if self.wanted && self.bar.is_none() && self.start.elapsed() >= LONG {
            self.bar = Some(bar(self.total).with_elapsed(self.start.elapsed()));
        }
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            bar.set_message(indicatif::BinaryBytes(bytes).to_string());
        }
    }

    /// Says something without tearing the line.
    pub(crate) fn suspend(&self, say: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(say),
            None => say(),
        }
    }
}

fn bar(total: Option<u64>) -> ProgressBar {
    let template = match total {
        Some(_) => "[{wide_bar}] {percent}% {human_pos}/{human_len} {per_sec} {msg} eta {eta}",
        None => "{spinner} {human_pos} {per_sec} {msg}",
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr())
        .with_style(style)
        .with_finish(ProgressFinish::AndClear)
}

/// A shorter read needs no progress line.
const LONG: Duration = Duration::from_secs(1);

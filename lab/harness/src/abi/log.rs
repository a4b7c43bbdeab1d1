//! The module's log: `proxy_log`, standard output and standard error.

/// proxy-wasm's log levels, in the order of their numbers from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Trace,
    Debug,
    /// The level of standard output.
    Info,
    Warn,
    /// The level of standard error.
    Error,
    Critical,
}

impl Level {
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error, Self::Critical]
            .get(number as usize)
            .copied()
    }
}

/// One line of the log. Bytes that are not UTF-8 are replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    pub level: Level,
    /// Without the prefix that Envoy adds.
    pub text: String,
}

/// The lines so far, the first [`MAX_LINES`] of them.
#[derive(Default)]
pub(crate) struct Log(Vec<LogLine>);

impl Log {
    pub(crate) fn push(&mut self, level: Level, text: &[u8]) {
        if self.0.len() < MAX_LINES {
            let text = text.get(..MAX_LINE_BYTES).unwrap_or(text);
            self.0.push(LogLine { level, text: String::from_utf8_lossy(text).into_owned() });
        }
    }

    pub(crate) fn lines(&self) -> &[LogLine] {
        &self.0
    }
}

/// Lines kept, in case a module logs in an endless loop. With [`MAX_LINE_BYTES`], at most 640 MiB.
const MAX_LINES: usize = 10_000;

/// Longer lines are truncated.
const MAX_LINE_BYTES: usize = 64 * 1024;

//! The file of the audit log, and the thread that writes to it.

use std::fs;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;

use prometheus_client::metrics::counter::Counter;

use super::Message;
use crate::rate_limit::RateLimit;

/// An open file.
pub(super) struct File {
    path: PathBuf,
    file: fs::File,
    /// Whether it ends within a line: the rest could not be written.
    is_torn: bool,
    dropped: Counter,
    warnings: RateLimit,
}

impl File {
    /// Opens a file for appending.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(super) fn open(path: &Path, dropped: Counter) -> io::Result<Self> {
        let (path, file) = (path.to_owned(), append(path)?);
        Ok(Self { path, file, is_torn: false, dropped, warnings: RateLimit::default() })
    }

    /// Writes lines until no sender is left.
    pub(super) fn write_all(mut self, messages: &Receiver<Message>) {
        for message in messages {
            match message {
                Message::Line(line, place) => {
                    self.write(&line);
                    drop(place);
                }
                Message::Reopen => match append(&self.path) {
                    Ok(file) => (self.file, self.is_torn) = (file, false),
                    Err(error) => self.failed(&error),
                },
                // Nobody waits any more.
                Message::Flush(done) => _ = done.send(()),
            }
        }
    }

    fn write(&mut self, line: &[u8]) {
        let separator: &[u8] = if self.is_torn { b"\n" } else { b"" };
        let written = self.file.write_all(separator).and_then(|()| self.file.write_all(line));
        self.is_torn = written.is_err();
        if let Err(error) = written {
            self.dropped.inc();
            self.failed(&error);
        }
    }

    fn failed(&self, error: &io::Error) {
        if self.warnings.is_due("audit") {
            let file = self.path.display();
            tracing::error!(%file, %error, event = "audit_failed", "audit log cannot be written, lines are lost");
        }
    }
}

/// The standard streams are inherited: in a container, their paths often cannot be opened.
fn append(path: &Path) -> io::Result<fs::File> {
    let inherited = match path.to_str() {
        Some("/dev/stdout") => io::stdout().as_fd().try_clone_to_owned()?,
        Some("/dev/stderr") => io::stderr().as_fd().try_clone_to_owned()?,
        _ => return fs::OpenOptions::new().append(true).create(true).mode(MODE).open(path),
    };
    Ok(inherited.into())
}

/// Lines name people: only the owner and its group read them.
const MODE: u32 = 0o640;

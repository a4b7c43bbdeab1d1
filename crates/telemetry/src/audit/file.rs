//! The file of the audit log, and the thread that writes to it.

use std::borrow::Cow;
use std::fs;
use std::io::{self, Write};
use std::mem;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;

use prometheus_client::metrics::counter::Counter;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::Message;
use crate::rate_limit::RateLimit;

/// An open file.
pub(super) struct File {
    path: PathBuf,
    file: fs::File,
    /// Whether it ends within a line: the rest could not be written.
    pub(super) is_torn: bool,
    dropped: Counter,
    /// Whether the last line could not be written.
    fails: Arc<AtomicBool>,
    warnings: RateLimit,
    /// Whether the log says that it fails, and not yet that it is over.
    is_told: bool,
}

impl File {
    /// Opens a file for appending.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(super) fn open(path: &Path, dropped: Counter) -> io::Result<Self> {
        let (path, file) = (path.to_owned(), append(path)?);
        let (fails, warnings) = (Arc::default(), RateLimit::default());
        Ok(Self { path, file, is_torn: false, dropped, fails, warnings, is_told: false })
    }

    /// Whether the last line could not be written, now and later.
    pub(super) fn fails(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.fails)
    }

    /// Writes lines until no sender is left.
    pub(super) fn write_all(mut self, messages: &Receiver<Message>) {
        for message in messages {
            match message {
                Message::Line(line, place) => {
                    self.write(&line);
                    drop(place);
                }
                Message::Reopen => self.reopen(),
                // Nobody waits any more.
                Message::Flush(done) => _ = done.send(!self.fails.load(Ordering::Relaxed)),
            }
        }
    }

    pub(super) fn write(&mut self, line: &[u8]) {
        let line = match self.is_torn {
            true => Cow::Owned([b"\n", line].concat()),
            false => Cow::Borrowed(line),
        };
        let mut rest = &*line;
        let written = write_all(&mut self.file, &mut rest);
        match rest.len() {
            0 => self.is_torn = false,
            left if left < line.len() => self.is_torn = true,
            _ => {}
        }
        self.fails.store(written.is_err(), Ordering::Relaxed);
        let file = self.path.display();
        if let Err(error) = written {
            self.dropped.inc();
            if self.warnings.is_due("write") {
                self.is_told = true;
                tracing::error!(%file, %error, event = "audit_failed", "audit log cannot be written, lines are lost");
            }
        } else if mem::take(&mut self.is_told) {
            tracing::info!(%file, event = "audit_recovered", "audit log is written again");
        }
    }

    fn reopen(&mut self) {
        match append(&self.path) {
            Ok(file) => {
                self.is_torn &= file.metadata().is_ok_and(|file| file.len() > 0);
                self.file = file;
            }
            Err(error) => {
                let file = self.path.display();
                tracing::error!(
                    %file,
                    %error,
                    event = "audit_not_reopened",
                    "audit log cannot be opened anew, the open file stays in use"
                );
            }
        }
    }
}

/// Writes `rest`, which is what was not written in the end.
fn write_all(file: &mut fs::File, rest: &mut &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        match file.write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => *rest = rest.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The standard streams are inherited: in a container, their paths often cannot be opened.
fn append(path: &Path) -> io::Result<fs::File> {
    let inherited = match path.to_str() {
        Some("/dev/stdout") => io::stdout().as_fd().try_clone_to_owned()?,
        Some("/dev/stderr") => io::stderr().as_fd().try_clone_to_owned()?,
        _ => {
            // Opening a pipe that nobody reads fails, instead of waiting for a reader.
            let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
            let file = fs::OpenOptions::new()
                .append(true)
                .create(true)
                .mode(MODE)
                .custom_flags(nonblocking)
                .open(path)?;
            fcntl_setfl(&file, fcntl_getfl(&file)?.difference(OFlags::NONBLOCK))?;
            return Ok(file);
        }
    };
    Ok(inherited.into())
}

/// Lines name people: only the owner and its group read them.
const MODE: u32 = 0o640;

//! Captures the log of this process.

use std::io;
use std::net::SocketAddr;
use std::sync::{LazyLock, Mutex};

static TEXT: LazyLock<&'static Mutex<Vec<u8>>> = LazyLock::new(|| {
    let text: &'static Mutex<Vec<u8>> = Box::leak(Box::default());
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_ansi(false)
        .with_writer(move || Writer(text))
        .finish();
    tracing::subscriber::set_global_default(subscriber).expect("the only one");
    text
});

/// Captures all lines at `info` and above from now on.
///
/// To be called before anything logs: a statement that is reached before there is a subscriber can stay disabled.
pub(crate) fn capture() {
    LazyLock::force(&TEXT);
}

/// The lines since it was made.
pub(crate) struct Log {
    start: usize,
}

impl Log {
    pub(crate) fn start() -> Self {
        Self { start: TEXT.lock().expect("no panic").len() }
    }

    /// The lines about one broker since the last call, as level and message.
    pub(crate) fn of(&mut self, broker: SocketAddr) -> Vec<String> {
        let text = TEXT.lock().expect("no panic");
        let since = std::mem::replace(&mut self.start, text.len());
        let text = std::str::from_utf8(&text[since..]).expect("text");
        let about = format!("broker={broker}");
        let lines = text.lines().filter(|line| line.contains(&about));
        lines.map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")).collect()
    }
}

struct Writer(&'static Mutex<Vec<u8>>);

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

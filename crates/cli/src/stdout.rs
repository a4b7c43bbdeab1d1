//! Standard output: payload, and nothing else.

use std::io::ErrorKind;

use tokio::io::AsyncWriteExt;

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

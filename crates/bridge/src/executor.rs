//! Tasks of HTTP/2 streams, with a way to give a stream up.
//!
//! A stream whose peer takes no more bytes is held by tasks of the HTTP library that wait for the peer, for as long as
//! the connection stands. Each stream's tasks therefore share a token that ends them: the stream is then reset and what
//! it buffered is freed.

use tokio_util::sync::CancellationToken;

/// Spawns what belongs to one stream: its request, its response's body, its upgraded bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamExecutor;

impl<F> hyper::rt::Executor<F> for StreamExecutor
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, task: F) {
        // A task that a stream's task starts belongs to the same stream.
        let stream = current().unwrap_or_default();
        let ended = stream.clone();
        tokio::spawn(STREAM.scope(stream, async move {
            tokio::select! {
                biased;
                () = ended.cancelled() => {}
                _ = task => {}
            }
        }));
    }
}

/// The token that ends the stream whose task is running.
pub(crate) fn current() -> Option<CancellationToken> {
    STREAM.try_with(CancellationToken::clone).ok()
}

tokio::task_local! {
    static STREAM: CancellationToken;
}

//! Runs the tasks of HTTP/2 streams, so that a stream can be reset.
//!
//! If a stream's peer stops reading, the HTTP library's tasks wait for it as long as the connection stays open. The
//! tasks of a stream therefore share a token that ends them, which resets the stream and frees its buffers.

use tokio_util::sync::CancellationToken;

/// Spawns the tasks of one stream: its request, its response body, its upgraded bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamExecutor;

impl<F> hyper::rt::Executor<F> for StreamExecutor
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, task: F) {
        // Tasks spawned by a stream's task belong to the same stream.
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

/// The token that ends the current task's stream.
pub(crate) fn current() -> Option<CancellationToken> {
    STREAM.try_with(CancellationToken::clone).ok()
}

tokio::task_local! {
    static STREAM: CancellationToken;
}

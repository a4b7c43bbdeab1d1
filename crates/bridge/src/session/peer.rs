//! Reads from a session's peer, and notices when it leaves.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};

/// Inbound bytes, cut anywhere.
pub(super) type Input = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// The peer left: it accepts no more output.
#[derive(Debug)]
pub(super) struct Disconnected;

/// Polls `step` to completion while reading and discarding input: unread input could harm other streams (see
/// [`Overload::CloseSession`](super::Overload::CloseSession)). Sets `left` at the end of the input, and does not read
/// if it is already set.
pub(super) async fn read_meanwhile<T>(
    input: &mut Input,
    left: &mut bool,
    mut step: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> T {
    loop {
        tokio::task::consume_budget().await;
        let done = std::future::poll_fn(|cx| {
            if let Poll::Ready(done) = step(cx) {
                return Poll::Ready(Some(done));
            }
            if !*left && let Poll::Ready(read) = input.as_mut().poll_next(cx) {
                *left = !matches!(read, Some(Ok(_)));
                return Poll::Ready(None);
            }
            Poll::Pending
        });
        if let Some(done) = done.await {
            return done;
        }
    }
}

/// Reads and discards input until it ends.
pub(super) async fn read_to_end(input: &mut Input) {
    while let Some(Ok(_)) = input.next().await {}
}

//! Reads from a session's peer, and notices when it leaves.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::task::coop::poll_proceed;

/// Inbound bytes, cut anywhere.
pub(super) type Input = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// The input from `io`, each read turned into a chunk by `chunk`. An input without memory of its own between reads.
pub(super) fn chunks(
    io: impl AsyncRead + Send + 'static,
    mut chunk: impl FnMut(&mut [u8]) -> Option<Bytes> + Send + 'static,
) -> Input {
    let mut io = Box::pin(io);
    Box::pin(stream::poll_fn(move |cx| {
        let mut space = [const { MaybeUninit::uninit() }; READ_BYTES];
        let mut read = ReadBuf::uninit(&mut space);
        if let Err(error) = ready!(io.as_mut().poll_read(cx, &mut read)) {
            return Poll::Ready(Some(Err(error)));
        }
        match read.filled_mut() {
            [] => Poll::Ready(None),
            bytes => {
                charge(cx, bytes.len());
                Poll::Ready(chunk(bytes).map(Ok))
            }
        }
    }))
}

/// Counts a read as what it can cost the task: other tasks have their turn after each one of [`READ_BYTES`], in which
/// tiny frames fit by the thousand.
fn charge(cx: &mut Context<'_>, bytes: usize) {
    for _ in 0..bytes / UNIT_BYTES {
        let Poll::Ready(unit) = poll_proceed(cx) else { return };
        unit.made_progress();
    }
}

/// Bytes of a unit of a task's turn, of which tokio gives it 128.
const UNIT_BYTES: usize = READ_BYTES / 128;

/// Bytes per read, on the stack: an idle session's input costs no memory.
pub(super) const READ_BYTES: usize = 16 * 1024;

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

//! A session's input: reads from its peer, which notice when it leaves, and gRPC messages, assembled from what was read.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};
use sluicegate_protocol::grpc::{self, HEAD_LEN};
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

/// Assembles length-prefixed messages (gRPC over HTTP/2, "Length-Prefixed-Message").
///
/// Memory per session, at most: one unfinished message of the maximum size, doubled by the growth of its buffer, and
/// one chunk of input.
#[derive(Debug)]
pub(super) struct Frames {
    /// Input that was not parsed yet.
    chunk: Bytes,
    /// The bytes that a message of this chunk keeps in memory if it is not copied.
    chunk_len: usize,
    /// The start of a message that spans chunks, including its head.
    partial: BytesMut,
    max: usize,
}

impl Frames {
    /// Accepts messages of at most `max` bytes.
    pub(super) fn new(max: usize) -> Self {
        Self { chunk: Bytes::new(), chunk_len: 0, partial: BytesMut::new(), max }
    }

    /// Appends input. Call it only after [`next`](Self::next) returned `None`.
    pub(super) fn push(&mut self, chunk: Bytes) {
        debug_assert!(self.chunk.is_empty(), "earlier input is not used up");
        self.chunk_len = chunk.len();
        self.chunk = chunk;
    }

    /// The next whole message, without its head. A message that is most of a chunk is not copied; others are, because
    /// they can wait for long, and would keep the whole chunk.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        if self.partial.is_empty() {
            if let Some(len) = message_len(&self.chunk, self.max)?
                && let Some(end) = HEAD_LEN.checked_add(len)
                && self.chunk.len() >= end
            {
                self.chunk.advance(HEAD_LEN);
                let message = self.chunk.split_to(len);
                let is_most = len >= self.chunk_len / 2;
                return Ok(Some(if is_most { message } else { Bytes::copy_from_slice(&message) }));
            }
        } else if self.partial.len() < HEAD_LEN {
            self.fill(HEAD_LEN);
        }
        if let Some(len) = message_len(&self.partial, self.max)? {
            self.fill(HEAD_LEN.saturating_add(len));
            if self.partial.len() == HEAD_LEN.saturating_add(len) {
                let mut message = std::mem::take(&mut self.partial).freeze();
                message.advance(HEAD_LEN);
                return Ok(Some(message));
            }
        } else {
            self.fill(HEAD_LEN);
            if self.partial.len() == HEAD_LEN {
                return self.next();
            }
        }
        Ok(None)
    }

    /// Moves input to the unfinished message, up to `target` bytes.
    fn fill(&mut self, target: usize) {
        let missing = target.saturating_sub(self.partial.len()).min(self.chunk.len());
        self.partial.extend_from_slice(&self.chunk.split_to(missing));
    }
}

/// The messages in the pieces of an input up to the first mistake, and that mistake.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn messages(pieces: &[&[u8]], max: usize) -> (Vec<Bytes>, Result<(), FrameError>) {
    let (mut frames, mut messages) = (Frames::new(max), Vec::new());
    for piece in pieces {
        frames.push(Bytes::copy_from_slice(piece));
        loop {
            match frames.next() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Err(error)),
            }
        }
    }
    (messages, Ok(()))
}

/// Why a session's input is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    /// The head announces a message beyond the limit.
    #[error("message of {len} bytes exceeds the limit of {max}")]
    TooLarge { len: usize, max: usize },
    /// The message is compressed.
    #[error("compressed message, but no compression was negotiated")]
    Compressed,
}

/// The length in the head of `bytes`; None if the head is incomplete.
fn message_len(bytes: &[u8], max: usize) -> Result<Option<usize>, FrameError> {
    let Some(head) = bytes.first_chunk::<HEAD_LEN>() else { return Ok(None) };
    let len = grpc::message_len(*head).map_err(|_| FrameError::Compressed)?;
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    if len > max {
        return Err(FrameError::TooLarge { len, max });
    }
    Ok(Some(len))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(messages: &[&[u8]]) -> Vec<u8> {
        let head = |m: &&[u8]| grpc::head(u32::try_from(m.len()).unwrap());
        messages.iter().flat_map(|m| [&head(m)[..], m].concat()).collect()
    }

    fn read(chunks: &[&[u8]], max: usize) -> Result<Vec<Bytes>, FrameError> {
        let (messages, end) = messages(chunks, max);
        end.map(|()| messages)
    }

    #[track_caller]
    fn check(messages: &[&[u8]]) {
        let wire = framed(messages);
        for cut in 0..=wire.len() {
            let (head, tail) = wire.split_at(cut);
            assert_eq!(read(&[head, tail], 64).unwrap(), messages, "cut at byte {cut}");
        }
        let bytes: Vec<&[u8]> = wire.chunks(1).collect();
        assert_eq!(read(&bytes, 64).unwrap(), messages, "byte by byte");
    }

    #[test]
    fn messages_cut_anywhere_are_assembled() {
        check(&[]);
        check(&[b""]);
        check(&[b"one"]);
        check(&[b"one", b"", b"three", &[7; 64]]);
    }

    #[test]
    fn message_is_refused_by_its_head() {
        for (head, error) in [
            (grpc::head(65), FrameError::TooLarge { len: 65, max: 64 }),
            ([1, 0, 0, 0, 0], FrameError::Compressed),
        ] {
            for cut in 0..head.len() {
                let (begin, end) = head.split_at(cut);
                assert_eq!(read(&[begin, end], 64), Err(error));
            }
        }
    }

    #[test]
    fn message_keeps_no_more_than_twice_its_size() {
        let (small, large) = (&[1; 100][..], &[2; 1_000][..]);
        for messages in [&[small, large, small][..], &[large, small], &[small; 50], &[large]] {
            let chunk = Bytes::from(framed(messages));
            let held = chunk.as_ptr_range();
            let mut frames = Frames::new(1_000);
            frames.push(chunk.clone());
            while let Some(message) = frames.next().unwrap() {
                let (is_shared, len) = (held.contains(&message.as_ptr()), message.len());
                assert_eq!(is_shared, 2 * len >= chunk.len(), "{len} of {}", chunk.len());
            }
        }
    }
}

//! The ways in which a session's bytes travel, behind one set of calls.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::TryStreamExt;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::ReaderStream;
use tokio_util::sync::{PollSender, WaitForCancellationFutureOwned};

use super::body::{self, SessionBody};
use super::outbox::{Outbox, Write};
use super::peer::{Gone, Input};
use super::websocket::{Answers, Client};
use crate::cluster::Cluster;

/// A session's bytes, in and out.
pub(crate) struct Transport {
    pub(super) input: Input,
    pub(super) output: Output,
    pub(super) hold: Hold,
}

/// How a peer that sends too much is held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    /// By not reading: it is alone on its connection, or pads what it sends on a shared one.
    Unread,
    /// Not at all: its unread DATA frames may be so short that HTTP/2's library would end the connection, and with it the
    /// sessions of others. It is always read, and its session is closed above a bound.
    Closed,
}

impl Transport {
    /// Over an upgraded stream.
    pub(crate) fn stream(io: impl AsyncRead + AsyncWrite + Send + 'static, hold: Hold) -> Self {
        let (read, write) = tokio::io::split(io);
        Self {
            input: Box::pin(ReaderStream::with_capacity(read, READ_BYTES)),
            output: Output::Stream { io: Box::pin(write), write: None },
            hold,
        }
    }

    /// Over the body of a request and that of its response, which is returned.
    pub(crate) fn bodies<B>(request: B, hold: Hold) -> (Self, SessionBody)
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let (writes, dropped, body) = body::channel();
        let input = request.into_data_stream().map_err(io::Error::other);
        let dropped = Box::pin(dropped.cancelled_owned());
        (Self { input: Box::pin(input), output: Output::Body { writes, dropped }, hold }, body)
    }

    /// Over a client's own WebSocket connection to `cluster`, with `session` in between.
    pub(crate) fn websocket(
        io: impl AsyncRead + AsyncWrite + Send + 'static,
        session: sluicegate_ws_session::Session,
        cluster: Arc<Cluster>,
    ) -> Self {
        let (read, write) = tokio::io::split(io);
        let client = Client::new(session);
        let input = client.requests(read, cluster);
        Self { input, output: Output::WebSocket(Answers::new(client, write)), hold: Hold::Unread }
    }
}

/// Where answers go.
pub(super) enum Output {
    Stream { io: Pin<Box<dyn AsyncWrite + Send>>, write: Option<Write> },
    Body { writes: PollSender<Write>, dropped: Pin<Box<WaitForCancellationFutureOwned>> },
    WebSocket(Answers),
}

impl Output {
    /// Hands the transport as much as it takes of what is ready. Pending where it takes nothing, or nothing is ready.
    pub(super) fn poll_progress(
        &mut self,
        cx: &mut Context<'_>,
        outbox: &mut Outbox,
    ) -> Poll<Result<(), Gone>> {
        match self {
            Self::Stream { io, write: current } => {
                let Some(mut write) = current.take().or_else(|| outbox.pop()) else { return Poll::Pending };
                let len = write.bytes.len().min(MAX_WRITE);
                let polled = io.as_mut().poll_write(cx, write.bytes.get(..len).unwrap_or_default());
                if let Poll::Ready(Ok(taken)) = polled {
                    write.bytes.advance(taken);
                }
                if write.bytes.has_remaining() {
                    *current = Some(write);
                }
                match ready!(polled) {
                    Ok(taken) if taken > 0 => Poll::Ready(Ok(())),
                    _ => Poll::Ready(Err(Gone)),
                }
            }
            Self::Body { writes, .. } => {
                if outbox.is_empty() {
                    return Poll::Pending;
                }
                ready!(writes.poll_reserve(cx)).map_err(|_| Gone)?;
                match outbox.pop() {
                    Some(write) => Poll::Ready(writes.send_item(write).map_err(|_| Gone)),
                    None => Poll::Pending,
                }
            }
            Self::WebSocket(answers) => answers.poll_progress(cx, outbox),
        }
    }

    /// Everything taken from the outbox is with the transport.
    pub(super) fn is_idle(&self) -> bool {
        match self {
            Self::Stream { write, .. } => write.is_none(),
            Self::Body { .. } => true,
            Self::WebSocket(answers) => answers.is_idle(),
        }
    }

    /// Whether the peer is known to be gone, asked without input or output to tell it. An upgraded stream gives no notice
    /// of that: it must be asked.
    pub(super) fn is_gone(&mut self, cx: &mut Context<'_>) -> bool {
        match self {
            Self::Stream { io, .. } => matches!(io.as_mut().poll_flush(cx), Poll::Ready(Err(_))),
            Self::Body { .. } => self.poll_gone(cx).is_ready(),
            Self::WebSocket(answers) => matches!(answers.poll_flush(cx), Poll::Ready(Err(_))),
        }
    }

    /// Ready once the peer is known to take no more output. An upgraded stream and a WebSocket tell it through their input.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Stream { .. } | Self::WebSocket(_) => Poll::Pending,
            Self::Body { dropped, .. } => dropped.as_mut().poll(cx),
        }
    }

    /// Whether a proxy may take the end of the output for the end of the input, too: it is a response's.
    pub(super) fn ends_both_sides(&self) -> bool {
        matches!(self, Self::Body { .. })
    }

    /// Ends the output. Ready when the transport has all of it.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            // An error says that the peer left: there is nothing to end then.
            Self::Stream { io, .. } => io.as_mut().poll_shutdown(cx).map(drop),
            Self::WebSocket(answers) => answers.poll_shutdown(cx).map(drop),
            Self::Body { writes, dropped } => {
                writes.close();
                dropped.as_mut().poll(cx)
            }
        }
    }
}

/// Read at once from an upgraded stream; what an idle session's input costs.
const READ_BYTES: usize = 4 * 1024;

/// Given at once to an upgraded stream, which copies it and queues up to four of them: one HTTP/2 DATA frame of the
/// default size each. Four times as much made no difference that could be measured.
const MAX_WRITE: usize = 16 * 1024;

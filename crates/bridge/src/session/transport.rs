//! A session's transports, behind one interface.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_channel::mpsc;
use futures_util::TryStreamExt;
use http_body::Body;
use http_body_util::BodyExt;
use sluicegate_delivery::grant::Grant;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::body::{self, SessionBody};
use super::input::{self, Disconnected, Input};
use super::outbox::{Outbox, Write};
use super::websocket::{Answers, Client};

/// A session's input and output.
pub(crate) struct Transport {
    pub(super) input: Input,
    pub(super) output: Output,
    pub(super) overload: Overload,
    /// The largest message that the gateway accepts from the client, in bytes.
    pub(super) gateway_max_bytes: Option<usize>,
}

/// The reaction to a peer that sends more than the session can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overload {
    /// Stop reading. For peers that have a connection of their own, or pad their messages on a shared one.
    StopReading,
    /// Keep reading, and close the session above a bound. Unread DATA frames of this peer can be so short that the
    /// HTTP/2 library would close the connection, and with it the sessions of others.
    CloseSession,
}

impl Transport {
    /// Over an upgraded stream.
    pub(crate) fn stream(io: impl AsyncRead + AsyncWrite + Send + 'static, overload: Overload) -> Self {
        let (read, write) = tokio::io::split(io);
        Self {
            input: input::chunks(read, |bytes| Some(Bytes::copy_from_slice(bytes))),
            output: Output::Stream { io: Box::pin(write), write: None },
            overload,
            gateway_max_bytes: None,
        }
    }

    /// Over the bodies of a request and its response. Returns the latter.
    pub(crate) fn bodies<B>(request: B, overload: Overload) -> (Self, SessionBody)
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let (writes, dropped, body) = body::channel();
        let input = request.into_data_stream().map_err(io::Error::other);
        let dropped = Box::pin(dropped.cancelled_owned());
        let output = Output::Body { writes, dropped };
        (Self { input: Box::pin(input), output, overload, gateway_max_bytes: None }, body)
    }

    /// Over a client's own WebSocket connection, with `session` in between. `grant` has the metrics of its frames.
    pub(crate) fn websocket(
        io: impl AsyncRead + AsyncWrite + Send + 'static,
        session: sluicegate_ws_session::Session,
        grant: Grant,
    ) -> Self {
        let (read, write) = tokio::io::split(io);
        let client = Client::new(session);
        let input = client.requests(read, grant);
        Self {
            input,
            output: Output::WebSocket(Answers::new(client, write)),
            overload: Overload::StopReading,
            gateway_max_bytes: None,
        }
    }

    /// Behind a gateway that accepts no larger message from the client; None: it did not say.
    pub(crate) fn behind(self, gateway_max_bytes: Option<usize>) -> Self {
        Self { gateway_max_bytes, ..self }
    }
}

/// The transport's side for answers.
pub(super) enum Output {
    Stream { io: Pin<Box<dyn AsyncWrite + Send>>, write: Option<Write> },
    Body { writes: mpsc::Sender<Write>, dropped: Pin<Box<WaitForCancellationFutureOwned>> },
    WebSocket(Answers),
}

impl Output {
    /// Writes as much ready output as the transport takes. Pending if it takes none, or none is ready.
    pub(super) fn poll_progress(
        &mut self,
        cx: &mut Context<'_>,
        outbox: &mut Outbox,
    ) -> Poll<Result<(), Disconnected>> {
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
                    _ => Poll::Ready(Err(Disconnected)),
                }
            }
            Self::Body { writes, .. } => {
                if outbox.is_empty() {
                    return Poll::Pending;
                }
                ready!(writes.poll_ready(cx)).map_err(|_| Disconnected)?;
                match outbox.pop() {
                    Some(write) => Poll::Ready(writes.start_send(write).map_err(|_| Disconnected)),
                    None => Poll::Pending,
                }
            }
            Self::WebSocket(answers) => answers.poll_progress(cx, outbox),
        }
    }

    /// Whether the transport has everything that was taken from the outbox.
    pub(super) fn is_idle(&self) -> bool {
        match self {
            Self::Stream { write, .. } => write.is_none(),
            Self::Body { .. } => true,
            Self::WebSocket(answers) => answers.is_idle(),
        }
    }

    /// Whether the peer is known to be gone. An upgraded stream only tells when asked, unless it is read or written.
    pub(super) fn is_gone(&mut self, cx: &mut Context<'_>) -> bool {
        match self {
            Self::Stream { io, .. } => matches!(io.as_mut().poll_flush(cx), Poll::Ready(Err(_))),
            Self::Body { .. } => self.poll_gone(cx).is_ready(),
            Self::WebSocket(answers) => matches!(answers.poll_flush(cx), Poll::Ready(Err(_))),
        }
    }

    /// Ready once the peer is known to take no more output. For an upgraded stream or a WebSocket, the input tells.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Stream { .. } | Self::WebSocket(_) => Poll::Pending,
            Self::Body { dropped, .. } => dropped.as_mut().poll(cx),
        }
    }

    /// Whether the end of the output is the end of a response, which a proxy can take for the end of the input too.
    pub(super) fn ends_both_sides(&self) -> bool {
        matches!(self, Self::Body { .. })
    }

    /// Ends the output. Ready when the transport has all of it.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            // After an error, the peer is gone and nothing is left to end.
            Self::Stream { io, .. } => io.as_mut().poll_shutdown(cx).map(drop),
            Self::WebSocket(answers) => answers.poll_shutdown(cx).map(drop),
            Self::Body { writes, dropped } => {
                writes.close_channel();
                dropped.as_mut().poll(cx)
            }
        }
    }
}

/// Bytes per write to an upgraded stream, which copies them and queues up to four writes. Each is one HTTP/2 DATA
/// frame, and one system call, if the gateway accepts frames of this size.
const MAX_WRITE: usize = 64 * 1024;

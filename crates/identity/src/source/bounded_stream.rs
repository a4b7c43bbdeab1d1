//! A connection to an issuer, which can send so many bytes and no more.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A connection with a bound on what it receives: the HTTP library bounds each part of an answer, but not how many
/// interim responses, frames or chunks there are.
pub(super) struct BoundedStream {
    stream: TcpStream,
    /// Bytes that it can still receive.
    left: usize,
}

impl BoundedStream {
    pub(super) fn wrap(stream: TokioIo<TcpStream>) -> TokioIo<Self> {
        TokioIo::new(Self { stream: stream.into_inner(), left: MAX_RECEIVED })
    }
}

impl AsyncRead for BoundedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let received = buf.filled().len().saturating_sub(before);
        Poll::Ready(match self.left.checked_sub(received) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(io::Error::other(format!("an answer of more than {MAX_RECEIVED} bytes"))),
        })
    }
}

impl AsyncWrite for BoundedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Connection for BoundedStream {
    fn connected(&self) -> Connected {
        self.stream.connected()
    }
}

/// Bytes of one answer with all that is around it: the largest set of keys, headers, and the handshake of TLS.
const MAX_RECEIVED: usize = super::MAX_BYTES + 128 * 1024;

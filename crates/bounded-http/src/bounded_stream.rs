//! Connections that can receive so many bytes and no more.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::TryFutureExt as _;
use futures_util::future::MapOk;
use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tower::Service;

/// Opens them.
#[derive(Clone)]
pub(crate) struct BoundedConnector {
    tcp: HttpConnector,
    max_received: usize,
}

/// A connection with a bound on what it receives: the HTTP library bounds each part of an answer, but not how many
/// interim responses, frames or chunks there are.
pub(crate) struct BoundedStream {
    stream: TcpStream,
    /// Bytes that it can still receive.
    left: usize,
}

/// A connection has received as much as it can.
#[derive(Debug, Error)]
#[error("too many bytes")]
pub(crate) struct ReceivedTooMuch;

impl BoundedConnector {
    pub(crate) fn new(max_received: usize) -> Self {
        let mut tcp = HttpConnector::new();
        // TLS is the connector's around it.
        tcp.enforce_http(false);
        Self { tcp, max_received }
    }
}

impl Service<Uri> for BoundedConnector {
    type Response = TokioIo<BoundedStream>;
    type Error = <HttpConnector as Service<Uri>>::Error;
    type Future = MapOk<<HttpConnector as Service<Uri>>::Future, Wrap>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.tcp.poll_ready(cx)
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        let left = self.max_received;
        let wrap = move |stream: TokioIo<TcpStream>| {
            TokioIo::new(BoundedStream { stream: stream.into_inner(), left })
        };
        self.tcp.call(url).map_ok(Box::new(wrap))
    }
}

type Wrap = Box<dyn FnOnce(TokioIo<TcpStream>) -> TokioIo<BoundedStream> + Send>;

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
            None => Err(io::Error::other(ReceivedTooMuch)),
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

//! Detects a connection's HTTP version from its first bytes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// A connection's HTTP version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

/// Reads from `io` until its version is certain, and returns it rewound to its first byte.
///
/// # Errors
/// Reading fails, or `io` ends without a byte.
///
/// # Cancel safety
/// A drop loses `io` and the bytes read.
pub(super) async fn detect<IO: AsyncRead + Unpin>(mut io: IO) -> io::Result<(Version, PrefixedIo<IO>)> {
    let mut first = BytesMut::with_capacity(PREFACE.len());
    while first.len() < PREFACE.len() && PREFACE.starts_with(&first) {
        if io.read_buf(&mut first).await? == 0 {
            break;
        }
    }
    if first.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let version = if first.starts_with(PREFACE) { Version::Http2 } else { Version::Http1 };
    Ok((version, PrefixedIo { first: first.freeze(), io }))
}

/// RFC 9113, section 3.4: "the client connection preface starts with a sequence of 24 octets"
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection rewound to its first byte.
#[derive(Debug)]
pub(super) struct PrefixedIo<IO> {
    first: Bytes,
    io: IO,
}

impl<IO: AsyncRead + Unpin> AsyncRead for PrefixedIo<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let len = self.first.len().min(buf.remaining());
        buf.put_slice(&self.first.split_to(len));
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for PrefixedIo<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    /// The version of `wire`, sent in two pieces. Checks that all of it can still be read.
    async fn detected(wire: &[u8], cut: usize) -> Version {
        let (mut client, server) = tokio::io::duplex(64);
        let (head, tail) = wire.split_at(cut);
        let sent = async {
            client.write_all(head).await.unwrap();
            tokio::task::yield_now().await;
            client.write_all(tail).await.unwrap();
            drop(client);
        };
        let (detected, ()) = tokio::join!(detect(server), sent);
        let (version, mut rewound) = detected.unwrap();
        let mut read = Vec::new();
        rewound.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, wire, "cut at byte {cut}");
        version
    }

    #[tokio::test]
    async fn preface_cut_anywhere_is_detected() {
        for (wire, want) in [
            (&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nframes"[..], Version::Http2),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Version::Http2),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n", Version::Http1),
            (b"PRI * HTTP/1.1\r\n\r\n", Version::Http1),
            (b"POST / HTTP/1.1\r\n\r\n", Version::Http1),
            (b"GET / HTTP/1.1\r\n\r\n", Version::Http1),
            (b"P", Version::Http1),
        ] {
            for cut in 0..=wire.len() {
                assert_eq!(detected(wire, cut).await, want, "{} cut at byte {cut}", wire.escape_ascii());
            }
        }
    }

    #[tokio::test]
    async fn silent_peer_has_no_version() {
        let (client, server) = tokio::io::duplex(64);
        drop(client);
        assert_eq!(detect(server).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}

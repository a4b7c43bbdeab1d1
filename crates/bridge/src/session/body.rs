//! The response body of a session over `POST`: writes become DATA frames, the end becomes gRPC trailers.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_channel::mpsc;
use futures_util::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::outbox::Write;

/// Hands the transport one write at a time. When the transport polls again, it has taken the previous one.
pub(crate) struct SessionBody {
    writes: mpsc::Receiver<Write>,
    current: Option<Write>,
    ended: bool,
    _dropped: DropGuard,
}

/// A body, the sender of its writes, and a token that is cancelled when the body is dropped, at its end or before.
pub(super) fn channel() -> (mpsc::Sender<Write>, CancellationToken, SessionBody) {
    // Room for one write: the sender's own. Tokio's channel would allocate 32 at once.
    let (sender, writes) = mpsc::channel(0);
    let dropped = CancellationToken::new();
    let body = SessionBody { writes, current: None, ended: false, _dropped: dropped.clone().drop_guard() };
    (sender, dropped, body)
}

impl Body for SessionBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            if let Some(write) = &mut self.current
                && !write.bytes.is_empty()
            {
                let len = write.bytes.len().min(MAX_FRAME);
                return Poll::Ready(Some(Ok(Frame::data(write.bytes.split_to(len)))));
            }
            // The transport has taken the last frame: its reservation ends.
            self.current = None;
            if self.ended {
                return Poll::Ready(None);
            }
            match ready!(self.writes.poll_next_unpin(cx)) {
                Some(write) => self.current = Some(write),
                None => {
                    self.ended = true;
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers()))));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

/// The transport buffers one frame beyond the client's window. This bounds that unaccounted memory.
const MAX_FRAME: usize = 64 * 1024;

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))])
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn writes_keep_their_order_and_end_with_the_status() {
        let (mut sender, dropped, mut body) = channel();
        let large = Bytes::from(vec![b'x'; MAX_FRAME + 1]);
        std::future::poll_fn(|cx| sender.poll_ready(cx)).await.unwrap();
        sender.start_send(Write::new(large, None)).unwrap();
        sender.close_channel();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap().len(), MAX_FRAME);
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap().len(), 1);
        let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(trailers["grpc-status"], "0");
        assert!(body.frame().await.is_none());
        drop(body);
        assert!(dropped.is_cancelled());
    }
}

//! A session over a client's own WebSocket connection. It runs the code that otherwise runs in a gateway's filter.

#[cfg(test)]
mod tests;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::buf::Chain;
use bytes::{Buf, Bytes};
use futures_util::stream;
use parking_lot::{Mutex, MutexGuard};
use sluicegate_delivery::grant::Grant;
use sluicegate_telemetry::metrics::{ClusterMetrics, Kind, Outcome};
use sluicegate_ws_session::{Event, Input as SessionInput, Output, Session};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::poll_write_buf;

use super::input::{self, Disconnected, Input};
use super::outbox::{Outbox, Write};

/// The client's side of a session. Both directions step it, but never concurrently: one task polls them.
#[derive(Debug, Clone)]
pub(super) struct Client(Arc<Mutex<Session>>);

impl Client {
    pub(super) fn new(session: Session) -> Self {
        Self(Arc::new(Mutex::new(session)))
    }

    /// The client's requests from `io`, as gRPC messages.
    ///
    /// A chunk is empty if the client's bytes make no request yet: they still show that it is alive. A chunk has at
    /// most the largest request plus [`input::READ_BYTES`] of others, each of which can become a refusal of five times
    /// its size.
    ///
    /// Ends at the client's close frame. RFC 6455, section 5.5.1: "After both sending and receiving a Close message
    /// [...] The server MUST close the underlying TCP connection immediately".
    pub(super) fn requests(&self, io: impl AsyncRead + Send + 'static, grant: Grant) -> Input {
        let (client, ended) = (self.clone(), self.clone());
        let mut chunks = input::chunks(io, move |bytes| {
            requests(client.step(SessionInput::Client { bytes, max_frames: usize::MAX }), grant.metrics())
        });
        Box::pin(stream::poll_fn(move |cx| {
            if ended.lock().is_closed_by_client() {
                return Poll::Ready(None);
            }
            chunks.as_mut().poll_next(cx)
        }))
    }

    /// Turns answers into WebSocket frames.
    fn frames(&self, write: &mut Write) -> Frames {
        let mut bytes = std::mem::take(&mut write.bytes);
        let size = bytes.len();
        let mut front = Vec::new();
        for output in self.step(SessionInput::Bridge { size, seen: self.seen(&bytes) }) {
            if let Output::ToClient(edit) = output {
                bytes.advance(edit.drop.min(size));
                front = edit.insert;
            }
        }
        Bytes::from(front).chain(bytes)
    }

    /// The front of `bytes`, as far as the session needs to see it.
    fn seen<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let session = self.lock();
        let mut seen: &[u8] = &[];
        loop {
            let wanted = session.wanted(bytes.len(), seen);
            match bytes.get(..wanted) {
                Some(more) if more.len() > seen.len() => seen = more,
                _ => return seen,
            }
        }
    }

    fn step(&self, input: SessionInput<'_>) -> Vec<Output> {
        let mut outputs = Vec::new();
        self.lock().handle(input, &mut outputs);
        outputs
    }

    fn lock(&self) -> MutexGuard<'_, Session> {
        self.0.lock()
    }
}

/// The requests of one step. `None` ends the input.
fn requests(step: Vec<Output>, metrics: &ClusterMetrics) -> Option<Bytes> {
    let mut requests = Bytes::new();
    for output in step {
        match output {
            Output::ToBridge(bytes) => requests = bytes.into(),
            Output::Count(event, times) => count(metrics, event, times),
            // A close among the requests ends the session. Without memory for it, only the end of the input does:
            // further input is ignored and counts as a sign of life.
            Output::Closing { told } if !told => return None,
            Output::Closing { .. } | Output::ToClient(_) | Output::Closed => {}
        }
    }
    Some(requests)
}

/// A write as frames: its new front, and its unchanged rest.
type Frames = Chain<Bytes, Bytes>;

/// Writes answers to the client.
pub(super) struct Answers {
    client: Client,
    io: Pin<Box<dyn AsyncWrite + Send>>,
    /// The write in progress, with its reservation.
    current: Option<(Frames, Write)>,
}

impl Answers {
    pub(super) fn new(client: Client, io: impl AsyncWrite + Send + 'static) -> Self {
        Self { client, io: Box::pin(io), current: None }
    }

    pub(super) fn poll_progress(
        &mut self,
        cx: &mut Context<'_>,
        outbox: &mut Outbox,
    ) -> Poll<Result<(), Disconnected>> {
        if self.current.is_none() {
            let Some(mut write) = outbox.pop() else { return Poll::Pending };
            self.current = Some((self.client.frames(&mut write), write));
        }
        let Some((frames, _)) = &mut self.current else { return Poll::Pending };
        if frames.has_remaining() {
            match ready!(poll_write_buf(self.io.as_mut(), cx, frames)) {
                Ok(taken) if taken > 0 => {}
                _ => return Poll::Ready(Err(Disconnected)),
            }
        }
        if !frames.has_remaining() {
            self.current = None;
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn is_idle(&self) -> bool {
        self.current.is_none()
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_flush(cx)
    }

    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_shutdown(cx)
    }
}

/// Counts an event. Commands are counted with their answers.
fn count(metrics: &ClusterMetrics, event: Event, times: u64) {
    match event {
        Event::Command(_) | Event::Json => {}
        Event::UnknownCommand | Event::WrongCommand => {
            metrics.answered_times(Kind::Unknown, Outcome::Refused, times);
        }
        Event::Error(error) => {
            metrics.client_fault(error);
            tracing::debug!(fault = %error, event = "client_fault", "closing the client for a protocol violation");
        }
    }
}

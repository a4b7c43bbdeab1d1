//! The frames of one stream to a broker: pipelines requests, matches responses by correlation id.
//!
//! One task owns the stream. It writes queued requests, reads responses and checks timeouts concurrently. The first of
//! these to fail closes the stream, and its error answers all requests in flight. Kafka answers the requests of a
//! connection in order, so the requests in flight are a queue. A cancelled request stays in the queue until its
//! response has been read and dropped. It closes a transport for one request at a time instead, because a broker could
//! hold a long poll for long. A request with a place keeps that, and its transport, until its response.
//!
//! Timeouts measure silence. A caller times out once nothing at all was received for its own timeout, and the transport
//! remains open for others, who do not depend on its slow request. The transport closes once nothing was received for
//! twice the timeout of the oldest request.

use std::collections::VecDeque;
use std::error::Error;
use std::io;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use parking_lot::Mutex;
use sluicegate_fair_share::Place;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader,
};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::address::Address;
use crate::backoff::after;
use crate::error::ConnectionError;

/// A stream to a broker. Dropping it closes the stream.
pub(crate) struct Transport {
    queue: mpsc::Sender<Outgoing>,
    shared: Arc<Shared>,
    next_id: AtomicI32,
}

/// The limits of a transport.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Requests that are queued or in flight.
    pub(crate) in_flight: usize,
    /// The largest response. Worst case in memory per transport: one such response, besides those already handed over.
    pub(crate) max_response: usize,
    /// The idle time after which the stream is closed.
    pub(crate) max_idle: Option<Duration>,
}

/// The right to send one request over a [`Transport`], held until its response was received.
pub(crate) struct Permit {
    /// The correlation id of the request.
    pub(crate) id: i32,
    _permit: OwnedSemaphorePermit,
    /// The request's place at the broker, held until the response even if the caller leaves: the broker reads on.
    pub(crate) place: Option<Arc<Place>>,
}

impl Transport {
    /// Takes over an open stream. Must be called inside a tokio runtime.
    pub(crate) fn spawn<S>(stream: S, address: Address, limits: Limits) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (queue, queued) = mpsc::channel(limits.in_flight);
        let permits = Arc::new(Semaphore::new(limits.in_flight));
        let cancelled = Notify::new();
        let (in_flight, failure) = (InFlight::default(), OnceLock::new());
        let shared = Arc::new(Shared { address, limits, permits, in_flight, cancelled, failure });
        tokio::spawn(run(stream, queued, Arc::clone(&shared)));
        Self { queue, shared, next_id: AtomicI32::new(0) }
    }

    /// The broker's address.
    pub(crate) fn address(&self) -> &Address {
        &self.shared.address
    }

    /// Whether the stream is open.
    pub(crate) fn is_usable(&self) -> bool {
        self.shared.failure.get().is_none() && !self.queue.is_closed()
    }

    /// Requests in flight.
    pub(crate) fn load(&self) -> usize {
        self.shared.limits.in_flight.saturating_sub(self.shared.permits.available_permits())
    }

    /// The correlation id of the oldest request in flight, and since when nothing was received for it; `None` without
    /// any.
    pub(crate) fn oldest(&self) -> Option<(i32, Instant)> {
        let requests = self.shared.in_flight.requests.lock();
        requests.open.front().map(|open| (open.id, open.silent_since(requests.last_received)))
    }

    /// The shortest time from a request to the beginning of its response: what the way to the broker takes, or a little
    /// more.
    pub(crate) fn shortest(&self) -> Duration {
        self.shared.in_flight.requests.lock().shortest.unwrap_or_default()
    }

    /// When something was received last.
    pub(crate) fn last_received(&self) -> Option<Instant> {
        self.shared.in_flight.requests.lock().last_received
    }

    /// A permit, if one is free.
    pub(crate) fn try_reserve(&self) -> Option<Permit> {
        Arc::clone(&self.shared.permits).try_acquire_owned().ok().map(|permit| self.permit(permit))
    }

    /// Waits for a permit.
    pub(crate) async fn reserve(&self) -> Result<Permit, ConnectionError> {
        let permit = Arc::clone(&self.shared.permits).acquire_owned().await;
        permit.map(|permit| self.permit(permit)).map_err(|_| self.shared.cause())
    }

    fn permit(&self, permit: OwnedSemaphorePermit) -> Permit {
        Permit { id: self.next_id.fetch_add(1, Ordering::Relaxed), place: None, _permit: permit }
    }

    /// Sends the frame of a request with the correlation id of the permit. Gives the response without that id, and the
    /// time that the broker took until it began: without the requests before it, and the way there and back.
    ///
    /// Fails with [`ConnectionError::Silent`] once the broker has sent nothing for `timeout`. A long or slow response
    /// does not time out as long as data arrives, and neither do requests behind it.
    pub(crate) async fn exchange(
        &self,
        permit: Permit,
        frame: Vec<u8>,
        timeout: Duration,
    ) -> Result<(Bytes, Duration), ConnectionError> {
        let (reply, mut answer) = oneshot::channel();
        let sent = Instant::now();
        let closes = self.shared.is_for_one() && permit.place.is_none();
        let open = Open { id: permit.id, sent, timeout, reply, _permit: permit };
        // The queue has as many places as there are permits: it is never full.
        self.queue.try_send(Outgoing { frame, open }).map_err(|_| self.shared.cause())?;
        let cancel_guard = closes.then(|| CloseOnDrop(&self.shared));
        let mut due = after(sent, timeout);
        let answer = loop {
            if let Ok(answer) = timeout_at(due, &mut answer).await {
                break answer;
            }
            due = self.last_received().map_or(due, |received| due.max(after(received, timeout)));
            if due <= Instant::now() {
                if self.shared.is_for_one() {
                    self.shared.cancelled.notify_one();
                }
                return Err(ConnectionError::Silent { address: self.address().to_string(), after: timeout });
            }
        };
        // Answered, or the transport is closed anyway.
        std::mem::forget(cancel_guard);
        answer.unwrap_or_else(|_| Err(self.shared.cause()))
    }
}

/// Closes a transport for one request at a time when that request, which has no place, is dropped.
struct CloseOnDrop<'a>(&'a Shared);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.cancelled.notify_one();
    }
}

struct Shared {
    address: Address,
    limits: Limits,
    permits: Arc<Semaphore>,
    in_flight: InFlight,
    /// The request of a transport for one at a time had no response in time, or was dropped without a place.
    cancelled: Notify,
    /// Set before the requests in flight are dropped.
    failure: OnceLock<ConnectionError>,
}

impl Shared {
    /// Whether it is for one request at a time.
    fn is_for_one(&self) -> bool {
        self.limits.in_flight == 1
    }

    fn cause(&self) -> ConnectionError {
        self.failure.get().cloned().unwrap_or_else(|| self.lost(io::ErrorKind::NotConnected.into()))
    }

    fn lost(&self, cause: io::Error) -> ConnectionError {
        ConnectionError::Lost { address: self.address.to_string(), cause: Arc::new(cause) }
    }

    fn protocol(&self, what: String) -> ConnectionError {
        ConnectionError::Protocol { address: self.address.to_string(), what }
    }
}

/// A queued request.
struct Outgoing {
    frame: Vec<u8>,
    open: Open,
}

/// A request in flight.
struct Open {
    id: i32,
    sent: Instant,
    timeout: Duration,
    reply: oneshot::Sender<Result<(Bytes, Duration), ConnectionError>>,
    _permit: Permit,
}

#[derive(Default)]
struct InFlight {
    requests: Mutex<Requests>,
    /// Notified of a request that is due before the next check.
    due_earlier: Notify,
}

#[derive(Default)]
struct Requests {
    /// Oldest first; at most [`Limits::in_flight`].
    open: VecDeque<Open>,
    /// When timeouts are checked next; `None` if no request was in flight at the last check.
    next_check: Option<Instant>,
    /// When a response, or a part of one, was received last.
    last_received: Option<Instant>,
    /// When the last response was complete.
    answered: Option<Instant>,
    /// When the response that is being received began.
    began: Option<Instant>,
    /// As [`Transport::shortest`].
    shortest: Option<Duration>,
}

impl InFlight {
    fn extend(&self, sent: impl Iterator<Item = Open>) {
        let mut requests = self.requests.lock();
        for request in sent {
            if requests.next_check.is_none_or(|at| request.due(None) < at) {
                self.due_earlier.notify_one();
            }
            requests.open.push_back(request);
        }
    }

    /// Records that something was received.
    fn note_received(&self) {
        self.requests.lock().last_received = Some(Instant::now());
    }

    /// When the oldest request is overdue.
    fn next_due(&self) -> Option<Instant> {
        let mut requests = self.requests.lock();
        requests.next_check = requests.open.front().map(|open| open.due(requests.last_received));
        requests.next_check
    }

    /// Records that a response has begun.
    fn note_begun(&self) {
        self.requests.lock().began = Some(Instant::now());
    }

    /// Records that a response is complete whose request was taken when it began.
    fn note_answered(&self) {
        self.requests.lock().answered = Some(Instant::now());
    }

    /// Takes the oldest request, whose id must be `id`, with the time that the broker took for it. Otherwise it stays in
    /// the queue, to be answered with the error.
    fn take(&self, id: i32) -> Result<(Open, Duration), String> {
        let Requests { open, last_received, answered, began, shortest, .. } = &mut *self.requests.lock();
        match open.pop_front() {
            Some(oldest) if oldest.id == id => {
                let began = began.unwrap_or(oldest.sent);
                let since_sent = began.saturating_duration_since(oldest.sent);
                let way = shortest.map_or(since_sent, |known| known.min(since_sent));
                *shortest = Some(way);
                let due = after(oldest.sent, way);
                let due = answered.map_or(due, |before| before.max(due));
                (*last_received, *answered) = (Some(Instant::now()), Some(Instant::now()));
                Ok((oldest, began.saturating_duration_since(due)))
            }
            Some(oldest) => {
                let what = format!("response to request {id}, expected one to request {}", oldest.id);
                open.push_front(oldest);
                Err(what)
            }
            None => Err(format!("response to request {id}, which was not sent")),
        }
    }
}

impl Open {
    /// Since when nothing was received, if this is the oldest request.
    fn silent_since(&self, last_received: Option<Instant>) -> Instant {
        last_received.map_or(self.sent, |received| received.max(self.sent))
    }

    /// When the transport must close for that.
    fn due(&self, last_received: Option<Instant>) -> Instant {
        after(self.silent_since(last_received), self.timeout.saturating_mul(2))
    }
}

async fn run<S: AsyncRead + AsyncWrite>(stream: S, mut queue: mpsc::Receiver<Outgoing>, shared: Arc<Shared>) {
    let (input, output) = tokio::io::split(stream);
    let cause = tokio::select! {
        // Polled in this order, so that a run can be repeated exactly. Answers are as many as requests, and leave turns
        // to these.
        biased;
        cause = read(input, &shared) => cause,
        cause = write(output, &mut queue, &shared) => cause,
        cause = watch(&shared) => cause,
        () = shared.cancelled.notified() => {
            shared.lost(io::Error::new(io::ErrorKind::NotConnected, "closed because its request was cancelled"))
        }
    };
    let error: &(dyn Error + 'static) = &cause;
    tracing::debug!(broker = %shared.address, error, event = "connection_closed", "connection closed");
    // Dropping the queue and the requests in flight wakes their callers, which read the failure.
    let _ = shared.failure.set(cause);
    shared.permits.close();
    drop(queue);
    shared.in_flight.requests.lock().open.clear();
}

async fn write(
    mut output: impl AsyncWrite + Unpin,
    queue: &mut mpsc::Receiver<Outgoing>,
    shared: &Shared,
) -> ConnectionError {
    let mut batch = Vec::with_capacity(shared.limits.in_flight);
    let mut buffer = Vec::new();
    while queue.recv_many(&mut batch, shared.limits.in_flight).await > 0 {
        shared.in_flight.extend(batch.drain(..).map(|request| {
            buffer.extend_from_slice(&request.frame);
            request.open
        }));
        let written = async {
            output.write_all(&buffer).await?;
            output.flush().await
        };
        if let Err(error) = written.await {
            // The peer's last data, such as a TLS alert, explains more: give the reader time to find it.
            sleep(LAST_WORDS).await;
            return shared.lost(error);
        }
        buffer.clear();
    }
    shared.lost(io::Error::new(io::ErrorKind::NotConnected, "closed by this client"))
}

async fn read(input: impl AsyncRead + Unpin, shared: &Shared) -> ConnectionError {
    let mut input = BufReader::with_capacity(READ_BUFFER, input);
    loop {
        let mut response = match frame(&mut input, shared).await {
            Ok(Ok(response)) => response,
            Ok(Err(announced)) => match skip_response(&mut input, announced, shared).await {
                Ok(()) => continue,
                Err(cause) => return cause,
            },
            Err(error) => return shared.lost(error),
        };
        let Ok(id) = response.try_get_i32() else {
            return shared.protocol("frame without a correlation id".to_owned());
        };
        match shared.in_flight.take(id) {
            Ok((open, took)) => {
                let is_cancelled = open.reply.send(Ok((response, took))).is_err();
                if is_cancelled && shared.is_for_one() {
                    // Nobody has read whether the broker throttles it now.
                    return shared
                        .lost(io::Error::new(io::ErrorKind::NotConnected, "its request was cancelled"));
                }
            }
            Err(what) => return shared.protocol(what),
        }
    }
}

/// The next frame without its length, or an invalid length.
async fn frame(input: &mut (impl AsyncRead + Unpin), shared: &Shared) -> io::Result<Result<Bytes, i32>> {
    let announced = input.read_i32().await?;
    shared.in_flight.note_begun();
    let len = match usize::try_from(announced) {
        Ok(len) if (CORRELATION_ID..=shared.limits.max_response).contains(&len) => len,
        _ => return Ok(Err(announced)),
    };
    let mut input = input.take(u64::try_from(len).unwrap_or(u64::MAX));
    // Reserved at once, so that a large response is not copied as it grows. Unreceived parts are never touched.
    let mut frame = BytesMut::with_capacity(len);
    while frame.len() < len {
        if input.read_buf(&mut frame).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if frame.len() < len {
            shared.in_flight.note_received();
        }
    }
    Ok(Ok(frame.freeze()))
}

/// Skips a response that is too long. Only its own request fails.
async fn skip_response(
    input: &mut (impl AsyncBufRead + Unpin),
    announced: i32,
    shared: &Shared,
) -> Result<(), ConnectionError> {
    let max = shared.limits.max_response;
    if is_tls_alert(announced) {
        let what =
            "the broker answered with a TLS alert: set `security.protocol` to ssl or sasl_ssl".to_owned();
        return Err(ConnectionError::Tls { address: shared.address.to_string(), what, retriable: false });
    }
    let invalid = || shared.protocol(format!("frame of {announced} bytes, expected 4 to {max}"));
    let len = usize::try_from(announced).ok().filter(|len| *len > max).ok_or_else(invalid)?;
    let id = input.read_i32().await.map_err(|error| shared.lost(error))?;
    // Data that is no response at all, such as `HTTP`, has no valid correlation id.
    let (open, _) = shared.in_flight.take(id).map_err(|_| invalid())?;
    let mut rest = len.saturating_sub(CORRELATION_ID);
    while rest > 0 {
        let skipped = input.fill_buf().await.map_err(|error| shared.lost(error))?.len().min(rest);
        if skipped == 0 {
            return Err(shared.lost(io::ErrorKind::UnexpectedEof.into()));
        }
        input.consume(skipped);
        rest = rest.saturating_sub(skipped);
        shared.in_flight.note_received();
    }
    shared.in_flight.note_answered();
    let address = shared.address.to_string();
    let _ = open.reply.send(Err(ConnectionError::TooLong { address, len, max }));
    Ok(())
}

/// Whether a length is in fact the start of a TLS alert of two bytes (RFC 8446, section 5.1), with which a TLS listener
/// rejects plaintext.
fn is_tls_alert(announced: i32) -> bool {
    matches!(announced.to_be_bytes(), [21, 3, 0..=4, 0])
}

/// Waits until a request is overdue, or the transport has been idle for too long.
async fn watch(shared: &Shared) -> ConnectionError {
    let in_flight = &shared.in_flight;
    loop {
        match (in_flight.next_due(), shared.limits.max_idle) {
            (Some(due), _) if due <= Instant::now() => {
                return shared
                    .lost(io::Error::new(io::ErrorKind::TimedOut, "closed because the broker sent nothing"));
            }
            (Some(due), _) => drop(timeout_at(due, in_flight.due_earlier.notified()).await),
            (None, None) => in_flight.due_earlier.notified().await,
            (None, Some(max_idle)) => {
                let idle = timeout(max_idle, in_flight.due_earlier.notified()).await.is_err();
                if idle && in_flight.requests.lock().open.is_empty() {
                    return shared
                        .lost(io::Error::new(io::ErrorKind::NotConnected, "closed because it was idle"));
                }
            }
        }
    }
}

/// The time for which a stream is still read after a write failed.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// Holds many small responses at a time; larger reads bypass it.
const READ_BUFFER: usize = 8 * 1024;

const CORRELATION_ID: usize = 4;

#[cfg(test)]
mod tests;

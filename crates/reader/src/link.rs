//! Frames in and out of one stream to a broker: requests are pipelined, answers are matched by correlation id.
//!
//! One task owns the stream and does three things at once: it writes what is queued, reads what comes, and watches the
//! clock. Whichever of them has to give up ends the stream, and its cause answers every request that is still open.
//! Kafka answers the requests of a connection in their order, so the open requests are a queue. A request that nobody
//! waits for any more keeps its place in it until its answer has been read and dropped; but a link for one request at a
//! time is closed then, because a broker that waits for records would keep it busy for as long.
//!
//! Patience is with silence: a caller gives up when nothing at all has come for its own patience, and leaves the link to
//! the others, since one request that takes long is no fault of theirs. The link ends when nothing has come for twice the
//! patience of the request whose turn it is.

use std::collections::VecDeque;
use std::error::Error;
use std::io;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader,
};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::clock::after;
use crate::lock::Lock;
use crate::{ConnectionError, address::Address};

/// A stream to a broker. Dropping it closes the stream.
pub(crate) struct Link {
    queue: mpsc::Sender<Outgoing>,
    shared: Arc<Shared>,
    next_id: AtomicI32,
}

/// What bounds a link.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Requests that were sent, or are queued, and have no answer yet.
    pub(crate) in_flight: usize,
    /// The largest response. Worst case per link: one such response being received, besides those that were handed over.
    pub(crate) max_response: usize,
    /// After so long without a request the stream is closed.
    pub(crate) max_idle: Option<Duration>,
}

/// The right to send one request over a [`Link`], held until the answer has come.
pub(crate) struct Permit {
    _permit: OwnedSemaphorePermit,
}

impl Link {
    /// Takes over a stream that stands. Must be called inside a tokio runtime.
    pub(crate) fn spawn<S>(stream: S, address: Address, limits: Limits) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (queue, queued) = mpsc::channel(limits.in_flight);
        let permits = Arc::new(Semaphore::new(limits.in_flight));
        let abandoned = Notify::new();
        let (waiting, failure) = (Waiting::default(), OnceLock::new());
        let shared = Arc::new(Shared { address, limits, permits, waiting, abandoned, failure });
        tokio::spawn(run(stream, queued, Arc::clone(&shared)));
        Self { queue, shared, next_id: AtomicI32::new(0) }
    }

    /// The broker's address.
    pub(crate) fn address(&self) -> &Address {
        &self.shared.address
    }

    /// Whether a request may still be answered.
    pub(crate) fn is_usable(&self) -> bool {
        self.shared.failure.get().is_none() && !self.queue.is_closed()
    }

    /// Requests without an answer.
    pub(crate) fn load(&self) -> usize {
        self.shared.limits.in_flight.saturating_sub(self.shared.permits.available_permits())
    }

    /// Since when nothing has come though something is asked; `None` where nothing is.
    pub(crate) fn silent_since(&self) -> Option<Instant> {
        let requests = self.shared.waiting.requests.lock();
        requests.open.front().map(|open| open.silent_since(requests.heard))
    }

    /// When something came last.
    pub(crate) fn heard(&self) -> Option<Instant> {
        self.shared.waiting.requests.lock().heard
    }

    /// A permit, if one is free.
    pub(crate) fn try_reserve(&self) -> Option<Permit> {
        Arc::clone(&self.shared.permits).try_acquire_owned().ok().map(Permit::new)
    }

    /// A permit, as soon as one is free.
    pub(crate) async fn reserve(&self) -> Result<Permit, ConnectionError> {
        let permit = Arc::clone(&self.shared.permits).acquire_owned().await;
        permit.map(Permit::new).map_err(|_| self.shared.cause())
    }

    /// A correlation id to put into the next request.
    pub(crate) fn next_id(&self) -> i32 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends the frame of a request whose correlation id is `id`, and gives the response that follows that id.
    ///
    /// Fails with [`ConnectionError::Silent`] when the broker has sent nothing for `patience`: an answer that is long, or
    /// whose line is slow, is waited for, and so are those to earlier requests.
    pub(crate) async fn exchange(
        &self,
        permit: Permit,
        id: i32,
        frame: Vec<u8>,
        patience: Duration,
    ) -> Result<Bytes, ConnectionError> {
        let (reply, mut answer) = oneshot::channel();
        let sent = Instant::now();
        let open = Open { id, sent, patience, reply, _permit: permit };
        // There are as many places in the queue as permits: it is never full.
        self.queue.try_send(Outgoing { frame, open }).map_err(|_| self.shared.cause())?;
        let alone = (self.shared.limits.in_flight == 1).then(|| Alone(&self.shared));
        let mut due = after(sent, patience);
        let answer = loop {
            if let Ok(answer) = timeout_at(due, &mut answer).await {
                break answer;
            }
            due = self.heard().map_or(due, |heard| due.max(after(heard, patience)));
            if due <= Instant::now() {
                return Err(ConnectionError::Silent { address: self.address().to_string(), after: patience });
            }
        };
        // Answered, or the link has ended anyway.
        std::mem::forget(alone);
        answer.unwrap_or_else(|_| Err(self.shared.cause()))
    }
}

impl Permit {
    fn new(permit: OwnedSemaphorePermit) -> Self {
        Self { _permit: permit }
    }
}

/// The only request of a link, which is closed when nobody waits for it any more.
struct Alone<'a>(&'a Shared);

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.0.abandoned.notify_one();
    }
}

struct Shared {
    address: Address,
    limits: Limits,
    permits: Arc<Semaphore>,
    waiting: Waiting,
    /// The request of a link for one at a time was dropped before its answer came.
    abandoned: Notify,
    /// Set before the open requests are dropped.
    failure: OnceLock<ConnectionError>,
}

impl Shared {
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

/// A request on its way to the stream.
struct Outgoing {
    frame: Vec<u8>,
    open: Open,
}

/// A request that was written and waits for its answer.
struct Open {
    id: i32,
    sent: Instant,
    patience: Duration,
    reply: oneshot::Sender<Result<Bytes, ConnectionError>>,
    _permit: Permit,
}

#[derive(Default)]
struct Waiting {
    requests: Lock<Requests>,
    /// A request came that is due before the next look at the clock.
    sooner: Notify,
}

#[derive(Default)]
struct Requests {
    /// Oldest first; at most [`Limits::in_flight`].
    open: VecDeque<Open>,
    /// When the clock is looked at next; `None` where no request was open at the last look.
    next_look: Option<Instant>,
    /// When an answer, or a part of one, came last.
    heard: Option<Instant>,
}

impl Waiting {
    fn extend(&self, sent: impl Iterator<Item = Open>) {
        let mut requests = self.requests.lock();
        for request in sent {
            if requests.next_look.is_none_or(|at| request.due(None) < at) {
                self.sooner.notify_one();
            }
            requests.open.push_back(request);
        }
    }

    /// Notes that the peer is not silent.
    fn hear(&self) {
        self.requests.lock().heard = Some(Instant::now());
    }

    /// When the peer has been silent for too long.
    fn look(&self) -> Option<Instant> {
        let mut requests = self.requests.lock();
        requests.next_look = requests.open.front().map(|open| open.due(requests.heard));
        requests.next_look
    }

    /// The oldest request, which `id` must be the answer to. Otherwise it stays in its place, to be told the cause.
    fn take(&self, id: i32) -> Result<Open, String> {
        let Requests { open, heard, .. } = &mut *self.requests.lock();
        match open.pop_front() {
            Some(oldest) if oldest.id == id => {
                *heard = Some(Instant::now());
                Ok(oldest)
            }
            Some(oldest) => {
                let what = format!("an answer to request {id}, expected one to {}", oldest.id);
                open.push_front(oldest);
                Err(what)
            }
            None => Err(format!("an answer to request {id}, which was not sent")),
        }
    }
}

impl Open {
    /// Since when nothing has come, if this is the request whose turn it is.
    fn silent_since(&self, heard: Option<Instant>) -> Instant {
        heard.map_or(self.sent, |heard| heard.max(self.sent))
    }

    /// When that is too long for the link to go on.
    fn due(&self, heard: Option<Instant>) -> Instant {
        after(self.silent_since(heard), self.patience.saturating_mul(2))
    }
}

async fn run<S: AsyncRead + AsyncWrite>(stream: S, mut queue: mpsc::Receiver<Outgoing>, shared: Arc<Shared>) {
    let (input, output) = tokio::io::split(stream);
    let cause = tokio::select! {
        cause = write(output, &mut queue, &shared) => cause,
        cause = read(input, &shared) => cause,
        cause = watch(&shared) => cause,
        () = shared.abandoned.notified() => {
            shared.lost(io::Error::new(io::ErrorKind::NotConnected, "closed because its request was abandoned"))
        }
    };
    let error: &(dyn Error + 'static) = &cause;
    tracing::debug!(broker = %shared.address, error, "connection closed");
    // Whoever waits in `waiting` or in the queue is woken by their drop, and must find the cause then.
    let _ = shared.failure.set(cause);
    shared.permits.close();
    drop(queue);
    shared.waiting.requests.lock().open.clear();
}

async fn write(
    mut output: impl AsyncWrite + Unpin,
    queue: &mut mpsc::Receiver<Outgoing>,
    shared: &Shared,
) -> ConnectionError {
    let mut batch = Vec::with_capacity(shared.limits.in_flight);
    let mut buffer = Vec::new();
    while queue.recv_many(&mut batch, shared.limits.in_flight).await > 0 {
        shared.waiting.extend(batch.drain(..).map(|request| {
            buffer.extend_from_slice(&request.frame);
            request.open
        }));
        let written = async {
            output.write_all(&buffer).await?;
            output.flush().await
        };
        if let Err(error) = written.await {
            // What the peer said last, such as a TLS alert, explains more: whoever reads may find it meanwhile.
            sleep(LAST_WORDS).await;
            return shared.lost(error);
        }
        buffer.clear();
    }
    shared.lost(io::Error::new(io::ErrorKind::NotConnected, "closed by its owner"))
}

async fn read(input: impl AsyncRead + Unpin, shared: &Shared) -> ConnectionError {
    let mut input = BufReader::with_capacity(READ_BUFFER, input);
    loop {
        let mut response = match frame(&mut input, shared).await {
            Ok(Ok(response)) => response,
            Ok(Err(announced)) => match pass_by(&mut input, announced, shared).await {
                Ok(()) => continue,
                Err(cause) => return cause,
            },
            Err(error) => return shared.lost(error),
        };
        let Ok(id) = response.try_get_i32() else {
            return shared.protocol("a frame without an id".to_owned());
        };
        match shared.waiting.take(id) {
            // Sending fails where nobody waits for it any more.
            Ok(open) => drop(open.reply.send(Ok(response))),
            Err(what) => return shared.protocol(what),
        }
    }
}

/// The next frame without its length, or a length that cannot be.
async fn frame(input: &mut (impl AsyncRead + Unpin), shared: &Shared) -> io::Result<Result<Bytes, i32>> {
    let announced = input.read_i32().await?;
    let len = match usize::try_from(announced) {
        Ok(len) if (CORRELATION_ID..=shared.limits.max_response).contains(&len) => len,
        _ => return Ok(Err(announced)),
    };
    let mut input = input.take(u64::try_from(len).unwrap_or(u64::MAX));
    // Reserved as a whole, so that a large response is not copied as it grows; only what was received is ever touched.
    let mut frame = BytesMut::with_capacity(len);
    while frame.len() < len {
        if input.read_buf(&mut frame).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if frame.len() < len {
            shared.waiting.hear();
        }
    }
    Ok(Ok(frame.freeze()))
}

/// Reads over a response that is too long: the failure of its request, and of no other one.
async fn pass_by(
    input: &mut (impl AsyncBufRead + Unpin),
    announced: i32,
    shared: &Shared,
) -> Result<(), ConnectionError> {
    let max = shared.limits.max_response;
    if is_tls_alert(announced) {
        let what = "answered with a TLS alert: expected `security.protocol` ssl or sasl_ssl".to_owned();
        return Err(ConnectionError::Tls { address: shared.address.to_string(), what, retriable: false });
    }
    let senseless = || shared.protocol(format!("a frame of {announced} bytes, expected 4 to {max}"));
    let len = usize::try_from(announced).ok().filter(|len| *len > max).ok_or_else(senseless)?;
    let id = input.read_i32().await.map_err(|error| shared.lost(error))?;
    // What is no response at all, such as `HTTP`, has no id that fits.
    let open = shared.waiting.take(id).map_err(|_| senseless())?;
    let mut rest = len.saturating_sub(CORRELATION_ID);
    while rest > 0 {
        let passed = input.fill_buf().await.map_err(|error| shared.lost(error))?.len().min(rest);
        if passed == 0 {
            return Err(shared.lost(io::ErrorKind::UnexpectedEof.into()));
        }
        input.consume(passed);
        rest = rest.saturating_sub(passed);
        shared.waiting.hear();
    }
    let address = shared.address.to_string();
    let _ = open.reply.send(Err(ConnectionError::TooLong { address, len, max }));
    Ok(())
}

/// Whether a length is the beginning of a TLS record instead: an alert of two bytes (RFC 8446, section 5.1), which is how
/// a listener that speaks TLS refuses what does not.
fn is_tls_alert(announced: i32) -> bool {
    matches!(announced.to_be_bytes(), [21, 3, 0..=4, 0])
}

/// Waits for a request to be overdue, or for nothing to be asked for too long.
async fn watch(shared: &Shared) -> ConnectionError {
    let waiting = &shared.waiting;
    loop {
        match (waiting.look(), shared.limits.max_idle) {
            (Some(due), _) if due <= Instant::now() => {
                return shared.lost(io::Error::new(io::ErrorKind::TimedOut, "closed because it was silent"));
            }
            (Some(due), _) => drop(timeout_at(due, waiting.sooner.notified()).await),
            (None, None) => waiting.sooner.notified().await,
            (None, Some(max_idle)) => {
                let idle = timeout(max_idle, waiting.sooner.notified()).await.is_err();
                if idle && waiting.requests.lock().open.is_empty() {
                    return shared
                        .lost(io::Error::new(io::ErrorKind::NotConnected, "closed because it was idle"));
                }
            }
        }
    }
}

/// How long a stream that takes nothing any more is still read.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// Takes in small answers whole, many at a time; what is larger than this goes around it.
const READ_BUFFER: usize = 8 * 1024;

const CORRELATION_ID: usize = 4;

#[cfg(test)]
mod tests;

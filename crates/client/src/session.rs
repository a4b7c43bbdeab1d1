//! One connection, as its commands see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdEmpty, CmdSession, ErrorResp, PubSubReq};
use tokio::sync::{Mutex, Notify, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tracing::debug;

use crate::Error;
use crate::connection::{self, Socket};
use crate::inbox::Inbox;
use crate::pending::Pending;

/// An open connection. It is closed once nobody holds it.
#[derive(Debug)]
pub(crate) struct Session {
    requests: mpsc::Sender<Bytes>,
    pub(crate) pending: Arc<Pending>,
    closing: Arc<Notify>,
    slots: Semaphore,
    sequence: AtomicI64,
    /// The largest request that the server accepts, in bytes; None: it was not asked yet. Requests are written in the
    /// order in which they take this lock. It is held while the server is asked, once in a session: small writes must
    /// not overtake a large one.
    max_request: Mutex<Option<usize>>,
}

impl Session {
    /// Drives `socket` with a task, whose result is why the session ended.
    pub(crate) fn new(socket: Socket, max_in_flight: usize) -> (Self, JoinHandle<Result<(), Error>>) {
        let (requests, queue) = mpsc::channel(max_in_flight);
        let (pending, closing) = (Arc::new(Pending::new()), Arc::new(Notify::new()));
        let task = tokio::spawn(connection::run(socket, queue, Arc::clone(&closing), Arc::clone(&pending)));
        let slots = Semaphore::new(max_in_flight);
        let (sequence, max_request) = (AtomicI64::new(1), Mutex::new(None));
        (Self { requests, pending, closing, slots, sequence, max_request }, task)
    }

    /// Closes the connection once the requests so far are written.
    pub(crate) fn close(&self) {
        self.closing.notify_one();
    }

    /// Runs `command` within `limit`, and turns the server's refusal into an error.
    pub(crate) async fn command(&self, command: Req, limit: Duration) -> Result<Resp, Error> {
        match self.answer(command, limit).await? {
            Resp::ErrorResp(error) => Err(Error::command(error)),
            answer => Ok(answer),
        }
    }

    /// Runs `command` within `limit`; the answer can be an error, but not that of a server that does not know the
    /// command.
    pub(crate) async fn answer(&self, command: Req, limit: Duration) -> Result<Resp, Error> {
        let refusal = Refusal::of(&command);
        match timeout(limit, self.exchange(command)).await.unwrap_or(Err(Error::Timeout { after: limit }))? {
            Resp::ErrorResp(error) if refusal.is_unknown(&error) => Err(refusal.unsupported()),
            answer => Ok(answer),
        }
    }

    async fn exchange(&self, command: Req) -> Result<Resp, Error> {
        let _slot = self.slots.acquire().await.map_err(|_| self.pending.ended())?;
        let sequence = self.next_sequence();
        let name = name(&command);
        let answer = self.pending.register(sequence)?;
        let start = Instant::now();
        self.write(sequence, command).await?;
        let answer = answer.wait().await?;
        debug!("{name} {sequence} answered with {} bytes after {:?}", answer.encoded_len(), start.elapsed());
        Ok(answer)
    }

    /// Sends `command`, whose answers are kept until they take more than `room` bytes.
    pub(crate) async fn open(self: &Arc<Self>, command: Req, room: usize) -> Result<Answers, Error> {
        let sequence = self.next_sequence();
        let refusal = Refusal::of(&command);
        let inbox = self.pending.register_many(sequence, room)?;
        let answers = Answers { session: Arc::clone(self), sequence, refusal, inbox };
        self.write(sequence, command).await?;
        Ok(answers)
    }

    /// Sends `command` without waiting for an answer.
    pub(crate) async fn send(&self, command: Req) -> Result<(), Error> {
        self.write(self.next_sequence(), command).await
    }

    async fn write(&self, sequence: i64, command: Req) -> Result<(), Error> {
        let name = name(&command);
        let request = encode(sequence, command);
        let mut max_request = self.max_request.lock().await;
        let bytes = request.len();
        if bytes > ACCEPTED_EVERYWHERE {
            let max = match *max_request {
                Some(max) => max,
                None => {
                    let (max, _) = self.ask_for_limit().await?;
                    *max_request.insert(max)
                }
            };
            if bytes > max {
                return Err(Error::TooLarge { bytes, max });
            }
        }
        debug!("sending {name} {sequence}, {bytes} bytes");
        self.send_bytes(request).await
    }

    /// Answers that come when the client's identity is about to expire.
    pub(crate) async fn expiry(&self) -> Result<Inbox, Error> {
        let mut max_request = self.max_request.lock().await;
        // The server answers the last question only, so that there must be no other one after this.
        let (max, expiry) = self.ask_for_limit().await?;
        *max_request = Some(max);
        Ok(expiry)
    }

    /// The largest request that the server accepts, or the largest number if it does not know the command; and the
    /// further answers.
    async fn ask_for_limit(&self) -> Result<(usize, Inbox), Error> {
        let sequence = self.next_sequence();
        let mut answers = self.pending.register_many(sequence, EXPIRY_ROOM)?;
        self.send_bytes(encode(sequence, Req::CmdSession(CmdSession::default()))).await?;
        let max = match answers.next().await.ok_or_else(|| self.pending.ended())? {
            Resp::SessionResp(limits) => usize::try_from(limits.max_message_bytes).unwrap_or(usize::MAX),
            _ => usize::MAX,
        };
        Ok((max, answers))
    }

    async fn send_bytes(&self, request: Vec<u8>) -> Result<(), Error> {
        self.requests.send(request.into()).await.map_err(|_| self.pending.ended())
    }

    fn next_sequence(&self) -> i64 {
        self.sequence.fetch_add(1, Ordering::Relaxed)
    }
}

/// The answers of a command that has many. Those that come after it is dropped are discarded.
#[derive(Debug)]
pub(crate) struct Answers {
    session: Arc<Session>,
    sequence: i64,
    refusal: Refusal,
    inbox: Inbox,
}

impl Answers {
    /// The command's.
    pub(crate) fn sequence(&self) -> i64 {
        self.sequence
    }

    /// The next answer. `None` after an overflow: one answer and all after it were dropped.
    ///
    /// # Cancel safety
    /// No answer is lost.
    ///
    /// # Errors
    /// The server's, which is the last answer, or why the session ended.
    pub(crate) async fn next(&mut self) -> Result<Option<Resp>, Error> {
        match self.inbox.next().await {
            Some(Resp::ErrorResp(error)) => Err(self.refusal.error(error)),
            Some(answer) => Ok(Some(answer)),
            None => self.session.pending.end_so_far().map_or(Ok(None), Err),
        }
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.session.pending.forget(self.sequence);
    }
}

/// The parts of an error that depend on the command.
#[derive(Debug, Clone, Copy)]
struct Refusal {
    name: &'static str,
    is_newer: bool,
}

impl Refusal {
    fn of(command: &Req) -> Self {
        Self { name: name(command), is_newer: is_newer(command) }
    }

    fn error(self, error: ErrorResp) -> Error {
        if self.is_unknown(&error) { self.unsupported() } else { Error::command(error) }
    }

    fn is_unknown(self, error: &ErrorResp) -> bool {
        self.is_newer && error.code == 0 && error.message == UNKNOWN
    }

    fn unsupported(self) -> Error {
        Error::CommandUnsupported { command: self.name }
    }
}

/// The bytes of a request.
fn encode(sequence: i64, command: Req) -> Vec<u8> {
    // The last command counts. Apache APISIX does not see those that it does not know, and would answer nothing.
    let first = is_newer(&command).then_some(Req::CmdEmpty(CmdEmpty {}));
    let mut request = PubSubReq { sequence, req: first }.encode_to_vec();
    let command = PubSubReq { sequence: 0, req: Some(command) };
    request.extend_from_slice(&command.encode_to_vec());
    request
}

/// Whether there are servers that answer this command with [`UNKNOWN`].
fn is_newer(command: &Req) -> bool {
    matches!(
        command,
        Req::CmdKafkaMultiFetch(_)
            | Req::CmdKafkaListOffsets(_)
            | Req::CmdKafkaMetadata(_)
            | Req::CmdKafkaSubscribe(_)
            | Req::CmdNatsFetch(_)
            | Req::CmdNatsListSequences(_)
            | Req::CmdNatsSubscribe(_)
            | Req::CmdNatsPublish(_)
            | Req::CmdSession(_)
            | Req::CmdAuth(_)
            | Req::CmdKafkaCommit(_)
    )
}

pub(crate) fn name(command: &Req) -> &'static str {
    match command {
        Req::CmdPing(_) => "ping",
        Req::CmdKafkaFetch(_) => "fetch",
        Req::CmdKafkaListOffset(_) => "list offset",
        Req::CmdKafkaProduce(_) => "produce",
        Req::CmdKafkaMultiFetch(_) => "multi-fetch",
        Req::CmdKafkaListOffsets(_) => "list offsets",
        Req::CmdKafkaMetadata(_) => "metadata",
        Req::CmdKafkaSubscribe(_) => "subscribe",
        Req::CmdNatsFetch(_) => "fetch from a stream",
        Req::CmdNatsListSequences(_) => "list sequences",
        Req::CmdNatsSubscribe(_) => "subscribe to streams",
        Req::CmdNatsPublish(_) => "publish",
        Req::CmdUnsubscribe(_) => "unsubscribe",
        Req::CmdCredit(_) => "credit",
        Req::CmdAuth(_) => "renew the identity",
        Req::CmdKafkaCommit(_) => "commit",
        _ => "command",
    }
}

/// Bytes for a few answers, of which the server sends one in each lifetime of an identity.
const EXPIRY_ROOM: usize = 1024;

/// No gateway or bridge can be configured to accept less, in bytes.
const ACCEPTED_EVERYWHERE: usize = 1024;

/// A server's answer to a command that it does not know; APISIX's own words.
const UNKNOWN: &str = "unknown command";

//! One client's session: requests in, answers out in the order in which they are ready.
//!
//! 1. [`transport`]: bytes of an upgraded stream, of a request's and a response's body, or of a client's WebSocket, whose frames
//!    [`websocket`] makes gRPC messages of
//! 2. [`frames`]: bytes become gRPC messages
//! 3. [`request`]: a message becomes what it asks for
//! 4. [`command`]: a command runs within the client's [`Grant`]
//! 5. [`answer`], [`outbox`]: answers become writes
//!
//! Memory is bounded by reservation: nothing starts before the largest answer it may have fits into the session's answer
//! bytes, and a reservation ends when the transport has taken the answer. Requests that only Kafka can answer queue apart
//! from those that the session answers itself ([`lane`]), so that a ping or a close is never behind a slow fetch. While a
//! lane is full, no input is read, and flow control holds the peer back; a peer for which that would harm others
//! ([`Hold::Closed`]) is always read, and loses its session when too much waits.

mod answer;
mod body;
mod command;
mod end;
mod frames;
mod keepalive;
mod lane;
mod outbox;
mod peer;
mod produce_limits;
mod request;
mod reservation;
mod transport;
mod websocket;

#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use sluicegate_protocol::control_req;
use sluicegate_protocol::control_resp::Control;
use sluicegate_ws_session::request::{UNKNOWN, WRONG};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, timeout};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

pub(crate) use self::answer::MAX_RESULT_BYTES;
pub(crate) use self::end::End;
pub(crate) use self::transport::{Hold, Transport};

use self::answer::{Answer, ENVELOPE_BYTES};
use self::command::Command;
use self::frames::Frames;
use self::keepalive::{Due, Keepalive};
use self::lane::Lane;
use self::outbox::Outbox;
use self::peer::{Gone, Input, read_meanwhile, read_to_end};
use self::request::Request;
use self::reservation::Reservation;
use self::transport::Output;
use crate::cluster::{Turn, Turns};
use crate::grant::Grant;
use crate::metrics::{Kind, Outcome};

/// The bounds of one session.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Largest request, in bytes.
    pub(crate) max_request_bytes: usize,
    /// Kafka commands that run at the same time.
    pub(crate) max_commands: usize,
    /// Bytes of answers that are being made or wait for the transport.
    pub(crate) answer_bytes: u32,
    /// Keepalive before a ping.
    pub(crate) ping_interval: Duration,
    /// How long the last message may take on its way.
    pub(crate) close_timeout: Duration,
    /// How long commands in flight may take to be answered when the bridge shuts down.
    pub(crate) drain_grace: Duration,
}

/// Serves one session from its first byte to its end.
///
/// # Cancel safety
/// A drop cancels the commands in flight and gives up the transport without a last message.
pub(crate) async fn run(
    transport: Transport,
    grant: Grant,
    limits: &Limits,
    drain: CancellationToken,
) -> End {
    let mut session = Session::new(transport, grant, limits, drain);
    let end = session.serve().await;
    session.finish(&end).await;
    end
}

struct Session<'a> {
    limits: &'a Limits,
    grant: Grant,
    input: Input,
    hold: Hold,
    frames: Frames,
    /// What Kafka answers, and what would not fit into `own`.
    kafka: Lane,
    /// What the session answers by itself.
    own: Lane,
    commands: FuturesUnordered<Running>,
    /// Of commands that write, in the order of their arrival.
    turns: Turns,
    outbox: Outbox,
    output: Output,
    /// Bytes of answers, those still in `outbox` included.
    answered: usize,
    keepalive: Keepalive,
    timer: Pin<Box<Sleep>>,
    drain: Pin<Box<WaitForCancellationFutureOwned>>,
    /// When a session that drains waits no longer for its commands.
    drain_by: Option<Instant>,
}

/// A command in flight, with the reservation of its answer.
type Running = Pin<Box<dyn Future<Output = (Answer, OwnedSemaphorePermit)> + Send>>;

/// What woke a session.
enum Event {
    Answered(Answer, OwnedSemaphorePermit),
    Admitted(Request, OwnedSemaphorePermit),
    Input(Bytes),
    Wrote,
    Left,
    Draining,
    Timer,
}

impl<'a> Session<'a> {
    fn new(transport: Transport, grant: Grant, limits: &'a Limits, drain: CancellationToken) -> Self {
        let now = Instant::now();
        let keepalive = Keepalive::new(limits.ping_interval, now);
        Self {
            limits,
            grant,
            input: transport.input,
            hold: transport.hold,
            frames: Frames::new(limits.max_request_bytes),
            kafka: Lane::new(limits.answer_bytes, limits.max_commands, limits.max_request_bytes),
            own: Lane::new(OWN_ANSWER_BYTES, 1, limits.max_request_bytes),
            commands: FuturesUnordered::new(),
            turns: Turns::default(),
            outbox: Outbox::default(),
            output: transport.output,
            answered: 0,
            timer: Box::pin(tokio::time::sleep_until(keepalive.deadline(now, false))),
            keepalive,
            drain: Box::pin(drain.cancelled_owned()),
            drain_by: None,
        }
    }

    /// Runs until there is a reason to end.
    async fn serve(&mut self) -> End {
        loop {
            if let Err(end) = self.start_requests() {
                return end;
            }
            if self.drain_by.is_some() && self.commands.is_empty() {
                return End::Drained;
            }
            // A peer that always has something for us must leave room for others on this thread.
            tokio::task::consume_budget().await;
            match std::future::poll_fn(|cx| self.poll_event(cx)).await {
                Event::Answered(answer, reserved) => self.push(answer, Some(reserved)),
                Event::Admitted(request, reserved) => self.start(request, reserved),
                Event::Input(chunk) => {
                    let now = Instant::now();
                    self.keepalive.inbound(now);
                    // While it drains, only a peer that has to be read is, and not followed.
                    if self.drain_by.is_none() {
                        self.frames.push(chunk);
                    }
                    // Input that never pauses must not keep the timer from its turn.
                    if now >= self.timer.deadline()
                        && let Err(end) = self.check_timers()
                    {
                        return end;
                    }
                }
                Event::Wrote => self.keepalive.outbound(Instant::now()),
                Event::Left => return End::Left,
                Event::Draining => {
                    let now = Instant::now();
                    self.kafka.close();
                    self.drain_by = Some(now + self.limits.drain_grace);
                    self.wake_by(now + self.limits.drain_grace.min(GONE_INTERVAL));
                }
                Event::Timer => {
                    if std::future::poll_fn(|cx| Poll::Ready(self.output.is_gone(cx))).await {
                        return End::Left;
                    }
                    if let Err(end) = self.check_timers() {
                        return end;
                    }
                }
            }
        }
    }

    /// The next thing to do. Answers and requests that are ready come before a write that would be small, so that one
    /// write takes all of them.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if self.outbox.is_worth_a_write()
            && let Poll::Ready(event) = self.poll_output(cx)
        {
            return Poll::Ready(event);
        }
        if let Poll::Ready(Some((answer, reserved))) = self.commands.poll_next_unpin(cx) {
            return Poll::Ready(Event::Answered(answer, reserved));
        }
        if let Poll::Ready(event) = self.poll_requests(cx) {
            return Poll::Ready(event);
        }
        if let Poll::Ready(event) = self.poll_output(cx) {
            return Poll::Ready(event);
        }
        if self.output.poll_gone(cx).is_ready() {
            return Poll::Ready(Event::Left);
        }
        if self.drain_by.is_none() && self.drain.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Event::Draining);
        }
        self.timer.as_mut().poll(cx).map(|()| Event::Timer)
    }

    /// Admits what waits and fits now, or else reads.
    fn poll_requests(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let admits = self.drain_by.is_none();
        if admits && let Poll::Ready((request, reserved)) = self.own.poll_admit(cx) {
            return Poll::Ready(Event::Admitted(request, reserved));
        }
        if admits
            && self.commands.len() < self.limits.max_commands
            && let Poll::Ready((request, reserved)) = self.kafka.poll_admit(cx)
        {
            return Poll::Ready(Event::Admitted(request, reserved));
        }
        if !self.is_reading() {
            return Poll::Pending;
        }
        self.input.as_mut().poll_next(cx).map(|read| match read {
            Some(Ok(chunk)) => Event::Input(chunk),
            Some(Err(_)) | None => Event::Left,
        })
    }

    fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        self.output.poll_progress(cx, &mut self.outbox).map(|progress| match progress {
            Ok(()) => Event::Wrote,
            Err(Gone) => Event::Left,
        })
    }

    /// Hands what has been read to its lane.
    fn start_requests(&mut self) -> Result<(), End> {
        while self.takes_requests() {
            let Some(message) = self.frames.next().map_err(End::Unreadable)? else { break };
            let len = message.len();
            match Request::parse(message) {
                Request::Nothing
                | Request::Control(control_req::Control::Alive(_) | control_req::Control::Padding(_)) => {}
                Request::Control(control_req::Control::Unfinished(number)) => {
                    self.keepalive.unfinished(Instant::now(), number);
                }
                Request::Control(control_req::Control::Close(close)) => return Err(End::Closed(close)),
                request => {
                    let len = len.saturating_add(decoded_bytes(&request));
                    let bytes = self.bytes(&request, len);
                    let is_command = matches!(request, Request::Command { .. });
                    let may_start = !is_command || self.commands.len() < self.limits.max_commands;
                    let lane =
                        if is_command || bytes > OWN_ANSWER_BYTES { &mut self.kafka } else { &mut self.own };
                    match lane.reserve(bytes).filter(|_| may_start) {
                        Some(reserved) => self.start(request, reserved),
                        None => {
                            lane.push(request, bytes, len);
                            self.check_waiting()?;
                        }
                    }
                }
            }
        }
        if !self.is_reading() {
            // Input is not read for a while, so it cannot say that the peer left.
            self.wake_by(Instant::now() + GONE_INTERVAL);
        }
        Ok(())
    }

    /// The largest answer that `request`, which takes `len` bytes, may get, and the records that it brings; where that is more than a
    /// session may hold, it waits to be alone.
    fn bytes(&self, request: &Request, len: usize) -> u32 {
        let max_fetch_bytes = self.grant.cluster.reads().max_bytes;
        let body = match request {
            Request::Ping { state, .. } => state.len(),
            Request::Command { command: command @ Command::Produce(_), .. } => {
                command.max_answer_bytes(max_fetch_bytes).saturating_add(len)
            }
            Request::Command { command, .. } => command.max_answer_bytes(max_fetch_bytes),
            Request::Control(control_req::Control::Pong(payload)) => payload.len(),
            Request::Control(control_req::Control::Refusal(refusal)) => refusal.message.len(),
            Request::TooMany { message, .. } => message.len(),
            Request::Control(_) | Request::Nothing | Request::Unknown { .. } | Request::Wrong => 0,
        };
        u32::try_from(body.saturating_add(ENVELOPE_BYTES)).unwrap_or(u32::MAX).min(self.limits.answer_bytes)
    }

    fn start(&mut self, request: Request, reserved: OwnedSemaphorePermit) {
        let answer = match request {
            Request::Command { sequence, command } => {
                let grant = self.grant.clone();
                let turn = match command {
                    Command::Produce(_) => self.turns.next(),
                    Command::Fetch(_) | Command::ListOffset(_) => Turn::default(),
                };
                let mut room = Reservation::new(reserved);
                let running = async move {
                    let answer = command.run(sequence, &grant, turn, &mut room).await;
                    (answer, room.into_permit())
                };
                self.commands.push(Box::pin(running));
                return;
            }
            Request::Ping { sequence, state } => {
                self.grant.cluster.metrics.answered(Kind::Ping, Outcome::Answered);
                Answer::pong(sequence, state)
            }
            Request::Control(control_req::Control::Pong(payload)) => Answer::control(Control::Pong(payload)),
            Request::Control(control_req::Control::Refusal(refusal)) => {
                Answer::refusal(refusal.sequence, &refusal.message)
            }
            Request::TooMany { sequence, message } => {
                self.grant.cluster.metrics.answered(Kind::Produce, Outcome::Refused);
                Answer::refusal(sequence, &message)
            }
            Request::Unknown { sequence } => self.refuse(sequence, UNKNOWN),
            Request::Wrong => self.refuse(0, WRONG),
            Request::Nothing | Request::Control(_) => return,
        };
        self.push(answer, Some(reserved));
    }

    fn refuse(&self, sequence: i64, message: &str) -> Answer {
        self.grant.cluster.metrics.answered(Kind::Unknown, Outcome::Refused);
        Answer::refusal(sequence, message)
    }

    fn push(&mut self, answer: Answer, reserved: Option<OwnedSemaphorePermit>) {
        if !self.output_waits() {
            self.keepalive.outbound(Instant::now());
        }
        let len = self.outbox.push(answer, reserved);
        self.answered = self.answered.saturating_add(len);
        self.grant.cluster.metrics.answer_bytes.inc_by(len as u64);
    }

    fn output_waits(&self) -> bool {
        !self.outbox.is_empty() || !self.output.is_idle()
    }

    fn check_timers(&mut self) -> Result<(), End> {
        let now = Instant::now();
        if self.drain_by.is_some_and(|by| now >= by) {
            return Err(End::Drained);
        }
        match self.keepalive.due(now, self.output_waits()) {
            Some(Due::Ping) => self.push(Answer::control(Control::Ping(Bytes::new())), None),
            Some(Due::Silent) => return Err(End::Silent),
            Some(Due::Stalled) => return Err(End::Stalled),
            Some(Due::Unfinished(within)) => return Err(End::Unfinished(within)),
            None => {}
        }
        let deadline = self.keepalive.deadline(now, self.output_waits());
        self.timer.as_mut().reset(deadline);
        if let Some(by) = self.drain_by {
            self.wake_by(by);
        }
        if !self.is_reading() {
            self.wake_by(now + GONE_INTERVAL);
        }
        Ok(())
    }

    fn wake_by(&mut self, deadline: Instant) {
        if deadline < self.timer.deadline() {
            self.timer.as_mut().reset(deadline);
        }
    }

    /// Whether there is room for a peer's next request, or no other way than to make some.
    fn takes_requests(&self) -> bool {
        let has_room = !self.own.is_full() && !self.kafka.is_full();
        self.drain_by.is_none() && (has_room || self.hold == Hold::Closed)
    }

    fn is_reading(&self) -> bool {
        self.takes_requests() || self.hold == Hold::Closed
    }

    /// Whether a peer that is always read may go on.
    fn check_waiting(&self) -> Result<(), End> {
        let ((own, own_bytes), (kafka, kafka_bytes)) = (self.own.waiting(), self.kafka.waiting());
        let max_bytes = self.limits.max_request_bytes.saturating_mul(MAX_WAITING_REQUESTS_OF_FULL_SIZE);
        let is_over = own.saturating_add(kafka) > MAX_WAITING_REQUESTS
            || own_bytes.saturating_add(kafka_bytes) > max_bytes;
        match self.hold {
            Hold::Closed if is_over => {
                Err(End::TooManyWaiting { requests: MAX_WAITING_REQUESTS, bytes: max_bytes })
            }
            Hold::Closed | Hold::Unread => Ok(()),
        }
    }

    /// Drops the commands in flight, lets the answers that exist go out with a last message behind them, and waits for
    /// the peer to end its side: a stream that is given up earlier would be reset, and what is under way lost.
    async fn finish(mut self, end: &End) {
        self.commands.clear();
        let Some(close) = end.close() else { return };
        self.outbox.push(Answer::close(close), None);
        let within = if *end == End::Left { LEFT_TIMEOUT } else { self.limits.close_timeout };
        // Whatever is not out by then is given up.
        let _ = timeout(within, self.flush_and_close()).await;
    }

    async fn flush_and_close(&mut self) {
        let mut left = false;
        while self.output_waits() {
            let progress = |cx: &mut Context<'_>| self.output.poll_progress(cx, &mut self.outbox);
            if read_meanwhile(&mut self.input, &mut left, progress).await.is_err() {
                return;
            }
        }
        if !left && self.output.ends_both_sides() && self.answered > UNHURRIED_BYTES {
            left = timeout(LINGER, read_to_end(&mut self.input)).await.is_ok();
        }
        read_meanwhile(&mut self.input, &mut left, |cx| self.output.poll_end(cx)).await;
        if !left {
            read_to_end(&mut self.input).await;
        }
    }
}

/// Requests of a session that a peer that is always read can have waiting: the session ends above that, and no other. Each costs
/// its own bytes and at most as many of the read that it came with, 16 KiB.
const MAX_WAITING_REQUESTS: usize = 1000;

/// The same in bytes, as times of the largest request: what waits of commands that write, of an honest client that sends several
/// before the first is answered.
const MAX_WAITING_REQUESTS_OF_FULL_SIZE: usize = 4;

/// How often a peer that cannot be heard is asked whether it is there.
const GONE_INTERVAL: Duration = Duration::from_millis(500);

/// Bytes of answers that the session makes by itself: pings of usual sizes, refusals, control messages. They are bounded
/// apart from Kafka's answers.
const OWN_ANSWER_BYTES: u32 = 64 * 1024;

/// How long a peer that ended its own side may take to read what is ready for it.
const LEFT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the end of a response waits behind its last message, for a client that reads slowly: a proxy that sees a response end
/// before its request resets the stream, and Envoy drops what it then still holds of it. Shorter than the filter's patience.
const LINGER: Duration = Duration::from_secs(1);

/// Answers that no proxy holds back from the next hop: the window of HTTP/2 that each stream begins with (RFC 9113, section 6.9.2).
const UNHURRIED_BYTES: usize = 65_535;

/// What a request takes besides the bytes of its message.
fn decoded_bytes(request: &Request) -> usize {
    match request {
        Request::Command { command, .. } => command.decoded_bytes(),
        _ => 0,
    }
}

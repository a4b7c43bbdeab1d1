//! One client's session: requests in, answers out as soon as they are ready.
//!
//! 1. [`transport`]: the bytes of an upgraded stream, of a request's and a response's body, or of a client's WebSocket,
//!    whose frames [`websocket`] turns into gRPC messages
//! 2. [`input`]: bytes become gRPC messages
//! 3. [`intake`]: a message becomes a [`Request`], in the words of `dialect::session`, and starts, or waits
//! 4. [`command`]: a command runs within the client's [`Grant`]
//! 5. [`subscriptions`]: what was subscribed to is delivered
//! 6. [`renewal`]: the client shows another token, and the session ends with its grant
//! 7. [`outbox`]: each [`Answer`] becomes a write, or a part of one
//!
//! Memory is bounded by reservation: a request starts only when its largest possible answer fits into the session's
//! answer bytes. Its reservation ends when the transport has taken the answer. Commands for the cluster and requests
//! that the session answers itself have separate queues (`intake::RequestQueue`), so that a ping or a close never waits for
//! a slow fetch. While one is full, no input is read, and flow control slows the peer down. A peer for which that would
//! harm others ([`Overload::CloseSession`]) is always read, and its session is closed when too many requests wait.
//!
//! Requests come before deliveries, and deliveries before deadlines. Each has its turn even if input or deliveries
//! never end.

mod body;
mod command;
mod end;
mod input;
mod intake;
mod keepalive;
mod outbox;
mod renewal;
mod subscriptions;
mod transport;
mod websocket;

#[cfg(test)]
pub(crate) mod tests;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use sluicegate_backend::command::Command;
use sluicegate_backend::{CommandError, Fault};
use sluicegate_delivery::cluster::{WriteSequencer, WriteTicket};
use sluicegate_delivery::drain::Drain;
use sluicegate_delivery::grant::{Grant, TermCause};
use sluicegate_dialect::session::{Answer, MessageBound, Request};
use sluicegate_protocol::CmdCredit;
use sluicegate_protocol::codec::Codec;
use sluicegate_protocol::control_req;
use sluicegate_protocol::control_resp::Control;
use sluicegate_protocol::error_code::INVALID_REQUEST;
use sluicegate_telemetry::metrics::{Kind, Outcome};
use sluicegate_ws_session::request::{UNKNOWN, WRONG};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};

pub(crate) use self::end::End;
#[cfg(feature = "testing")]
pub(crate) use self::input::messages;
use self::input::{Disconnected, Frames, Input};
use self::intake::{OWN_ANSWER_BYTES, RequestQueue, Reservation};
use self::keepalive::{Due, Keepalive};
use self::outbox::Outbox;
use self::renewal::Expiry;
pub(crate) use self::renewal::{Granted, Renew};
use self::subscriptions::Subscriptions;
use self::transport::Output;
pub(crate) use self::transport::{Overload, Transport};

/// The bounds of one session.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Largest request, in bytes.
    pub(crate) max_request_bytes: usize,
    /// Commands that run at the same time.
    pub(crate) max_commands: usize,
    /// Bytes of answers, from their reservation until the transport has taken them.
    pub(crate) answer_bytes: u32,
    /// Idle time before a ping.
    pub(crate) ping_interval: Duration,
    /// When the bridge began. Pings of all sessions are sent at the same times, counted from this one.
    pub(crate) first_tick: Instant,
    /// Time to deliver the last message.
    pub(crate) close_timeout: Duration,
    /// Time for commands in flight when the bridge shuts down.
    pub(crate) drain_grace: Duration,
}

/// Serves one session from its first byte to its end.
///
/// # Cancel safety
/// A drop cancels the commands in flight and closes the transport without a last message.
pub(crate) fn run(
    transport: Transport,
    codec: Codec,
    granted: Granted,
    limits: &Limits,
    drain: Drain,
) -> impl Future<Output = End> {
    // An async function would keep room for its arguments beside the session.
    let mut session = Session::new(transport, codec, granted, limits, drain);
    async move {
        let end = session.serve().await;
        session.finish(&end).await;
        end
    }
}

struct Session<'a> {
    codec: Codec,
    limits: &'a Limits,
    grant: Grant,
    renewal: Option<Arc<dyn Renew>>,
    expiry: Expiry,
    input: Input,
    overload: Overload,
    /// The largest message that both gateway and bridge accept from the client.
    max_message_bytes: usize,
    /// The largest message that the client takes.
    bound: MessageBound,
    frames: Frames,
    /// Commands for the cluster, and other requests that are too large for `own`.
    cluster: RequestQueue,
    /// Requests that the session answers itself.
    own: RequestQueue,
    commands: FuturesUnordered<CommandInFlight>,
    subscriptions: Subscriptions,
    /// Orders the commands that write by their arrival.
    sequencer: WriteSequencer,
    outbox: Outbox,
    output: Output,
    /// Bytes of all answers so far, including those in `outbox`.
    answered: usize,
    keepalive: Keepalive,
    timer: Pin<Box<Sleep>>,
    /// Ready when the session has to end because the bridge shuts down.
    drain: BoxFuture<'static, ()>,
    /// While draining: when to stop waiting for commands.
    drain_by: Option<Instant>,
    /// The client has had its share of requests: when its next ones are read.
    rests_until: Option<Instant>,
    /// Events since each kind had its turn.
    events: usize,
}

/// A command in flight, with the reservation of its answer.
type CommandInFlight = Pin<Box<dyn Future<Output = (Done, OwnedSemaphorePermit)> + Send>>;

/// The outcome of a command.
enum Done {
    Answer(Answer),
    /// The client's identity was renewed by the command of this sequence.
    Renewed(i64),
}

/// An event that wakes a session.
enum Event {
    Answered(Done, OwnedSemaphorePermit),
    Delivered(Answer, Option<OwnedSemaphorePermit>),
    Admitted(Request, OwnedSemaphorePermit),
    Input(Bytes),
    Wrote,
    Left,
    Over(TermCause),
    Draining,
    Timer,
}

impl<'a> Session<'a> {
    fn new(
        transport: Transport,
        codec: Codec,
        Granted { grant, renewal }: Granted,
        limits: &'a Limits,
        drain: Drain,
    ) -> Self {
        let now = Instant::now();
        let keepalive = Keepalive::new(limits.ping_interval, limits.first_tick, now);
        let (system, own) = (grant.system(), limits.max_request_bytes);
        let wake = keepalive.deadline(now, false);
        Self {
            codec,
            limits,
            expiry: Expiry::of(&grant),
            grant,
            renewal,
            input: transport.input,
            overload: transport.overload,
            max_message_bytes: transport.gateway_max_bytes.map_or(own, |gateway| gateway.min(own)),
            bound: MessageBound::NONE,
            frames: Frames::new(own),
            cluster: RequestQueue::new(limits.answer_bytes, limits.max_commands, limits.max_request_bytes),
            own: RequestQueue::new(OWN_ANSWER_BYTES, 1, limits.max_request_bytes),
            commands: FuturesUnordered::new(),
            subscriptions: Subscriptions::new(system),
            sequencer: WriteSequencer::default(),
            outbox: Outbox::new(codec),
            output: transport.output,
            answered: 0,
            timer: Box::pin(tokio::time::sleep_until(wake)),
            keepalive,
            drain: drain.turn().boxed(),
            drain_by: None,
            rests_until: None,
            events: 0,
        }
    }

    /// Serves requests until the session ends.
    async fn serve(&mut self) -> End {
        loop {
            if let Err(end) = self.start_requests().await {
                return end;
            }
            if self.drain_by.is_some() && self.commands.is_empty() {
                return End::Drained;
            }
            // A busy peer must yield to other tasks on this thread.
            tokio::task::consume_budget().await;
            match std::future::poll_fn(|cx| self.poll_event(cx)).await {
                Event::Answered(Done::Answer(answer), reserved) => self.push(answer, Some(reserved)),
                Event::Answered(Done::Renewed(sequence), reserved) => self.renewed(sequence, reserved),
                Event::Delivered(answer, reserved) => {
                    if let Some(error) = answer.as_error() {
                        self.grant.log_failure(Kind::Subscribe.label(), error.reason(), &error.message);
                    }
                    self.push(answer, reserved);
                }
                Event::Admitted(request, reserved) => self.start(request, reserved),
                Event::Input(chunk) => {
                    self.keepalive.inbound(Instant::now());
                    // While draining, input is read only where it must be, and is discarded.
                    if self.drain_by.is_none() {
                        self.frames.push(chunk);
                    }
                }
                Event::Wrote => self.keepalive.outbound(Instant::now()),
                Event::Left => return End::Left,
                Event::Over(cause) => return End::Over(cause),
                Event::Draining => {
                    let now = Instant::now();
                    self.cluster.close();
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

    /// The next event. Input or deliveries without an end leave every other kind of event its turn.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let is_turn = self.events >= TURN_AFTER;
        let mut polled = if is_turn { self.poll_rare(cx) } else { Poll::Pending };
        if is_turn && polled.is_pending() {
            polled = self.poll_deliveries(cx);
        }
        if polled.is_pending() {
            polled = self.poll_in_order(cx);
        }
        // Without an event, perhaps none had a turn: to a task that was busy for long, the runtime shows nothing as
        // ready.
        if polled.is_ready() {
            self.events = if is_turn { 0 } else { self.events.saturating_add(1) };
        }
        polled
    }

    /// Ready answers and requests come before a small write, so that one write takes all of them.
    fn poll_in_order(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if self.outbox.is_worth_a_write()
            && let Poll::Ready(event) = self.poll_output(cx)
        {
            return Poll::Ready(event);
        }
        if let Poll::Ready(Some((done, reserved))) = self.commands.poll_next_unpin(cx) {
            return Poll::Ready(Event::Answered(done, reserved));
        }
        if let Poll::Ready(event) = self.poll_requests(cx) {
            return Poll::Ready(event);
        }
        // After requests: a flood must not delay a ping.
        if let Poll::Ready(event) = self.poll_deliveries(cx) {
            return Poll::Ready(event);
        }
        self.poll_rare(cx)
    }

    /// Deliveries, or a write of whatever is ready.
    fn poll_deliveries(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if let Poll::Ready((answer, reserved)) = self.subscriptions.poll_next(cx) {
            return Poll::Ready(Event::Delivered(answer, reserved));
        }
        self.poll_output(cx)
    }

    /// The client's end, the bridge's, and deadlines.
    fn poll_rare(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if self.output.poll_gone(cx).is_ready() {
            return Poll::Ready(Event::Left);
        }
        if let Poll::Ready(cause) = self.expiry.poll_ended(cx) {
            return Poll::Ready(Event::Over(cause));
        }
        if self.drain_by.is_none() && self.drain.poll_unpin(cx).is_ready() {
            return Poll::Ready(Event::Draining);
        }
        self.timer.as_mut().poll(cx).map(|()| Event::Timer)
    }

    /// Admits the next waiting request that fits, otherwise reads input.
    fn poll_requests(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let admits = self.drain_by.is_none();
        if admits && let Poll::Ready((request, reserved)) = self.own.poll_admit(cx) {
            return Poll::Ready(Event::Admitted(request, reserved));
        }
        if admits
            && self.commands.len() < self.limits.max_commands
            && let Poll::Ready((request, reserved)) = self.cluster.poll_admit(cx)
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
            Err(Disconnected) => Event::Left,
        })
    }

    fn start(&mut self, request: Request, reserved: OwnedSemaphorePermit) {
        let system = self.grant.system();
        let answer = match request {
            Request::Command { sequence, command, encoding } => {
                let grant = self.grant.clone();
                let ticket = if command.writes() { self.sequencer.issue() } else { WriteTicket::default() };
                let member = match &command {
                    Command::Commit { subscription, .. } => self.subscriptions.member(*subscription),
                    _ => None,
                };
                let mut reservation = Reservation::new(reserved);
                let (context, mut span) = command::trace(&command, system, self.grant.client());
                let (name, form) = (command.name(), (encoding, self.bound));
                let running = async move {
                    let asked = (ticket, member);
                    let running = command::run(command, sequence, form, &grant, asked, &mut reservation);
                    let answer = running.await;
                    if let Some(error) = answer.as_error() {
                        grant.log_failure(name, error.reason(), &error.message);
                        span.iter_mut().for_each(|span| span.fail(error.reason().as_str_name()));
                    }
                    (Done::Answer(answer), reservation.into_permit())
                };
                self.commands.push(Box::pin(context.scope(running)));
                return;
            }
            Request::Auth { sequence, token } => return self.start_renewal(sequence, token, reserved),
            Request::Ping { sequence, state } => {
                let pong = Answer::pong(sequence, state);
                let error = self.bound.exceeded(&pong, self.codec);
                let outcome = if error.is_none() { Outcome::Answered } else { Outcome::Refused };
                self.grant.metrics().answered(Kind::Ping, outcome);
                error.map_or(pong, |error| Answer::failed(sequence, system, format_args!("answer"), error))
            }
            Request::Limits { sequence, .. } => {
                self.grant.metrics().answered(Kind::Session, Outcome::Answered);
                self.expiry.ask(sequence);
                self.expiry.deadline().into_iter().for_each(|at| self.wake_by(at));
                Answer::limits(sequence, self.max_message_bytes, self.expiry.left())
            }
            Request::Control(control_req::Control::Pong(payload)) => Answer::control(Control::Pong(payload)),
            Request::Control(control_req::Control::Refusal(refusal)) => {
                Answer::refusal(refusal.sequence, &refusal.message)
            }
            Request::Invalid { sequence, kind, message } => {
                self.grant.metrics().answered(kind, Outcome::Refused);
                let error = CommandError::new(Fault::Invalid, INVALID_REQUEST, message);
                Answer::failed(sequence, system, format_args!("run the command"), error)
            }
            Request::Subscribe { sequence, subscribed, encoding } => {
                match self.subscriptions.open(sequence, &self.grant, subscribed, (encoding, self.bound)) {
                    Ok(()) => return,
                    Err(error) => Answer::failed(sequence, system, format_args!("subscribe"), error),
                }
            }
            Request::Unsubscribe { sequence, subscription } => {
                self.subscriptions.close(subscription);
                Answer::unsubscribed(sequence)
            }
            Request::Unknown { sequence } => self.refuse(sequence, UNKNOWN),
            Request::Wrong => self.refuse(0, WRONG),
            Request::Credit(CmdCredit { subscription, bytes }) => {
                return self.subscriptions.add_credit(subscription, bytes);
            }
            Request::Nothing | Request::Control(_) => return,
        };
        self.push(answer, Some(reserved));
    }

    fn refuse(&self, sequence: i64, message: &str) -> Answer {
        self.grant.metrics().answered(Kind::Unknown, Outcome::Refused);
        Answer::refusal(sequence, message)
    }

    fn push(&mut self, answer: Answer, reserved: Option<OwnedSemaphorePermit>) {
        if !self.output_waits() {
            self.keepalive.outbound(Instant::now());
        }
        let len = self.outbox.push(answer, reserved);
        self.answered = self.answered.saturating_add(len);
        self.grant.metrics().answer_bytes.inc_by(len as u64);
        self.grant.activity().sent(len);
    }

    fn output_waits(&self) -> bool {
        !self.outbox.is_empty() || !self.output.is_idle()
    }

    fn check_timers(&mut self) -> Result<(), End> {
        let now = Instant::now();
        if self.drain_by.is_some_and(|by| now >= by) {
            return Err(End::Drained);
        }
        if let Some(sequence) = self.expiry.due(now) {
            self.push(Answer::expiring(sequence, self.expiry.left().unwrap_or_default()), None);
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
        self.expiry.deadline().into_iter().for_each(|at| self.wake_by(at));
        if let Some(until) = self.rests_until {
            self.wake_by(until);
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
}

/// Events after which each kind has its turn. Enough for one write to take the answers of many small reads.
const TURN_AFTER: usize = 32;

/// The interval of checks whether a peer left while its input is not read.
const GONE_INTERVAL: Duration = Duration::from_millis(500);

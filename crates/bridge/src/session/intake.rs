//! Takes requests: starts what fits, lets the rest wait, and ends a session that lets too much wait.

use sluicegate_backend::command::ReadBounds;
use sluicegate_dialect::session::{Answer, ENVELOPE_BYTES, MAX_ERROR_BYTES, Request};
use sluicegate_protocol::control_req;
use tokio::time::Instant;

use super::{End, GONE_INTERVAL, Overload, Session};

impl Session<'_> {
    /// Starts the requests that were read, or queues them. Other tasks have their turn in between:
    /// thousands of requests fit one read.
    pub(super) async fn start_requests(&mut self) -> Result<(), End> {
        let (mut requests, mut bytes) = (0_usize, 0_usize);
        self.rests_until = self.rests_until.filter(|until| Instant::now() < *until);
        while self.takes_requests() {
            tokio::task::consume_budget().await;
            let Some(message) = self.frames.next().map_err(End::Unreadable)? else { break };
            let len = message.len();
            (requests, bytes) = (requests.saturating_add(1), bytes.saturating_add(len));
            match Request::parse(message, self.codec, self.grant.system()).within(self.bound) {
                Request::Nothing
                | Request::Control(control_req::Control::Alive(_) | control_req::Control::Padding(_)) => {}
                Request::Control(control_req::Control::Unfinished(number)) => {
                    self.keepalive.unfinished(Instant::now(), number);
                }
                Request::Control(control_req::Control::Close(close)) => return Err(End::Closed(close)),
                request => {
                    if let Request::Limits { bound: Some(bound), .. } = request {
                        self.bound = bound;
                    }
                    let len = len.saturating_add(decoded_bytes(&request));
                    let bytes = self.reservation_bytes(&request, len);
                    let is_command = matches!(request, Request::Command { .. } | Request::Auth { .. });
                    let may_start = !is_command || self.commands.len() < self.limits.max_commands;
                    let lane = if is_command || bytes > OWN_ANSWER_BYTES {
                        &mut self.cluster
                    } else {
                        &mut self.own
                    };
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
        if requests > 0 {
            self.rests_until = self.grant.count_requests(requests, bytes);
            self.rests_until.into_iter().for_each(|until| self.wake_by(until));
        }
        if !self.is_reading() {
            // While input is not read, it cannot show that the peer left.
            self.wake_by(Instant::now() + GONE_INTERVAL);
        }
        Ok(())
    }

    /// The bytes to reserve for `request`, which takes `len` bytes: its largest possible answer, and the records it
    /// contains. Capped at the session's answer bytes: a larger request runs alone.
    fn reservation_bytes(&self, request: &Request, len: usize) -> u32 {
        let max_fetch_bytes = self.grant.max_bytes(ReadBounds::default());
        let body = match request {
            // As text, its state takes no more bytes than in the request.
            Request::Ping { .. } => len,
            Request::Command { command, encoding, .. } => {
                Answer::max_bytes(command, len, max_fetch_bytes, *encoding)
            }
            Request::Control(control_req::Control::Pong(payload)) => payload.len(),
            Request::Control(control_req::Control::Refusal(refusal)) => refusal.message.len(),
            Request::Invalid { .. } | Request::Subscribe { .. } => MAX_ERROR_BYTES,
            Request::Auth { .. } => MAX_ERROR_BYTES.saturating_add(len),
            Request::Control(_)
            | Request::Nothing
            | Request::Limits { .. }
            | Request::Unsubscribe { .. }
            | Request::Credit(_)
            | Request::Unknown { .. }
            | Request::Wrong => 0,
        };
        u32::try_from(body.saturating_add(ENVELOPE_BYTES)).unwrap_or(u32::MAX).min(self.limits.answer_bytes)
    }

    /// Whether to take the peer's next request: if there is room, and the client's share is not used up, or if the peer
    /// must always be read.
    pub(super) fn takes_requests(&self) -> bool {
        let has_room = !self.own.is_full() && !self.cluster.is_full();
        let may_wait = self.overload != Overload::CloseSession;
        self.drain_by.is_none() && (!may_wait || has_room && self.rests_until.is_none())
    }

    pub(super) fn is_reading(&self) -> bool {
        self.takes_requests() || self.overload == Overload::CloseSession
    }

    /// Ends the session of a peer that is always read if too many of its requests wait.
    fn check_waiting(&self) -> Result<(), End> {
        let ((own, own_bytes), (cluster, cluster_bytes)) = (self.own.waiting(), self.cluster.waiting());
        let max_bytes = self.limits.max_request_bytes.saturating_mul(MAX_WAITING_REQUESTS_OF_FULL_SIZE);
        let is_over = own.saturating_add(cluster) > MAX_WAITING_REQUESTS
            || own_bytes.saturating_add(cluster_bytes) > max_bytes;
        match self.overload {
            Overload::CloseSession if is_over => {
                Err(End::TooManyWaiting { requests: MAX_WAITING_REQUESTS, bytes: max_bytes })
            }
            Overload::CloseSession | Overload::StopReading => Ok(()),
        }
    }
}

/// Waiting requests of a peer that is always read. Above this, its session ends. Each costs its own bytes, and keeps at
/// most the 16 KiB of the read that it came with.
pub(super) const MAX_WAITING_REQUESTS: usize = 1000;

/// The same in bytes, as a multiple of the largest request. Enough for a well-behaved client that pipelines writes.
const MAX_WAITING_REQUESTS_OF_FULL_SIZE: usize = 4;

/// Bytes of the session's own answers: pongs of usual size, refusals, control messages. Bounded separately from the
/// cluster's answers.
pub(super) const OWN_ANSWER_BYTES: u32 = 64 * 1024;

/// The memory of a decoded request besides the bytes of its message.
fn decoded_bytes(request: &Request) -> usize {
    match request {
        Request::Command { command, .. } => command.list_bytes(),
        Request::Ping { .. }
        | Request::Limits { .. }
        | Request::Auth { .. }
        | Request::Invalid { .. }
        | Request::Subscribe { .. }
        | Request::Unsubscribe { .. }
        | Request::Credit(_)
        | Request::Control(_)
        | Request::Nothing
        | Request::Unknown { .. }
        | Request::Wrong => 0,
    }
}

//! Envoy: the bytes of sessions pass through the filter, and a tick ends streams that are overdue.

use std::cell::Cell;

use super::{Gateway, RequestHeaders, Upgrade};
use crate::filter::Filter;
use crate::host::{self, Map, Status};
use crate::lost::Lost;
use crate::session_stream::{Opened, SessionStream};
use crate::stream::Action;

#[derive(Default)]
pub(crate) struct Envoy {
    closing: Closing,
}

impl Gateway for Envoy {
    fn request_headers(&self) -> Result<RequestHeaders, Status> {
        host::headers(Map::Request).map(RequestHeaders::All)
    }

    fn passes_others(&self) -> bool {
        true
    }

    fn upgrade(&self, filter: &Filter, context_id: u32, upgrade: &Upgrade<'_>) -> Result<Opened, Status> {
        SessionStream::open(filter, context_id, upgrade)
    }

    /// A write that was sent is never sent again, whatever the route says: this header overrides its retry policy.
    fn forward(&self, is_write: bool) -> Result<(), Status> {
        if is_write {
            host::set_header(Map::Request, "x-envoy-max-retries", b"0")?;
        }
        Ok(())
    }

    fn client(&self) -> Option<String> {
        let address = String::from_utf8(host::property(&["source", "address"]).ok()?).ok()?;
        address.rsplit_once(':').map(|(host, _)| host.to_owned())
    }

    fn is_unsent(&self) -> bool {
        let details = host::property(&["response", "code_details"]).unwrap_or_default();
        UNSENT.iter().any(|unsent| details.starts_with(unsent))
    }

    fn replace_answer(&self, lost: Lost, headers: &[(&str, &str)]) -> Result<(), Status> {
        host::respond(lost.status(), headers, lost.document().as_bytes())
    }

    /// Envoy logs no header that it was not told to.
    fn answered(&self) {}

    /// It is reset unless it has ended by itself in [`CLOSE_TICKS`].
    fn closing(&self, context_id: u32) {
        self.closing.add(context_id);
    }

    /// Resets it, at the latest in [`CLOSE_TICKS`].
    fn give_up(&self, context_id: u32) -> Action {
        self.closing.add(context_id);
        let _ = host::reset_stream();
        Action::Pause
    }

    fn action(&self, action: Action) -> Action {
        action
    }

    fn tick(&self) {
        self.closing.tick();
    }
}

/// Asking twice is asking once.
pub(super) fn ask_for_ticks() -> Result<(), Status> {
    host::tick_every(TICK)
}

/// Streams that have to end soon, oldest first.
///
/// Their time is counted in ticks: a worker that is so busy that its ticks come late has not heard the bridge either.
#[derive(Default)]
struct Closing {
    ticks: Cell<u64>,
    /// Emptied while it is worked on: a host call may enter the filter again.
    streams: Cell<Vec<Overdue>>,
}

struct Overdue {
    context_id: u32,
    /// The tick at which it is reset.
    deadline: u64,
}

impl Closing {
    fn add(&self, context_id: u32) {
        let deadline = self.ticks.get().saturating_add(CLOSE_TICKS);
        let mut streams = self.streams.take();
        streams.push(Overdue { context_id, deadline });
        self.streams.set(streams);
    }

    fn tick(&self) {
        let now = self.ticks.get().saturating_add(1);
        self.ticks.set(now);
        let (overdue, mut waiting): (Vec<_>, Vec<_>) =
            self.streams.take().into_iter().partition(|stream| stream.deadline <= now);
        for stream in overdue {
            // A stream that has ended in the meantime cannot be entered.
            if host::enter_stream(stream.context_id).is_ok() && host::reset_stream().is_err() {
                waiting.push(stream);
            }
        }
        waiting.append(&mut self.streams.take());
        self.streams.set(waiting);
    }
}

/// Beginnings of Envoy's response code details that mean that no attempt had a connection to send the request on, or that the
/// bridge refused the stream unread (RFC 9113, section 8.7: "guaranteed not to have been processed").
const UNSENT: [&[u8]; 7] = [
    b"upstream_reset_before_response_started{local_connection_failure",
    b"upstream_reset_before_response_started{remote_connection_failure",
    b"upstream_reset_before_response_started{connection_timeout",
    b"upstream_reset_before_response_started{overflow",
    b"upstream_reset_before_response_started{remote_refused_stream_reset",
    b"no_healthy_upstream",
    b"cluster_not_found",
];

/// How many ticks the bridge has to end a session, the one under way included: 2 s to 2.5 s. Long enough for answers under
/// way, short for a client that waits.
const CLOSE_TICKS: u64 = 5;

/// Milliseconds between two looks at overdue streams.
const TICK: u32 = 500;

//! Envoy: session bytes pass through the filter, and ticks end overdue streams.

use std::cell::Cell;

use sluicegate_protocol::metadata;
use sluicegate_rights::Claims;
use sluicegate_ws_session::handshake::{Accepted, Http};

use super::{Gateway, RequestHeaders};
use crate::config::{CertificateName, Config, Profile, Route, Source};
use crate::dynamic_metadata;
use crate::host::{self, Action, Map, Status};
use crate::unanswered_request::UnansweredRequest;

#[derive(Default)]
pub(crate) struct Envoy {
    closing: Closing,
}

impl Gateway for Envoy {
    fn request_headers(&self) -> Result<RequestHeaders, Status> {
        host::headers(Map::Request).map(RequestHeaders::All)
    }

    fn http(&self) -> Http {
        host::property(&["request", "protocol"]).map_or(Http::default(), |name| Http::parse(&name))
    }

    fn passes_others(&self) -> bool {
        true
    }

    /// Turns the client's request into the bridge's. The path stays: a new one would select Envoy's route again.
    fn upgrade(&self, config: &Config, route: &Route, accepted: &Accepted) -> Result<(), Status> {
        if config.profile == Profile::Relay {
            return super::relay(config, route, accepted);
        }
        for name in HOP_HEADERS {
            host::remove_header(Map::Request, name.as_bytes())?;
        }
        host::set_header(Map::Request, "content-type", b"application/grpc")?;
        host::set_header(Map::Request, metadata::PADDED, b"true")?;
        let max_bytes = config.max_message_bytes.to_string();
        host::set_header(Map::Request, metadata::MAX_MESSAGE_BYTES, max_bytes.as_bytes())?;
        super::tell(config, route, accepted)
    }

    fn runs_sessions(&self, config: &Config) -> bool {
        config.profile == Profile::Tunnel
    }

    fn replace_unreachable(&self) -> Result<(), Status> {
        let headers = [("content-type", "text/plain; charset=utf-8"), ("retry-after", "1")];
        host::respond(503, &headers, b"the pub/sub bridge cannot be reached, try again\n")
    }

    fn replace_unrouted(&self, headers: &[(&str, &str)]) -> Result<(), Status> {
        if host::property(&["response", "code_details"]).unwrap_or_default() != b"route_not_found" {
            return Ok(());
        }
        let headers = [&[("content-type", "text/plain; charset=utf-8")], headers].concat();
        host::respond(
            404,
            &headers,
            b"the filter has this route, but the gateway has none to the bridge for it\n",
        )
    }

    /// Writes are never retried: this header overrides the route's retry policy.
    fn forward(&self, is_write: bool) -> Result<(), Status> {
        if is_write {
            host::set_header(Map::Request, "x-envoy-max-retries", b"0")?;
        }
        Ok(())
    }

    fn claims(&self, source: &Source) -> Option<Claims> {
        match source {
            Source::Metadata { namespace, payload } => {
                let metadata = host::property(&["metadata"]).ok()?;
                dynamic_metadata::claims(&metadata, namespace, payload.as_deref())
            }
            Source::Certificate(name) => certificate(*name),
            Source::Consumer | Source::Token(_) => None,
        }
    }

    /// Envoy selects its route again, by the same path.
    fn replace_path(&self, path: &[u8]) -> Result<(), Status> {
        host::set_header(Map::Request, ":path", path)
    }

    fn client(&self) -> Option<String> {
        let address = String::from_utf8(host::property(&["source", "address"]).ok()?).ok()?;
        address.rsplit_once(':').map(|(host, _)| host.to_owned())
    }

    fn is_unsent(&self) -> bool {
        let details = host::property(&["response", "code_details"]).unwrap_or_default();
        UNSENT.iter().any(|unsent| details.starts_with(unsent))
    }

    fn replace_answer(&self, unanswered: UnansweredRequest, headers: &[(&str, &str)]) -> Result<(), Status> {
        host::respond(unanswered.status(), headers, unanswered.document().as_bytes())
    }

    /// Resets the stream after [`CLOSE_TICKS`], unless it has ended.
    fn closing(&self, context_id: u32) {
        self.closing.add(context_id);
    }

    /// Resets the stream now, or after [`CLOSE_TICKS`] if the host refuses.
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

/// The owner of the client's certificate. None unless Envoy has verified its chain, which it tells from version 1.39 on.
fn certificate(name: CertificateName) -> Option<Claims> {
    let of_connection = |name: &str| host::property(&["connection", name]).ok();
    if of_connection("peer_certificate_valid")? != [1] {
        return None;
    }
    let subject = of_connection(match name {
        CertificateName::Uri => "uri_san_peer_certificate",
        CertificateName::Dns => "dns_san_peer_certificate",
        CertificateName::Subject => "subject_peer_certificate",
    });
    let subject = String::from_utf8(subject?).ok().filter(|subject| !subject.is_empty())?;
    Some(Claims::of([("sub".to_owned(), subject.into())].into_iter().collect()))
}

/// Repeated requests have no further effect.
pub(super) fn ask_for_ticks() -> Result<(), Status> {
    host::tick_every(TICK)
}

/// Streams that must end soon, oldest first.
///
/// Deadlines count ticks: a worker whose ticks are late has not read from the bridge either.
#[derive(Default)]
struct Closing {
    ticks: Cell<u64>,
    /// Empty while it is processed: a host call can re-enter the filter.
    streams: Cell<Vec<Overdue>>,
}

struct Overdue {
    context_id: u32,
    /// The tick at which the stream is reset.
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

/// Prefixes of Envoy's response code details for requests that no connection carried, or that the bridge refused unread
/// (RFC 9113, section 8.7: "guaranteed not to have been processed").
const UNSENT: [&[u8]; 7] = [
    b"upstream_reset_before_response_started{local_connection_failure",
    b"upstream_reset_before_response_started{remote_connection_failure",
    b"upstream_reset_before_response_started{connection_timeout",
    b"upstream_reset_before_response_started{overflow",
    b"upstream_reset_before_response_started{remote_refused_stream_reset",
    b"no_healthy_upstream",
    b"cluster_not_found",
];

/// Headers that are not forwarded. The last two would break HTTP/2: a WebSocket has no length, and RFC 9113, section
/// 8.2.2, allows only `trailers` in `te`. The bridge would close the connection, and with it other clients' sessions.
const HOP_HEADERS: [&str; 6] = [
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
    "content-length",
    "te",
];

/// Ticks that the bridge has to end a session, including the current one: 2.4 s to 2.5 s. Long enough for answers in
/// flight, short for a client that waits.
const CLOSE_TICKS: u64 = 25;

/// Milliseconds between two ticks.
const TICK: u32 = 100;

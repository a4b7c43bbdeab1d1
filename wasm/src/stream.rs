//! One HTTP stream: host callbacks become inputs of a session, its outputs become host calls.

use std::rc::Rc;

use sluicegate_protocol::{SERVICE_PATH_PREFIX, metadata};
use sluicegate_session::answer::Edit;
use sluicegate_session::handshake::{Accepted, Headers, Refused};
use sluicegate_session::{Input, Output, Session};

use crate::config::{Profile, Route};
use crate::filter::Filter;
use crate::host::{self, Buffer, Level, Map, Status};

/// A stream and how far its session has come.
pub(crate) struct Stream {
    context_id: u32,
    /// None where the filter could not be configured: every request is refused.
    filter: Option<Rc<Filter>>,
    state: State,
}

/// What the host does after a callback.
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub(crate) enum Action {
    Continue = 0,
    Pause = 1,
}

enum State {
    /// Not a session of ours: everything passes as it is.
    Foreign,
    /// The upgrade was refused: the answer passes, and nothing of what the client says.
    Refused,
    /// The upgrade is on its way to the bridge.
    Asked(Accepted, Session),
    /// The client has its 101.
    Open(Session),
    /// The host refused a call that the session needs: nothing passes any more.
    Failed,
}

impl Stream {
    pub(crate) fn new(context_id: u32, filter: Option<Rc<Filter>>) -> Self {
        Self { context_id, filter, state: State::Foreign }
    }
}

/// The host's callbacks.
impl Stream {
    pub(crate) fn on_request_headers(&mut self) -> Action {
        let Some(filter) = self.filter.clone() else {
            let _ = host::respond(
                503,
                &[("content-type", TEXT)],
                "the gateway's pub/sub filter is not configured\n",
            );
            return Action::Pause;
        };
        match self.request(&filter) {
            Ok(Verdict::Pass) => Action::Continue,
            Ok(Verdict::Refuse(refused)) => {
                filter.stats.handshake_refused();
                let mut headers = vec![("content-type", TEXT)];
                headers.extend(refused.header);
                match host::respond(refused.status, &headers, &format!("{}\n", refused.reason)) {
                    Ok(()) => Action::Pause,
                    Err(status) => self.fail("refuse a handshake", status),
                }
            }
            Err(status) => self.fail("read a request", status),
        }
    }

    pub(crate) fn on_request_body(&mut self, size: usize) -> Action {
        self.step("pass on a client's bytes", |stream, filter| stream.client_bytes(filter, size))
    }

    // Trailers that pass would take along what a failed stream holds back.
    pub(crate) fn on_trailers(&mut self) -> Action {
        self.step("pass on trailers", |_, _| Ok(()))
    }

    pub(crate) fn on_response_headers(&mut self) -> Action {
        self.step("answer an upgrade", Self::response)
    }

    pub(crate) fn on_response_body(&mut self, size: usize, end: bool) -> Action {
        self.step("pass on an answer", |stream, filter| stream.bridge_bytes(filter, size, end))
    }

    pub(crate) fn on_log(&mut self) {
        self.end();
    }
}

impl Stream {
    /// Judges a request; what it says is sent by the caller.
    fn request(&mut self, filter: &Filter) -> Result<Verdict, Status> {
        let path = host::header(Map::Request, ":path")?.unwrap_or_default();
        strip_metadata()?;
        if path.starts_with(SERVICE_PATH_PREFIX.as_bytes()) {
            return Ok(Verdict::refuse(404, "there is nothing here"));
        }
        let Some(route) = filter.config.route(&path) else { return Ok(Verdict::Pass) };
        if std::str::from_utf8(&path).is_err() {
            return Ok(Verdict::refuse(400, "the path is not UTF-8"));
        }
        match handshake(route)? {
            Err(refused) => Ok(Verdict::Refuse(refused)),
            Ok(accepted) => {
                forward(filter, route)?;
                let session = Session::new(filter.limits, route.write, &filter.budget);
                self.state = State::Asked(accepted, session);
                Ok(Verdict::Pass)
            }
        }
    }

    fn response(&mut self, filter: &Filter) -> Result<(), Status> {
        let (accepted, session) = match std::mem::replace(&mut self.state, State::Refused) {
            State::Asked(accepted, session) => (accepted, session),
            other => {
                self.state = other;
                return Ok(());
            }
        };
        let status = host::header(Map::Response, ":status")?.unwrap_or_default();
        let grpc_status = host::header(Map::Response, "grpc-status")?;
        let upgraded: &[u8] = match filter.config.profile {
            Profile::Tunnel => b"101",
            Profile::Internal => b"200",
        };
        if status == upgraded && grpc_status.is_none() {
            host::remove_header(Map::Response, b"content-type")?;
            host::set_header(Map::Response, "sec-websocket-accept", accepted.accept.as_bytes())?;
            if let Some(subprotocol) = &accepted.subprotocol {
                host::set_header(Map::Response, "sec-websocket-protocol", subprotocol.as_bytes())?;
            }
            filter.stats.session_opened();
            self.state = State::Open(session);
            return Ok(());
        }
        filter.stats.bridge_refused();
        // A refusal that says when to come back is the bridge's own and passes; the proxy's 503 would not help a client.
        let says_when = host::header(Map::Response, "retry-after")?.is_some();
        if grpc_status.is_some() || (status == b"503" && !says_when) {
            let headers = [("content-type", TEXT), ("retry-after", "1")];
            host::respond(503, &headers, "the pub/sub bridge cannot be reached, try again\n")?;
        }
        Ok(())
    }

    fn client_bytes(&mut self, filter: &Filter, size: usize) -> Result<(), Status> {
        if size == 0 {
            return Ok(());
        }
        let session = match &mut self.state {
            State::Asked(_, session) | State::Open(session) => session,
            State::Refused => return host::replace_front(Buffer::RequestBody, size, b""),
            State::Foreign | State::Failed => return Ok(()),
        };
        let mut bytes = host::buffer(Buffer::RequestBody, size)?;
        filter.stats.received(bytes.len());
        let mut outputs = Vec::new();
        session.handle(Input::Client(&mut bytes), &mut outputs);
        let mut to_bridge = Vec::new();
        for output in outputs {
            match output {
                Output::ToBridge(bytes) => to_bridge = bytes,
                Output::Count(event) => filter.stats.event(event),
                Output::Closing | Output::Closed => filter.closing(self.context_id),
                Output::ToClient(_) => {}
            }
        }
        host::replace_front(Buffer::RequestBody, size, &to_bridge)
    }

    fn bridge_bytes(&mut self, filter: &Filter, size: usize, end: bool) -> Result<(), Status> {
        let State::Open(session) = &mut self.state else { return Ok(()) };
        let mut seen = Vec::new();
        loop {
            let wanted = session.wanted(size, &seen);
            if wanted <= seen.len() {
                break;
            }
            seen = host::buffer(Buffer::ResponseBody, wanted)?;
            if seen.len() < wanted {
                break;
            }
        }
        let mut outputs = Vec::new();
        session.handle(Input::Bridge { size, seen: &seen }, &mut outputs);
        let mut sent = size;
        for output in outputs {
            match output {
                Output::ToClient(edit) => {
                    sent = sent.saturating_sub(edit.drop).saturating_add(edit.insert.len());
                    apply(&edit, size)?;
                }
                Output::Count(event) => filter.stats.event(event),
                Output::Closing | Output::Closed => filter.closing(self.context_id),
                Output::ToBridge(_) => {}
            }
        }
        if end {
            let mut outputs = Vec::new();
            session.handle(Input::BridgeEnd, &mut outputs);
            for output in outputs {
                if let Output::ToClient(edit) = output
                    && !edit.insert.is_empty()
                {
                    sent = sent.saturating_add(edit.insert.len());
                    host::append(Buffer::ResponseBody, &edit.insert)?;
                }
            }
        }
        filter.stats.sent(sent);
        Ok(())
    }

    fn step(&mut self, what: &str, step: impl FnOnce(&mut Self, &Filter) -> Result<(), Status>) -> Action {
        match (&self.state, self.filter.clone()) {
            (State::Failed, _) => Action::Pause,
            (_, None) => Action::Continue,
            (_, Some(filter)) => match step(self, &filter) {
                Ok(()) => Action::Continue,
                Err(status) => self.fail(what, status),
            },
        }
    }

    /// The host refused a call without which the stream cannot go on: nothing half-done may pass.
    fn fail(&mut self, what: &str, status: Status) -> Action {
        self.end();
        self.state = State::Failed;
        host::log(Level::Error, &format!("sluicegate: failed to {what}: {status}, the stream is reset"));
        if let Some(filter) = &self.filter {
            filter.stats.host_call_failed();
            filter.closing(self.context_id);
        }
        let _ = host::reset_stream();
        Action::Pause
    }

    fn end(&mut self) {
        if let (State::Open(_), Some(filter)) = (&self.state, &self.filter) {
            filter.stats.session_ended();
            self.state = State::Refused;
        }
    }
}

enum Verdict {
    Pass,
    Refuse(Refused),
}

impl Verdict {
    fn refuse(status: u16, reason: &'static str) -> Self {
        Self::Refuse(Refused { status, header: None, reason })
    }
}

/// Removes what the bridge would take for the gateway's word.
fn strip_metadata() -> Result<(), Status> {
    let prefix = metadata::PREFIX.as_bytes();
    for name in host::header_names(Map::Request)? {
        if name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix)) {
            host::remove_header(Map::Request, &name)?;
        }
    }
    Ok(())
}

fn handshake(route: &Route) -> Result<Result<Accepted, Refused>, Status> {
    let method = host::header(Map::Request, ":method")?.unwrap_or_default();
    let upgrade = host::header(Map::Request, "upgrade")?;
    let connection = host::header(Map::Request, "connection")?;
    let key = host::header(Map::Request, "sec-websocket-key")?;
    let version = host::header(Map::Request, "sec-websocket-version")?;
    let protocol = host::header(Map::Request, "sec-websocket-protocol")?;
    let origin = host::header(Map::Request, "origin")?;
    Ok(route.policy.check(&Headers {
        method: &method,
        upgrade: upgrade.as_deref(),
        connection: connection.as_deref(),
        key: key.as_deref(),
        version: version.as_deref(),
        protocol: protocol.as_deref(),
        origin: origin.as_deref(),
    }))
}

/// Makes the bridge's request of the client's.
fn forward(filter: &Filter, route: &Route) -> Result<(), Status> {
    for name in HOP_HEADERS {
        host::remove_header(Map::Request, name.as_bytes())?;
    }
    if filter.config.profile == Profile::Internal {
        host::remove_header(Map::Request, b"upgrade")?;
        host::remove_header(Map::Request, b"connection")?;
        host::set_header(Map::Request, ":method", b"POST")?;
        host::set_header(Map::Request, "te", b"trailers")?;
    }
    host::set_header(Map::Request, "content-type", b"application/grpc")?;
    host::set_header(Map::Request, metadata::CLUSTER, route.cluster.as_bytes())?;
    if let Some(secret) = &filter.config.gateway_secret {
        host::set_header(Map::Request, metadata::GATEWAY_SECRET, secret.expose().as_bytes())?;
    }
    Ok(())
}

/// Changes the front of the chunk of `size` bytes that the host holds.
fn apply(edit: &Edit, size: usize) -> Result<(), Status> {
    if edit.drop == 0 && edit.insert.is_empty() {
        return Ok(());
    }
    let changed = host::replace_front(Buffer::ResponseBody, edit.drop, &edit.insert);
    if changed.is_ok() || edit.drop == 0 || edit.drop >= size {
        return changed;
    }
    // A host that replaces all or nothing.
    let mut whole = edit.insert.clone();
    whole.extend(host::buffer(Buffer::ResponseBody, size)?.into_iter().skip(edit.drop));
    host::replace_front(Buffer::ResponseBody, size, &whole)
}

/// What ends here. The last two would break HTTP/2: a WebSocket has no length, and section 8.2.2 of RFC 9113 allows `te`
/// with `trailers` alone; the bridge would drop its whole connection, and other clients' sessions with it.
const HOP_HEADERS: [&str; 6] = [
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
    "content-length",
    "te",
];

const TEXT: &str = "text/plain; charset=utf-8";

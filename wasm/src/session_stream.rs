//! A stream with a WebSocket session: host callbacks become inputs of the session, its outputs become host calls.

use sluicegate_protocol::metadata;
use sluicegate_ws_session::answer::Edit;
use sluicegate_ws_session::handshake::{Accepted, Headers, Policy, Refused};
use sluicegate_ws_session::source::Source;
use sluicegate_ws_session::{Input, Output, Session, padding};

use crate::config::{Profile, Route};
use crate::filter::Filter;
use crate::gateway::Upgrade;
use crate::host::{self, Buffer, Map, Status};

/// A session and how far it has come.
pub(crate) struct SessionStream {
    context_id: u32,
    state: State,
}

enum State {
    /// The bridge refused the upgrade, or all is over: the answer passes, and nothing of what the client says.
    Refused,
    /// The upgrade is on its way to the bridge.
    Asked(Accepted, Session),
    /// The client has its 101.
    Open(Session),
}

/// What a handshake comes to.
pub(crate) enum Opened {
    /// The request is the bridge's now.
    Session(Box<SessionStream>),
    /// The request is the bridge's now, and so is all that a session is.
    Passed,
    /// The request is to be answered with this.
    Refused(Refused),
}

impl SessionStream {
    /// Judges the handshake.
    pub(crate) fn open(filter: &Filter, context_id: u32, upgrade: &Upgrade<'_>) -> Result<Opened, Status> {
        match handshake(upgrade.policy)? {
            Err(refused) => Ok(Opened::Refused(refused)),
            Ok(accepted) => {
                forward(filter, upgrade.route)?;
                let source = filter.gateway.client().map(|client| Source::parse(client.as_bytes()));
                let source = source.unwrap_or_default();
                let session = Session::new(filter.limits, &filter.unfinished, source);
                let state = State::Asked(accepted, session);
                Ok(Opened::Session(Box::new(Self { context_id, state })))
            }
        }
    }

    pub(crate) fn response(&mut self, filter: &Filter) -> Result<(), Status> {
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
        filter.take_mark()?;
        // A refusal that says when to come back is the bridge's own and passes; the proxy's 503 would not help a client.
        let says_when = host::header(Map::Response, "retry-after")?.is_some();
        if grpc_status.is_some() || (status == b"503" && !says_when) {
            let headers = [("content-type", "text/plain; charset=utf-8"), ("retry-after", "1")];
            host::respond(503, &headers, b"the pub/sub bridge cannot be reached, try again\n")?;
        }
        Ok(())
    }

    pub(crate) fn client_bytes(&mut self, filter: &Filter, size: usize) -> Result<(), Status> {
        if size == 0 {
            return Ok(());
        }
        let session = match &mut self.state {
            State::Asked(_, session) | State::Open(session) => session,
            State::Refused => return host::replace_front(Buffer::RequestBody, size, b""),
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
                Output::Closing { .. } | Output::Closed => filter.gateway.closing(self.context_id),
                Output::ToClient(_) => {}
            }
        }
        padding::pad(&mut to_bridge);
        host::replace_front(Buffer::RequestBody, size, &to_bridge)
    }

    pub(crate) fn bridge_bytes(&mut self, filter: &Filter, size: usize, end: bool) -> Result<(), Status> {
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
                Output::Closing { .. } | Output::Closed => filter.gateway.closing(self.context_id),
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

    pub(crate) fn end(&mut self, filter: &Filter) {
        if let State::Open(_) = self.state {
            filter.stats.session_ended();
            self.state = State::Refused;
        }
    }
}

/// What the route says to the current request.
pub(crate) fn handshake(policy: &Policy) -> Result<Result<Accepted, Refused>, Status> {
    let method = host::header(Map::Request, ":method")?.unwrap_or_default();
    let upgrade = host::header(Map::Request, "upgrade")?;
    let connection = host::header(Map::Request, "connection")?;
    let key = host::header(Map::Request, "sec-websocket-key")?;
    let version = host::header(Map::Request, "sec-websocket-version")?;
    let protocol = host::header(Map::Request, "sec-websocket-protocol")?;
    let origin = host::header(Map::Request, "origin")?;
    Ok(policy.check(&Headers {
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
    host::set_header(Map::Request, metadata::PADDED, b"true")?;
    for (name, value) in filter.config.metadata(route) {
        host::set_header(Map::Request, name, value.as_bytes())?;
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

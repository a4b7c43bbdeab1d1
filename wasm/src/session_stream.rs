//! A stream with a WebSocket session: host callbacks become inputs of the session, its outputs become host calls. A session
//! that the gateway relays has neither.

use sluicegate_fair_share::ClientKey;
use sluicegate_ws_session::answer::Edit;
use sluicegate_ws_session::handshake::{Accepted, Headers, Http, Policy, Refused};
use sluicegate_ws_session::{Input, Output, Session, pad};

use crate::filter::Filter;
use crate::host::{self, Buffer, Map, Status};
use crate::pairs;

/// A session and its state.
pub(crate) struct SessionStream {
    context_id: u32,
    source: ClientKey,
    state: State,
}

enum State {
    /// The bridge refused the upgrade, or the session is over: the answer passes, the client's bytes do not.
    Refused,
    /// The upgrade was forwarded to the bridge.
    Asked(Accepted, Session),
    /// The upgrade is accepted.
    Open(Session),
}

impl SessionStream {
    /// A session whose upgrade was forwarded.
    pub(crate) fn new(filter: &Filter, context_id: u32, accepted: Accepted) -> Self {
        let source = filter.gateway.client().map(|client| ClientKey::parse(client.as_bytes()));
        let codec = accepted.codec();
        let source = source.unwrap_or_default();
        let session = Session::new(filter.limits, codec, &filter.unfinished, source);
        Self { context_id, source, state: State::Asked(accepted, session) }
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
        if status == b"101" && grpc_status.is_none() {
            host::remove_header(Map::Response, b"content-type")?;
            if let Some(accept) = &accepted.accept {
                host::set_header(Map::Response, "sec-websocket-accept", accept.as_bytes())?;
            }
            if let Some(subprotocol) = &accepted.subprotocol {
                host::set_header(Map::Response, "sec-websocket-protocol", subprotocol.as_bytes())?;
            }
            filter.stats.session_opened();
            self.state = State::Open(session);
            return Ok(());
        }
        filter.bridge_refused(&status, grpc_status.is_some())
    }

    pub(crate) fn client_bytes(&mut self, filter: &Filter, size: usize) -> Result<(), Status> {
        if size == 0 {
            return Ok(());
        }
        let session = match &mut self.state {
            State::Asked(_, session) | State::Open(session) => session,
            State::Refused => return host::replace_front(Buffer::RequestBody, size, b""),
        };
        if session.ignores_client() {
            return host::replace_front(Buffer::RequestBody, size, b"");
        }
        let mut bytes = host::buffer(Buffer::RequestBody, size)?;
        filter.stats.received(bytes.len());
        let mut outputs = Vec::new();
        let max_frames = filter.frames.room(self.source);
        session.handle(Input::Client { bytes: &mut bytes, max_frames }, &mut outputs);
        filter.frames.count(self.source, session.frames());
        let mut to_bridge = Vec::new();
        for output in outputs {
            match output {
                Output::ToBridge(bytes) => to_bridge = bytes,
                Output::Count(event, count) => filter.stats.event(event, count),
                Output::Closing { .. } | Output::Closed => filter.gateway.closing(self.context_id),
                Output::ToClient(_) => {}
            }
        }
        pad(&mut to_bridge);
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
                Output::Count(event, count) => filter.stats.event(event, count),
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

/// A session that the gateway relays to the bridge: the filter sees the answer to the upgrade, and leaves all bytes alone.
pub(crate) struct RelayedSession {
    /// Whether the client sent a key. Otherwise the bridge answers the gateway's.
    has_key: bool,
    is_open: bool,
}

impl RelayedSession {
    pub(crate) fn new(accepted: &Accepted) -> Self {
        Self { has_key: accepted.accept.is_some(), is_open: false }
    }

    pub(crate) fn response(&mut self, filter: &Filter) -> Result<(), Status> {
        if self.is_open {
            return Ok(());
        }
        let status = host::header(Map::Response, ":status")?.unwrap_or_default();
        if status != b"101" {
            return filter.bridge_refused(&status, false);
        }
        if !self.has_key {
            host::remove_header(Map::Response, b"sec-websocket-accept")?;
        }
        filter.stats.session_opened();
        self.is_open = true;
        Ok(())
    }

    pub(crate) fn end(&mut self, filter: &Filter) {
        if std::mem::take(&mut self.is_open) {
            filter.stats.session_ended();
        }
    }
}

/// Checks the current request's handshake by the route's policy.
pub(crate) fn handshake(http: Http, policy: &Policy) -> Result<Result<Accepted, Refused>, Status> {
    let headers = host::headers(Map::Request)?;
    let [upgrade, connection, key, version, protocol, origin, length, encoding, preflight] = [
        "upgrade",
        "connection",
        "sec-websocket-key",
        "sec-websocket-version",
        "sec-websocket-protocol",
        "origin",
        "content-length",
        "transfer-encoding",
        "access-control-request-method",
    ]
    .map(|name| pairs::joined(&headers, name));
    Ok(policy.check(&Headers {
        http,
        method: pairs::last(&headers, ":method").unwrap_or_default(),
        upgrade: upgrade.as_deref(),
        connection: connection.as_deref(),
        key: key.as_deref(),
        version: version.as_deref(),
        protocol: protocol.as_deref(),
        origin: origin.as_deref(),
        content_length: length.as_deref(),
        transfer_encoding: encoding.as_deref(),
        preflight: preflight.as_deref(),
    }))
}

/// Edits the front of the host's chunk of `size` bytes.
fn apply(edit: &Edit, size: usize) -> Result<(), Status> {
    if edit.drop == 0 && edit.insert.is_empty() {
        return Ok(());
    }
    let changed = host::replace_front(Buffer::ResponseBody, edit.drop, &edit.insert);
    if changed.is_ok() || edit.drop == 0 || edit.drop >= size {
        return changed;
    }
    // Some hosts only replace a whole chunk.
    let mut whole = edit.insert.clone();
    whole.extend(host::buffer(Buffer::ResponseBody, size)?.into_iter().skip(edit.drop));
    host::replace_front(Buffer::ResponseBody, size, &whole)
}

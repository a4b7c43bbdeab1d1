//! One HTTP stream: its kind, and the host's callbacks for it.

use std::rc::Rc;

use sluicegate_protocol::{SERVICE_PATH_PREFIX, metadata};
use sluicegate_ws_session::handshake::{Accepted, LOG_IN, Refused};

use crate::config::{Kind, Personal, Route, Source};
use crate::filter::Filter;
use crate::gateway::RequestHeaders;
use crate::host::{self, Action, Map, Status};
use crate::http_stream::HttpStream;
use crate::pairs::{self, Header};
use crate::session_stream::{RelayedSession, SessionStream, handshake};
use crate::token::{self, Places};
use crate::url;

/// A stream and its state.
pub(crate) struct Stream {
    context_id: u32,
    /// None if the filter has no valid configuration: every request is refused.
    filter: Option<Rc<Filter>>,
    state: State,
}

enum State {
    /// Not on a route of the filter: everything passes unchanged.
    Foreign,
    /// A WebSocket session that the filter runs.
    Session(SessionStream),
    /// A WebSocket session that the gateway relays.
    Relayed(RelayedSession),
    /// A plain HTTP request, which the bridge answers.
    Http(HttpStream),
    /// The host refused a call that the stream needs: nothing passes.
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
            let refused = refuse(503, "the gateway's pub/sub filter is not configured");
            return refused.unwrap_or(Action::Fail);
        };
        let action = self.request(&filter);
        let action = action.unwrap_or_else(|status| self.fail("answer a request", status));
        filter.gateway.action(action)
    }

    pub(crate) fn on_request_body(&mut self, size: usize) -> Action {
        self.step("pass on a client's bytes", |state, filter| match state {
            State::Session(session) => session.client_bytes(filter, size).map(|()| Action::Continue),
            State::Relayed(_) | State::Http(_) | State::Foreign => Ok(Action::Continue),
            State::Failed => Ok(Action::Pause),
        })
    }

    /// In either direction.
    pub(crate) fn on_trailers(&mut self) -> Action {
        match self.state {
            // Forwarded trailers would release the held bytes.
            State::Failed => Action::Pause,
            State::Session(_) | State::Relayed(_) | State::Http(_) | State::Foreign => Action::Continue,
        }
    }

    pub(crate) fn on_response_headers(&mut self) -> Action {
        self.step("pass on the headers of an answer", |state, filter| {
            filter.gateway.answered();
            match state {
                State::Session(session) => session.response(filter)?,
                State::Relayed(session) => session.response(filter)?,
                State::Http(http) => http.response(filter)?,
                State::Foreign => {}
                State::Failed => return Ok(Action::Pause),
            }
            Ok(Action::Continue)
        })
    }

    pub(crate) fn on_response_body(&mut self, size: usize, end: bool) -> Action {
        self.step("pass on an answer", |state, filter| match state {
            State::Session(session) => session.bridge_bytes(filter, size, end).map(|()| Action::Continue),
            State::Relayed(_) | State::Http(_) | State::Foreign => Ok(Action::Continue),
            State::Failed => Ok(Action::Pause),
        })
    }

    /// The stream has ended.
    pub(crate) fn on_delete(&mut self) {
        self.end();
    }
}

impl Stream {
    /// Finds the request's route and applies it.
    fn request(&mut self, filter: &Filter) -> Result<Action, Status> {
        let headers = match filter.gateway.request_headers()? {
            RequestHeaders::All(headers) => headers,
            RequestHeaders::Refused(status, reason) => return refuse(status, reason),
        };
        let path = pairs::last(&headers, ":path").unwrap_or_default();
        strip_metadata(&headers)?;
        if path.starts_with(SERVICE_PATH_PREFIX.as_bytes()) {
            filter.stats.handshake_refused();
            return refuse(404, "there is nothing here");
        }
        let Some(route) = filter.config.route(path) else {
            if filter.gateway.passes_others() {
                return Ok(Action::Continue);
            }
            filter.stats.handshake_refused();
            return refuse(404, "the gateway's filter has no route for this path");
        };
        if let Some(client) = filter.gateway.client() {
            host::set_header(Map::Request, metadata::CLIENT, client.as_bytes())?;
        }
        let mut shown = Shown::default();
        if let Some(personal) = &route.grant.policy {
            shown = match identify(filter, route.name(), personal, &headers)? {
                Ok(shown) => shown,
                Err(refused) => {
                    return answer(&match &route.kind {
                        Kind::Pubsub { policy } => policy.refusal(pairs::last(&headers, "origin"), refused),
                        Kind::Http(_) => refused,
                    });
                }
            };
        }
        let path = shown.path.as_deref().unwrap_or(path);
        let encoded = url::encoded(path);
        if let Some(encoded) = &encoded {
            filter.gateway.replace_path(encoded.as_bytes())?;
        }
        let path = encoded.as_ref().map_or(path, String::as_bytes);
        match &route.kind {
            Kind::Pubsub { policy } => match handshake(filter.gateway.http(), policy)? {
                Ok(accepted) => self.open(filter, route, accepted),
                Err(refused) => {
                    filter.stats.handshake_refused();
                    answer(&if shown.is_nobody { refused.or_login(LOG_IN, "Bearer") } else { refused })
                }
            },
            Kind::Http(http) => {
                let rest = route.rest(path).unwrap_or_default();
                match HttpStream::forward(filter, route, http, rest, &headers)? {
                    Ok(stream) => {
                        self.state = State::Http(stream);
                        Ok(Action::Continue)
                    }
                    Err(refused) => refuse(refused.status, refused.reason),
                }
            }
        }
    }

    /// Forwards an accepted upgrade to the bridge.
    fn open(&mut self, filter: &Filter, route: &Route, accepted: Accepted) -> Result<Action, Status> {
        filter.gateway.upgrade(&filter.config, route, &accepted)?;
        self.state = if filter.gateway.runs_sessions(&filter.config) {
            State::Session(SessionStream::new(filter, self.context_id, accepted))
        } else {
            State::Relayed(RelayedSession::new(&accepted))
        };
        Ok(Action::Continue)
    }

    fn step(
        &mut self,
        what: &str,
        step: impl FnOnce(&mut State, &Filter) -> Result<Action, Status>,
    ) -> Action {
        let Some(filter) = self.filter.clone() else { return Action::Continue };
        let action = step(&mut self.state, &filter);
        filter.gateway.action(action.unwrap_or_else(|status| self.fail(what, status)))
    }

    /// Ends the stream after the host refused a call that it needs, so that nothing half-done passes.
    fn fail(&mut self, what: &str, status: Status) -> Action {
        self.end();
        self.state = State::Failed;
        host::log_error(&format!("failed to {what}: {status}; the stream is ended"));
        let Some(filter) = &self.filter else { return Action::Pause };
        filter.stats.host_call_failed();
        filter.gateway.give_up(self.context_id)
    }

    fn end(&mut self) {
        let Some(filter) = &self.filter else { return };
        match &mut self.state {
            State::Session(session) => session.end(filter),
            State::Relayed(session) => session.end(filter),
            State::Http(_) | State::Foreign | State::Failed => {}
        }
    }
}

/// The identity that a request shows.
#[derive(Default)]
struct Shown {
    /// None, and the route asks for one.
    is_nobody: bool,
    /// The path of the request without its token, if that had one.
    path: Option<Vec<u8>>,
}

/// Tells the bridge who the client is: its verified claims, or its token, which nobody else sees any more.
fn identify(
    filter: &Filter,
    route: &str,
    personal: &Personal,
    headers: &[Header],
) -> Result<Result<Shown, Refused>, Status> {
    let Some(source) = &personal.source else { return Ok(Ok(Shown::default())) };
    let needs_login = personal.policy.identity.as_ref().is_some_and(|identity| !identity.anonymous);
    let Source::Token(places) = source else {
        let claims = filter.gateway.claims(source);
        if let Some(claims) = &claims {
            match personal.told(claims) {
                Ok(told) => host::set_header(Map::Request, metadata::IDENTITY, told.as_bytes())?,
                Err(reason) => return Ok(Err(Refused::new(431, reason))),
            }
        } else if token::find(headers, &Places::default()).token.is_some() {
            filter.log_doubt(route, source);
        }
        return Ok(Ok(Shown { is_nobody: needs_login && claims.is_none(), path: None }));
    };
    let found = token::find(headers, places);
    if found.is_authorization {
        host::remove_header(Map::Request, b"authorization")?;
    }
    match found.protocols.as_deref() {
        None => {}
        Some(b"") => host::remove_header(Map::Request, b"sec-websocket-protocol")?,
        Some(others) => host::set_header(Map::Request, "sec-websocket-protocol", others)?,
    }
    if let Some(path) = &found.path {
        filter.gateway.replace_path(path)?;
    }
    if let Some(token) = &found.token {
        if !token::can_be_one(token) {
            let challenge = Some(("www-authenticate", "Bearer error=\"invalid_token\""));
            return Ok(Err(Refused { header: challenge, ..Refused::new(401, token::EXPECTED) }));
        }
        host::set_header(Map::Request, metadata::TOKEN, token)?;
    }
    let is_nobody = needs_login && found.token.is_none();
    if is_nobody && pairs::last(headers, "authorization").is_some() {
        let challenge = Some(("www-authenticate", "Bearer"));
        return Ok(Err(Refused { header: challenge, ..Refused::new(401, NOT_BEARER) }));
    }
    Ok(Ok(Shown { is_nobody, path: found.path }))
}

/// Refuses the request with a problem document.
fn answer(refused: &Refused) -> Result<Action, Status> {
    host::respond(refused.status, &refused.headers(), refused.document().as_bytes())?;
    Ok(Action::Pause)
}

/// Refuses the request in plain text.
fn refuse(status: u16, reason: &str) -> Result<Action, Status> {
    let headers = [("content-type", "text/plain; charset=utf-8")];
    host::respond(status, &headers, format!("{reason}\n").as_bytes())?;
    Ok(Action::Pause)
}

/// The reason for clients whose `Authorization` is of another scheme, or has none.
const NOT_BEARER: &str = "expected Authorization: Bearer TOKEN";

/// Removes the headers by which only the gateway may speak to the bridge.
fn strip_metadata(headers: &[Header]) -> Result<(), Status> {
    for (name, _) in headers.iter().filter(|(name, _)| metadata::is_for_gateways(name)) {
        host::remove_header(Map::Request, name)?;
    }
    Ok(())
}

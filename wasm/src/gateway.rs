//! The differences between the gateways that host the filter.

mod apisix;
mod envoy;

use sluicegate_protocol::metadata;
use sluicegate_rights::Claims;
use sluicegate_ws_session::handshake::{Accepted, Http};

use self::apisix::Apisix;
use self::envoy::Envoy;
use crate::config::{Config, Host, Route, Source};
use crate::host::{self, Action, Map, Status};
use crate::pairs::Header;
use crate::unanswered_request::UnansweredRequest;

/// A gateway as one plugin on one worker uses it.
pub(crate) trait Gateway {
    /// All headers of the current request.
    fn request_headers(&self) -> Result<RequestHeaders, Status>;

    /// The current request's version of HTTP.
    fn http(&self) -> Http;

    /// Whether requests without a route pass unchanged.
    fn passes_others(&self) -> bool;

    /// Prepares the current request, an accepted upgrade of a route's path, for the bridge.
    fn upgrade(&self, config: &Config, route: &Route, accepted: &Accepted) -> Result<(), Status>;

    /// Whether the filter runs sessions. Otherwise the gateway relays them to the bridge, which does.
    fn runs_sessions(&self, config: &Config) -> bool;

    /// Replaces the gateway's own answer to an upgrade for which it did not reach the bridge.
    fn replace_unreachable(&self) -> Result<(), Status>;

    /// Replaces the gateway's own answer to a request for which it has no route, with these headers too. Another answer
    /// passes.
    fn replace_unrouted(&self, headers: &[(&str, &str)]) -> Result<(), Status>;

    /// Forwards the current request, a plain HTTP request with all headers set, to the bridge.
    fn forward(&self, is_write: bool) -> Result<(), Status>;

    /// The claims of the client that the gateway has verified.
    fn claims(&self, source: &Source) -> Option<Claims>;

    /// Replaces the path of the current request with this one, without a token and in ASCII, on the same route.
    fn replace_path(&self, path: &[u8]) -> Result<(), Status>;

    /// The client's address, without its port.
    fn client(&self) -> Option<String>;

    /// Whether the gateway, which answers the current request itself, proves that none of it reached the bridge.
    fn is_unsent(&self) -> bool;

    /// Replaces the gateway's own answer to the current request.
    fn replace_answer(&self, unanswered: UnansweredRequest, headers: &[(&str, &str)]) -> Result<(), Status>;

    /// The current request is answered: plugins that log it must not see the headers for the bridge. Envoy logs only
    /// configured headers.
    fn answered(&self) {}

    /// The session on this stream is closed, so the stream should end soon. In APISIX, each request ends by itself.
    fn closing(&self, _context_id: u32) {}

    /// Ends the current stream after a failure; returns the action for the host.
    fn give_up(&self, context_id: u32) -> Action;

    /// The action for this host that stands for `action`.
    fn action(&self, action: Action) -> Action;

    /// Called once per tick.
    fn tick(&self) {}
}

/// Prepares an accepted upgrade for the bridge's own WebSocket endpoint, which checks the handshake again and answers
/// it.
fn relay(config: &Config, route: &Route, accepted: &Accepted) -> Result<(), Status> {
    host::remove_header(Map::Request, b"sec-websocket-extensions")?;
    if accepted.accept.is_none() {
        host::set_header(Map::Request, "sec-websocket-key", KEY)?;
    }
    tell(config, route, accepted)
}

/// Sets a session's headers for the bridge: subprotocol, cluster, grant and secret.
fn tell(config: &Config, route: &Route, accepted: &Accepted) -> Result<(), Status> {
    if let Some(subprotocol) = &accepted.subprotocol {
        host::set_header(Map::Request, metadata::SUBPROTOCOL, subprotocol.as_bytes())?;
    }
    for (name, value) in config.metadata(route) {
        host::set_header(Map::Request, name, value.as_bytes())?;
    }
    Ok(())
}

/// The key of relayed clients that have none. RFC 6455, section 1.3: it proves that a server read the request as an
/// upgrade, which the bridge does.
const KEY: &[u8] = b"c2x1aWNlZ2F0ZS1maWx0ZQ==";

/// A request's headers, if the host shows all of them.
pub(crate) enum RequestHeaders {
    /// All headers.
    All(Vec<Header>),
    /// The host does not show all of them: refuse the request with this status and reason.
    Refused(u16, &'static str),
}

/// Detects the gateway by a function that only Envoy has. An error says why it cannot.
pub(crate) fn detect() -> Result<Host, String> {
    match envoy::ask_for_ticks() {
        Ok(()) => Ok(Host::Envoy),
        Err(Status::UNIMPLEMENTED) => Ok(Host::Apisix),
        Err(status) => {
            Err(format!("the gateway cannot be detected, as it answers a request for ticks with {status}"))
        }
    }
}

/// The gateway of a configuration. An error is the line to log.
pub(crate) fn start(config: &Config) -> Result<Box<dyn Gateway>, String> {
    match config.host {
        Host::Apisix => Ok(Box::new(Apisix)),
        Host::Envoy => match envoy::ask_for_ticks() {
            Ok(()) => Ok(Box::new(Envoy::default())),
            Err(status @ Status::UNIMPLEMENTED) => Err(format!(
                "invalid configuration: host: must be \"apisix\": Envoy has ticks, but this gateway answers {status}"
            )),
            Err(status) => Err(format!("failed to set the tick period: {status}")),
        },
    }
}

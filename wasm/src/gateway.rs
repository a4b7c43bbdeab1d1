//! What the gateways that host the filter do each in its own way.

pub(crate) mod apisix;
pub(crate) mod envoy;

use sluicegate_ws_session::handshake::Policy;

use self::apisix::Apisix;
use self::envoy::Envoy;
use crate::config::{Config, Host, Route};
use crate::filter::Filter;
use crate::host::Status;
use crate::lost::Lost;
use crate::pairs::Header;
use crate::session_stream::Opened;
use crate::stream::Action;

/// A gateway, on one worker, for one plugin.
pub(crate) trait Gateway {
    /// The current request's headers, all of them.
    fn request_headers(&self) -> Result<RequestHeaders, Status>;

    /// Whether a request that no route takes is somebody else's, and passes.
    fn passes_others(&self) -> bool;

    /// Makes a session of the current request, an upgrade to a route's path.
    fn upgrade(&self, filter: &Filter, context_id: u32, upgrade: &Upgrade<'_>) -> Result<Opened, Status>;

    /// Prepares the current request, a plain HTTP request with all headers set, for its way to the bridge.
    fn forward(&self, is_write: bool) -> Result<(), Status>;

    /// The address of the current request's client, without its port.
    fn client(&self) -> Option<String>;

    /// Whether the gateway, which answers the current request by itself, proves that the bridge received nothing of it.
    fn is_unsent(&self) -> bool;

    /// Answers the current request in place of the gateway.
    fn replace_answer(&self, lost: Lost, headers: &[(&str, &str)]) -> Result<(), Status>;

    /// The current request has an answer: plugins that log it must not read the headers for the bridge.
    fn answered(&self);

    /// The stream is over for us: it is to end soon.
    fn closing(&self, context_id: u32);

    /// Ends the current stream, which cannot go on; what the host is told then.
    fn give_up(&self, context_id: u32) -> Action;

    /// What the host is told in the place of `action`.
    fn action(&self, action: Action) -> Action;

    /// Time goes on.
    fn tick(&self);
}

/// What there is to know of a request's headers.
pub(crate) enum RequestHeaders {
    /// These.
    All(Vec<Header>),
    /// The host does not show all of them: the request is to be refused with this status and reason.
    Refused(u16, &'static str),
}

/// A route's word on upgrades.
pub(crate) struct Upgrade<'a> {
    pub(crate) route: &'a Route,
    pub(crate) policy: &'a Policy,
}

/// Finds out which gateway this is, by a function that only one of them has; why, where that does not tell.
pub(crate) fn detect() -> Result<Host, String> {
    match envoy::ask_for_ticks() {
        Ok(()) => Ok(Host::Envoy),
        Err(Status::UNIMPLEMENTED) => Ok(Host::Apisix),
        Err(status) => {
            Err(format!("to a request for ticks, which tells the two apart, the answer is {status}"))
        }
    }
}

/// The gateway of a configuration; as an error, the line for the log that says why it cannot be used.
pub(crate) fn start(config: &Config) -> Result<Box<dyn Gateway>, String> {
    match config.host {
        Host::Apisix => Ok(Box::new(Apisix)),
        Host::Envoy => match envoy::ask_for_ticks() {
            Ok(()) => Ok(Box::new(Envoy::default())),
            Err(status @ Status::UNIMPLEMENTED) => Err(format!(
                "bad configuration: host: \"apisix\" is expected: Envoy has ticks, and here the answer is {status}"
            )),
            Err(status) => Err(format!("failed to ask for ticks: {status}")),
        },
    }
}

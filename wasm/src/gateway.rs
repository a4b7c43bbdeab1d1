//! What the gateways that host the filter do each in its own way.

pub(crate) mod apisix;
pub(crate) mod envoy;

use sluicegate_session::handshake::Policy;

use self::apisix::Apisix;
use self::envoy::Envoy;
use crate::config::{Cluster, Config, Host};
use crate::filter::Filter;
use crate::host::{self, Status};
use crate::http::Header;
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

    /// The current request, one that the filter does not answer from the bridge, has an answer: nothing that comes after the
    /// filter reads any more what the bridge alone is to know.
    fn answered(&self);

    /// Whether the current request's body is complete with its headers; where it is not, the host is asked for the rest.
    /// `end` is what the host says, `safe` whether the method is.
    fn has_ended(&self, end: bool, safe: bool) -> Result<bool, Status>;

    /// Calls the bridge; the token of the call.
    fn call(&self, call: &Call<'_>) -> Result<u32, Status>;

    /// Makes a stream the current one, for the end of its call.
    fn enter(&self, context_id: u32) -> Result<(), Status>;

    /// What the host is given as the body of an answer.
    fn body<'a>(&self, status: u16, body: &'a [u8]) -> &'a [u8];

    /// Nobody waits for this call.
    fn cancel(&self, token: u32);

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
    pub(crate) cluster: &'a Cluster,
    pub(crate) write: bool,
    pub(crate) policy: &'a Policy,
}

/// A unary call of the bridge.
pub(crate) struct Call<'a> {
    pub(crate) metadata: &'a [(&'a str, &'a str)],
    /// The message, with gRPC's head in front.
    pub(crate) framed: &'a [u8],
    pub(crate) timeout_ms: u32,
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

/// The gateway of a configuration; None, and why in the log, where it cannot be used.
pub(crate) fn start(config: &Config) -> Option<Box<dyn Gateway>> {
    match config.host {
        Host::Apisix => Some(Box::new(Apisix::new(&config.bridge))),
        Host::Envoy => match envoy::ask_for_ticks() {
            Ok(()) => Some(Box::new(Envoy::new(&config.bridge))),
            Err(status @ Status::UNIMPLEMENTED) => {
                host::log_error(&format!(
                    "bad configuration: host: \"apisix\" is expected: Envoy has ticks, and here the answer is {status}"
                ));
                None
            }
            Err(status) => {
                host::log_error(&format!("failed to ask for ticks: {status}"));
                None
            }
        },
    }
}

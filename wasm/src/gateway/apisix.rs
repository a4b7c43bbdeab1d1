//! Apache APISIX (wasm-nginx-module): the filter judges a request before it goes on to its upstream, which is the bridge: its
//! WebSocket endpoint for a session, its HTTP endpoint for a plain request.
//!
//! After a callback, the host sends the local response if there is one. Otherwise it passes the request on if the result is 0,
//! and fails it with 503 if that is negative. Any other result crashes the worker.

use sluicegate_protocol::metadata;

use super::{Gateway, RequestHeaders, Upgrade};
use crate::filter::Filter;
use crate::host::{self, Map, Status};
use crate::lost::Lost;
use crate::session_stream::{Opened, handshake};
use crate::stream::Action;

pub(crate) struct Apisix;

impl Gateway for Apisix {
    /// The host crashes where it is asked for all headers of a request without `Host`, and gives only the first of them: a header
    /// that a client hid behind those would reach the bridge.
    fn request_headers(&self) -> Result<RequestHeaders, Status> {
        if host::header(Map::Request, "host")?.is_none() {
            return Ok(RequestHeaders::Refused(400, "a Host header is expected"));
        }
        let headers = host::headers(Map::Request)?;
        Ok(if headers.len() >= SHOWN_HEADERS {
            RequestHeaders::Refused(431, TOO_MANY)
        } else {
            RequestHeaders::All(headers)
        })
    }

    /// APISIX has found the route by a path that it wrote in another way, and the upstream may be the bridge: what the filter does
    /// not know there is nobody's.
    fn passes_others(&self) -> bool {
        false
    }

    /// The request goes on to the bridge, which is told what the session can do.
    fn upgrade(&self, filter: &Filter, _: u32, upgrade: &Upgrade<'_>) -> Result<Opened, Status> {
        let accepted = match handshake(upgrade.policy)? {
            Err(refused) => return Ok(Opened::Refused(refused)),
            Ok(accepted) => accepted,
        };
        host::remove_header(Map::Request, b"sec-websocket-extensions")?;
        if let Some(subprotocol) = &accepted.subprotocol {
            host::set_header(Map::Request, metadata::SUBPROTOCOL, subprotocol.as_bytes())?;
        }
        for (name, value) in filter.config.metadata(upgrade.route) {
            host::set_header(Map::Request, name, value.as_bytes())?;
        }
        to_the_bridge()?;
        Ok(Opened::Passed)
    }

    /// nginx sends a write a second time only if nothing of it was sent (`proxy_next_upstream` without `non_idempotent`).
    fn forward(&self, _: bool) -> Result<(), Status> {
        to_the_bridge()
    }

    fn client(&self) -> Option<String> {
        String::from_utf8(host::property(&["remote_addr"]).ok()?).ok()
    }

    /// nginx updates `upstream_bytes_sent` only after this callback if the upstream answered, so received bytes count as well.
    fn is_unsent(&self) -> bool {
        is_nothing("upstream_bytes_sent") && is_nothing("upstream_bytes_received")
    }

    /// The status alone: this host cannot change the body of a response, which stays nginx's page.
    fn replace_answer(&self, lost: Lost, headers: &[(&str, &str)]) -> Result<(), Status> {
        host::set_header(Map::Response, ":status", lost.status().to_string().as_bytes())?;
        for (name, value) in headers.iter().filter(|(name, _)| *name != "content-type") {
            host::set_header(Map::Response, name, value.as_bytes())?;
        }
        if lost.retry_after().is_none() {
            host::remove_header(Map::Response, b"retry-after")?;
        }
        if lost.is_unknown() {
            host::set_header(Map::Response, OUTCOME, b"unknown")?;
        }
        Ok(())
    }

    /// Plugins that log show all headers of the request, after its answer. The upstream has had its own by now.
    fn answered(&self) {
        for name in metadata::ALL {
            if let Err(status) = host::remove_header(Map::Request, name.as_bytes()) {
                host::log_error(&format!("failed to remove {name} from what is logged: {status}"));
            }
        }
    }

    /// Each request ends by itself.
    fn closing(&self, _: u32) {}

    /// Answers it. A response that the host has taken half of would be sent with a body that is not its own: this one has nothing
    /// that the host could refuse.
    fn give_up(&self, _: u32) -> Action {
        match host::respond::<&str, &str>(500, &[], b"the gateway cannot handle this request\n") {
            Ok(()) => Action::Continue,
            Err(_) => Action::Fail,
        }
    }

    fn action(&self, action: Action) -> Action {
        match action {
            Action::Fail => Action::Fail,
            Action::Continue | Action::Pause => Action::Continue,
        }
    }

    fn tick(&self) {}
}

/// Whether an nginx variable counts zero bytes. It does not exist if another plugin answered before the upstream was chosen. nginx
/// separates attempts by commas and colons.
fn is_nothing(variable: &str) -> bool {
    match host::property(&[variable]) {
        Ok(bytes) => !bytes.is_empty() && bytes.iter().all(|byte| b"0-,: ".contains(byte)),
        Err(status) => status == Status::NOT_FOUND,
    }
}

/// Sends the current request to the bridge with a path that is none of the client's words: the headers hold the path that was
/// matched, and a query can hold a key.
fn to_the_bridge() -> Result<(), Status> {
    host::set_property("upstream_uri", "/")
}

/// Says in a response that the request may or may not have been carried out.
const OUTCOME: &str = "sluicegate-outcome";

/// The host shows 100 headers and four pseudo headers: where there are as many, there may be more.
const SHOWN_HEADERS: usize = 104;

const TOO_MANY: &str = "fewer than 100 headers are expected, those that the gateway adds among them";

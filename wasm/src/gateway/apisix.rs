//! Apache APISIX (wasm-nginx-module): the filter checks a request before it goes to its upstream, the bridge: to its
//! WebSocket endpoint for a session, to its HTTP endpoint for a plain request.
//!
//! After a callback, the host sends the local response if there is one. Otherwise it forwards the request if the result
//! is 0, and fails it with 503 if the result is negative. Any other result crashes the worker.

use sluicegate_protocol::metadata;
use sluicegate_rights::Claims;
use sluicegate_ws_session::handshake::{Accepted, Http};

use super::{Gateway, RequestHeaders};
use crate::config::{Config, Route, Source};
use crate::host::{self, Action, Map, Status};
use crate::unanswered_request::UnansweredRequest;

pub(crate) struct Apisix;

impl Gateway for Apisix {
    /// The host crashes if the headers of a request without `Host` are listed. It lists only the first headers: others
    /// could carry a client's forged header to the bridge.
    fn request_headers(&self) -> Result<RequestHeaders, Status> {
        if host::header(Map::Request, "host")?.is_none() {
            return Ok(RequestHeaders::Refused(400, "this request needs a Host header"));
        }
        let headers = host::headers(Map::Request)?;
        Ok(if headers.len() >= SHOWN_HEADERS {
            RequestHeaders::Refused(431, TOO_MANY)
        } else {
            RequestHeaders::All(headers)
        })
    }

    fn http(&self) -> Http {
        host::property(&["server_protocol"]).map_or(Http::default(), |name| Http::parse(&name))
    }

    /// APISIX finds its route by a normalized path, and the upstream may be the bridge. Requests without a route of the
    /// filter are refused.
    fn passes_others(&self) -> bool {
        false
    }

    fn upgrade(&self, config: &Config, route: &Route, accepted: &Accepted) -> Result<(), Status> {
        super::relay(config, route, accepted)?;
        to_the_bridge()
    }

    /// The host shows no bytes after an upgrade.
    fn runs_sessions(&self, _: &Config) -> bool {
        false
    }

    /// Nothing to do: this host cannot change a response's body, and nginx's page says that the upstream is away.
    fn replace_unreachable(&self) -> Result<(), Status> {
        Ok(())
    }

    /// Nothing to do: the filter runs on routes of the gateway only.
    fn replace_unrouted(&self, _: &[(&str, &str)]) -> Result<(), Status> {
        Ok(())
    }

    /// nginx retries a write only if nothing of it was sent (`proxy_next_upstream` without `non_idempotent`).
    fn forward(&self, _: bool) -> Result<(), Status> {
        to_the_bridge()
    }

    /// The headers of authentication plugins; this host has no metadata.
    fn claims(&self, source: &Source) -> Option<Claims> {
        let Source::Consumer = source else { return None };
        let claim = |name: &str, header: &str| {
            let value = String::from_utf8(host::header(Map::Request, header).ok()??).ok()?;
            (!value.is_empty()).then(|| (name.to_owned(), value.into()))
        };
        let consumer = claim("sub", "x-consumer-username")?;
        let credential = claim("credential", "x-credential-identifier");
        Some(Claims::of([consumer].into_iter().chain(credential).collect()))
    }

    /// Nothing to do: the bridge gets neither.
    fn replace_path(&self, _: &[u8]) -> Result<(), Status> {
        Ok(())
    }

    fn client(&self) -> Option<String> {
        String::from_utf8(host::property(&["remote_addr"]).ok()?).ok()
    }

    /// nginx updates `upstream_bytes_sent` only after this callback if the upstream answered, so received bytes count
    /// as well.
    fn is_unsent(&self) -> bool {
        is_nothing("upstream_bytes_sent") && is_nothing("upstream_bytes_received")
    }

    /// Sets only status and headers: this host cannot change a response's body, which remains nginx's page.
    fn replace_answer(&self, unanswered: UnansweredRequest, headers: &[(&str, &str)]) -> Result<(), Status> {
        host::set_header(Map::Response, ":status", unanswered.status().to_string().as_bytes())?;
        host::set_header(Map::Response, "cache-control", b"no-store")?;
        for (name, value) in headers.iter().filter(|(name, _)| *name != "content-type") {
            host::set_header(Map::Response, name, value.as_bytes())?;
        }
        if unanswered.retry_after().is_none() {
            host::remove_header(Map::Response, b"retry-after")?;
        }
        if unanswered.is_unknown() {
            host::set_header(Map::Response, OUTCOME, b"unknown")?;
        }
        Ok(())
    }

    /// Logging plugins show all headers of the request after it is answered. The upstream has received them by now.
    fn answered(&self) {
        for name in metadata::ALL {
            if let Err(status) = host::remove_header(Map::Request, name.as_bytes()) {
                host::log_error(&format!(
                    "failed to remove {name} from the headers that plugins log: {status}"
                ));
            }
        }
    }

    /// Answers with 500. If the host refused parts of a response, it would send another body; this one has nothing to
    /// refuse.
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
}

/// Whether an nginx variable counts zero bytes. The variable does not exist if another plugin answered before an
/// upstream was chosen. nginx separates attempts by commas and colons.
fn is_nothing(variable: &str) -> bool {
    match host::property(&[variable]) {
        Ok(bytes) => !bytes.is_empty() && bytes.iter().all(|byte| b"0-,: ".contains(byte)),
        Err(status) => status == Status::NOT_FOUND,
    }
}

/// Sends the current request to the bridge without the client's path: the headers carry the matched path, and a query
/// could contain a key.
fn to_the_bridge() -> Result<(), Status> {
    host::set_property("upstream_uri", "/")
}

/// Marks a response whose request may or may not have been carried out.
const OUTCOME: &str = "sluicegate-outcome";

/// The host shows at most 100 headers and four pseudo-headers: a list this long may be incomplete.
const SHOWN_HEADERS: usize = 104;

const TOO_MANY: &str = "too many headers: fewer than 100 are allowed, including those that the gateway adds";

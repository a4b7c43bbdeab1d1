//! Apache APISIX (wasm-nginx-module): the filter is asked before a request goes on to its upstream, once with its headers and
//! once with its whole body; calls are HTTP/1.1's. A session is the bridge's own WebSocket endpoint, which is the upstream.
//!
//! Where a callback registered a call, the host makes it; else it answers with what was left for the client; else it passes
//! the request on if the result is 0, and fails it with 503 if that is negative. Any other result it does not survive.

use sluicegate_protocol::{CALL_PATH, metadata};

use super::{Call, Gateway, RequestHeaders, Upgrade};
use crate::filter::Filter;
use crate::grpc_web;
use crate::host::{self, Buffer, HttpCall, Map, Status};
use crate::http::Failure;
use crate::session_stream::{Opened, handshake};
use crate::stream::Action;

pub(crate) struct Apisix {
    scheme: &'static str,
    /// The bridge, as `host:port`.
    address: String,
}

impl Apisix {
    /// With the address of the bridge, as the configuration has it.
    pub(super) fn new(bridge: &str) -> Self {
        let (scheme, address) = match bridge.strip_prefix("https://") {
            Some(address) => ("https", address),
            None => ("http", bridge),
        };
        Self { scheme, address: address.to_owned() }
    }
}

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

    /// The request goes on to the bridge, which is told what the session may do; to a path that is no word of the client's, without
    /// a query, which may hold a key.
    fn upgrade(&self, filter: &Filter, _: u32, upgrade: &Upgrade<'_>) -> Result<Opened, Status> {
        let accepted = match handshake(upgrade.policy)? {
            Err(refused) => return Ok(Opened::Refused(refused)),
            Ok(accepted) => accepted,
        };
        host::remove_header(Map::Request, b"sec-websocket-extensions")?;
        if upgrade.write {
            host::set_header(Map::Request, metadata::WRITE, b"true")?;
        }
        if let Some(subprotocol) = &accepted.subprotocol {
            host::set_header(Map::Request, metadata::SUBPROTOCOL, subprotocol.as_bytes())?;
        }
        for (name, value) in filter.config.metadata(upgrade.cluster) {
            host::set_header(Map::Request, name, value.as_bytes())?;
        }
        host::set_property("upstream_uri", "/")?;
        Ok(Opened::Passed)
    }

    /// Plugins that log show all headers of the request, after its answer. The upstream has had its own by now.
    fn answered(&self) {
        for name in metadata::ALL {
            if let Err(status) = host::remove_header(Map::Request, name.as_bytes()) {
                host::log_error(&format!("failed to remove {name} from what is logged: {status}"));
            }
        }
    }

    /// The host never says that there is more: it reads a body when it is asked to, and shows it as a whole, an empty one, too.
    fn has_ended(&self, _: bool, safe: bool) -> Result<bool, Status> {
        if !safe {
            host::set_property("wasm_process_req_body", "true")?;
        }
        Ok(safe)
    }

    /// The host limits each step of a call by itself. What is missing of the first four headers it takes from its last call.
    fn call(&self, call: &Call<'_>) -> Result<u32, Status> {
        let mut headers = vec![
            (":method", "POST"),
            (":scheme", self.scheme),
            (":path", CALL_PATH),
            (":authority", self.address.as_str()),
            ("content-type", grpc_web::CONTENT_TYPE),
            ("x-grpc-web", "1"),
        ];
        headers.extend_from_slice(call.metadata);
        host::http_call(&HttpCall {
            target: &self.address,
            headers: &headers,
            body: call.framed,
            timeout_ms: call.timeout_ms,
        })
    }

    /// It is the current one already: a call ends within its request.
    fn enter(&self, _: u32) -> Result<(), Status> {
        Ok(())
    }

    /// In the place of no body, nginx gives a page of its own where the status is not one of success.
    fn body<'a>(&self, status: u16, body: &'a [u8]) -> &'a [u8] {
        if body.is_empty() && status >= 300 && status != 304 { b"\n" } else { body }
    }

    /// There is no way to.
    fn cancel(&self, _: u32) {}

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
            Action::Continue | Action::Pause | Action::Discard => Action::Continue,
        }
    }

    fn tick(&self) {}
}

/// What a call was answered with, in so many headers and bytes.
pub(crate) fn answer(headers: usize, size: usize) -> Result<Vec<u8>, Failure> {
    if headers == 0 {
        return grpc_web::answer(&[], Vec::new());
    }
    let headers = host::headers(Map::HttpCallResponse).map_err(|_| Failure::Unreadable)?;
    let body = match size {
        0 => Vec::new(),
        size => host::buffer(Buffer::HttpCallResponse, size).map_err(|_| Failure::Unreadable)?,
    };
    grpc_web::answer(&headers, body)
}

/// The host shows 100 headers and four pseudo headers: where there are as many, there may be more.
const SHOWN_HEADERS: usize = 104;

const TOO_MANY: &str = "fewer than 100 headers are expected, those that the gateway adds among them";

//! One request with its response, as nginx and the module hold it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::lines::Lines;
use super::stream::Outcome;
use crate::{Headers, Response};

/// An HTTP call-out under way, as lua-resty-http sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What the filter knows the call by.
    pub token: u32,
    /// As `http://bridge.example:7400/path`.
    pub url: String,
    /// In upper case.
    pub method: String,
    /// As sent, with the `host`, `content-length` and `user-agent` that lua-resty-http adds.
    pub headers: Headers,
    /// As sent.
    pub body: Vec<u8>,
    /// For connecting, for each sending and for each reading by itself; zero is the default of 60 s.
    pub timeout: Duration,
}

/// A call-out that the filter has registered and that has not been made yet.
pub(crate) struct Registered {
    pub(crate) token: u32,
    pub(crate) upstream: String,
    /// `None` where the filter gave no bytes at all.
    pub(crate) headers: Option<Headers>,
    pub(crate) body: Vec<u8>,
    pub(crate) timeout: Duration,
}

/// The end of the last call-out.
#[derive(Default)]
pub(crate) enum Reply {
    /// There was none, or it failed.
    #[default]
    None,
    /// Its callback is running.
    Open { headers: Headers, body: Vec<u8> },
    /// Its callback has run: what the module still points to is somebody else's memory.
    Freed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// `proxy_on_request_headers` and its call-outs, then `proxy_on_request_body` and its.
    RequestHeaders,
    RequestBody,
    /// The answer's headers are on their way to the client.
    ResponseHeaders,
}

pub(crate) struct Exchange {
    pub(crate) route: u32,
    pub(crate) method: Vec<u8>,
    /// `unparsed_uri`.
    pub(crate) path: Vec<u8>,
    pub(crate) scheme: Vec<u8>,
    pub(crate) request: Lines,
    /// What the client sends; nginx reads it when it is asked for.
    pub(crate) body: Vec<u8>,
    pub(crate) variables: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) phase: Phase,
    /// The plugin's context and the request's own, once there was a callback.
    pub(crate) context: Option<(u32, u32)>,
    pub(crate) registered: Option<Registered>,
    /// The last call-out's.
    pub(crate) token: u32,
    pub(crate) reply: Reply,
    pub(crate) status: u16,
    pub(crate) response: Lines,
    pub(crate) outcome: Outcome,
}

impl Exchange {
    pub(crate) fn new(route: u32, headers: &Headers, body: Vec<u8>) -> Self {
        let mut request = Lines::default();
        let pseudo = |name: &str| headers.get(name).unwrap_or_default().to_vec();
        // nginx, `ngx_http_v2_construct_host_header`.
        if let Some(authority) = headers.get(":authority") {
            request.push(b"host", authority);
        }
        for (name, value) in headers.iter().filter(|(name, _)| name.first() != Some(&b':')) {
            request.push(name, value);
        }
        let scheme = headers.get(":scheme").unwrap_or(b"http").to_vec();
        Self {
            route,
            method: pseudo(":method"),
            path: pseudo(":path"),
            scheme,
            request,
            body,
            variables: BTreeMap::new(),
            phase: Phase::RequestHeaders,
            context: None,
            registered: None,
            token: 0,
            reply: Reply::None,
            status: 0,
            response: Lines::default(),
            outcome: Outcome::Lost,
        }
    }

    /// The request as the filter left it. `apisix/cli/ngx_tpl.lua`: `proxy_pass` goes to `$upstream_uri` where that is set.
    pub(crate) fn forwarded(&self) -> Headers {
        let uri = self.variables.get(&b"upstream_uri"[..]).filter(|uri| !uri.is_empty());
        let path = uri.unwrap_or(&self.path);
        let pseudo: [(&[u8], &[u8]); 3] =
            [(b":method", &self.method), (b":path", path), (b":scheme", &self.scheme)];
        self.request.behind(pseudo)
    }

    /// The response as the filter left it. nginx leaves the body of an answer to `HEAD` out.
    pub(crate) fn answer(&self, body: Vec<u8>) -> Response {
        let status = self.status.to_string();
        let headers = self.response.behind([(&b":status"[..], status.as_bytes())]);
        let body = if self.method == b"HEAD" { Vec::new() } else { body };
        Response { headers, body, trailers: None, complete: true }
    }
}

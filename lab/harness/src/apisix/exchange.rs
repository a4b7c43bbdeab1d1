//! One request with its response, as nginx and the module hold it.

use std::collections::BTreeMap;

use crate::abi::headers::{Headers, Response};

/// The fate of a request so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// nginx forwards it to the route's upstream, with these headers and the client's body.
    Forwarded(Headers),
    /// The filter, or nginx itself, has answered it.
    Answered(Response),
    /// APISIX could not run the plugin and answers 503, with this log line.
    Unavailable(&'static str),
    /// The worker has crashed or hangs.
    Lost,
}

impl Outcome {
    pub fn response(&self) -> Option<&Response> {
        match self {
            Self::Answered(response) => Some(response),
            _ => None,
        }
    }
}

/// nginx variables that a filter may set: `apisix/cli/ngx_tpl.lua`, `location /`.
pub const VARIABLES: [&str; 6] = [
    "upstream_connection",
    "upstream_host",
    "upstream_upgrade",
    "upstream_uri",
    "wasm_process_req_body",
    "wasm_process_resp_body",
];

pub(crate) struct Exchange {
    pub(crate) route: u32,
    pub(crate) method: Vec<u8>,
    /// `unparsed_uri`.
    pub(crate) path: Vec<u8>,
    pub(crate) scheme: Vec<u8>,
    /// The test's `:version`, or `HTTP/1.1`.
    version: Vec<u8>,
    pub(crate) request: Headers,
    /// The client's address.
    pub(crate) client: String,
    /// nginx's `upstream_bytes_sent` and `upstream_bytes_received`, once there is an upstream.
    pub(crate) bytes: Option<[String; 2]>,
    pub(crate) variables: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The plugin's context and the request's own, once there was a callback.
    pub(crate) context: Option<(u32, u32)>,
    pub(crate) status: u16,
    pub(crate) response: Headers,
    pub(crate) outcome: Outcome,
}

impl Exchange {
    pub(crate) fn new(route: u32, client: &str, headers: &Headers) -> Self {
        let mut request = Headers::default();
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
            version: headers.get(":version").unwrap_or(b"HTTP/1.1").to_vec(),
            request,
            client: client.to_owned(),
            bytes: None,
            variables: BTreeMap::new(),
            context: None,
            status: 0,
            response: Headers::default(),
            outcome: Outcome::Lost,
        }
    }

    /// An nginx variable; `None` if it is unset or unknown.
    pub(crate) fn variable(&self, name: &[u8]) -> Option<Vec<u8>> {
        match name {
            b"remote_addr" => Some(self.client.clone().into_bytes()),
            b"server_protocol" => Some(self.version.clone()),
            b"upstream_bytes_sent" => self.bytes.clone().map(|[sent, _]| sent.into_bytes()),
            b"upstream_bytes_received" => self.bytes.clone().map(|[_, received]| received.into_bytes()),
            _ => {
                let known = VARIABLES.iter().any(|known| known.as_bytes() == name);
                self.variables.get(name).cloned().or(known.then(Vec::new))
            }
        }
    }

    /// The request as the filter left it. `apisix/cli/ngx_tpl.lua`: `proxy_pass` uses `$upstream_uri` if it is set.
    pub(crate) fn forwarded(&self) -> Headers {
        let uri = self.variables.get(&b"upstream_uri"[..]).filter(|uri| !uri.is_empty());
        let path = uri.unwrap_or(&self.path);
        let pseudo: [(&[u8], &[u8]); 3] =
            [(b":method", &self.method), (b":path", path), (b":scheme", &self.scheme)];
        Headers::of_lines(pseudo.into_iter().chain(self.request.iter()))
    }

    /// The response as the filter left it. nginx omits the body of a response to `HEAD`.
    pub(crate) fn answer(&self, body: Vec<u8>) -> Response {
        let status = self.status.to_string();
        let headers =
            Headers::of_lines([(&b":status"[..], status.as_bytes())].into_iter().chain(self.response.iter()));
        let body = if self.method == b"HEAD" { Vec::new() } else { body };
        Response { headers, body, trailers: None, complete: true }
    }
}

//! `proxy_http_call`: a call-out is registered while the callback runs, and sent by lua-resty-http afterwards.

use std::time::Duration;

use crate::apisix::exchange::{Call, Phase, Registered};
use crate::apisix::host::Host;
use crate::calls::{HostCall, Import};
use crate::guest::{Args, Guest, Refused};
use crate::{Headers, Status, pairs};

pub(super) const IMPORTS: &[Import<Host>] =
    &[Import::proxy(HostCall::HttpCall, "proxy_http_call", "iiiiiiiiii", http_call)];

/// A, `proxy_http_call`, and C, `ngx_http_wasm_call_register`, in their order. Trailers are not even read.
fn http_call(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    let phase = guest.host().exchange().ok_or(Status::BAD_ARGUMENT)?.phase;
    // A, `ngx_http_wasm_is_yieldable`.
    if phase == Phase::ResponseHeaders {
        return Err(Status::BAD_ARGUMENT.into());
    }
    let upstream = guest.read(args.u32(0), args.u32(1))?;
    let upstream = String::from_utf8(upstream).ok().filter(|url| is_url(url)).ok_or(Status::BAD_ARGUMENT)?;
    let map = guest.read(args.u32(2), args.u32(3))?;
    let headers = (!map.is_empty()).then(|| pairs::parse(&map));
    if headers == Some(None) {
        return Err(guest.crash("a header list was read behind its end: its lengths do not fit"));
    }
    let body = guest.read(args.u32(4), args.u32(5))?;
    let timeout = i32::try_from(args.u32(8));
    let host = guest.host();
    let busy = host.exchange().is_none_or(|exchange| exchange.registered.is_some());
    let (false, Ok(timeout)) = (busy, timeout) else { return Err(Status::INTERNAL_FAILURE.into()) };
    let timeout = Duration::from_millis(timeout.unsigned_abs().into());
    let token = host.new_token();
    if let Some(exchange) = host.exchange() {
        let headers = headers.flatten();
        exchange.registered = Some(Registered { token, upstream, headers, body, timeout });
    }
    guest.write_u32(args.u32(9), token)
}

/// nginx, `ngx_parse_inet_url`, for a host with or without a port and nothing behind.
fn is_url(url: &str) -> bool {
    let literal = url.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (host, port) = match literal {
        Some((host, rest)) => (host, rest.strip_prefix(':').or(rest.is_empty().then_some("80"))),
        None => url.split_once(':').map_or((url, Some("80")), |(host, port)| (host, Some(port))),
    };
    let port = port.is_some_and(|port| port.parse().is_ok_and(|port: u16| port != 0));
    !host.is_empty() && port && !url.contains(['/', '?'])
}

/// Why a registered call-out was not sent.
pub(crate) enum Unsent {
    /// The worker does not survive it.
    Fatal(&'static str),
    /// R, `_format_request`: an argument that HTTP does not allow.
    Refused,
}

impl Registered {
    /// C, `ngx_http_wasm_call_get`; L, `send_http_call`; R, `send_request`.
    pub(crate) fn prepare(self) -> Result<Call, Unsent> {
        let map = self.headers.ok_or(Unsent::Fatal("the worker crashes: a call without a header list"))?;
        let pseudo = |name: &str| map.text(name).filter(|value| !value.is_empty());
        // L: what is not given is what the worker's last call, of any plugin, has left there.
        let (Some(scheme), Some(method), Some(path)) =
            (pseudo(":scheme"), pseudo(":method"), pseudo(":path"))
        else {
            return Err(Unsent::Fatal("stale memory is sent: :scheme, :method and :path are expected"));
        };
        let authority = map.get(":authority").unwrap_or(self.upstream.as_bytes());
        let given = map.iter().filter(|(name, _)| !matches!(*name, b":scheme" | b":method" | b":path" | b""));
        let mut headers = Headers::default().and("host", authority);
        headers = given
            .filter(|(name, _)| *name != b":authority")
            .fold(headers, |headers, (name, value)| headers.and(name, value));
        if !headers.iter().all(|(name, value)| is_name(name) && is_value(value)) || !is_path(path) {
            return Err(Unsent::Refused);
        }
        let method = method.to_ascii_uppercase();
        let expects_body = matches!(method.as_str(), "POST" | "PUT" | "PATCH");
        if headers.get("content-length").is_none() && (expects_body || !self.body.is_empty()) {
            headers = headers.and("content-length", self.body.len().to_string());
        }
        if headers.get("user-agent").is_none() {
            headers = headers.and("user-agent", "lua-resty-http");
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        let url = format!("{scheme}://{}{slash}{path}", self.upstream);
        Ok(Call { token: self.token, url, method, headers, body: self.body, timeout: self.timeout })
    }
}

/// R, `validate_header_name`.
fn is_name(name: &[u8]) -> bool {
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !name.is_empty() && name.iter().all(token)
}

/// R, `validate_header_value`.
fn is_value(value: &[u8]) -> bool {
    value.iter().all(|byte| *byte == b'\t' || !byte.is_ascii_control())
}

/// R, `validate_path` and `validate_query`.
fn is_path(path: &str) -> bool {
    path.bytes().all(|byte| byte > b' ' && !b"#<>`".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_a_host_with_or_without_a_port() {
        for good in ["bridge", "bridge:7400", "127.0.0.1:1", "[::1]:7400", "[::1]"] {
            assert!(is_url(good), "{good}");
        }
        let bad = ["", ":7400", "bridge:", "bridge:0", "bridge:65536", "bridge:7400/", "https://bridge:7400"];
        for bad in bad.into_iter().chain(["[::1", "[::1]7400", "::1:7400", "bridge?x"]) {
            assert!(!is_url(bad), "{bad}");
        }
    }
}

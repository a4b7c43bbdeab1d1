//! The steps of APISIX and the module around each callback.

use super::exchange::{Exchange, Outcome};
use super::host::{Host, State};
use super::lines;
use crate::abi::headers::{Headers, Response};
use crate::abi::module::Instance;

/// The host's step after a callback.
enum Verdict {
    Unavailable,
    Answer(u16),
    Continue,
    /// The worker crashes or hangs.
    Fatal(&'static str),
}

impl Instance<Host> {
    /// W, `http_request_wrapper`.
    pub(crate) fn open(&mut self, exchange: Exchange) -> u32 {
        let route = exchange.route;
        let key = self.host().new_key();
        self.host().exchanges.insert(key, exchange);
        let Some(plugin) = self.plugin_context(route) else {
            self.conclude(key, Outcome::Unavailable("failed to fetch wasm plugin ctx"));
            return key;
        };
        let verdict = self.callback(key, plugin, REQUEST_HEADERS);
        self.apply(key, verdict);
        key
    }

    /// M, `ngx_http_wasm_on_http`: the header count is always 0, end of stream always 1.
    fn callback(&mut self, key: u32, plugin: u32, callback: &'static str) -> Verdict {
        let host = self.host();
        let Some(state) = host.plugins.get_mut(&plugin) else { return Verdict::Unavailable };
        state.exchange = Some(key);
        host.state = State::Plugin(plugin);
        let Some(id) = self.request_context(key, plugin) else {
            self.host().state = State::None;
            // M: `NGX_DECLINED`, before the check for a local response.
            return Verdict::Unavailable;
        };
        let answer = self.run(callback, &[id, 0, 1]);
        self.host().state = State::None;
        self.verdict(answer)
    }

    /// M, `ngx_http_wasm_handle_rc_before_proxy`, and how L, `on_http_request`, handles each number.
    fn verdict(&mut self, answer: i32) -> Verdict {
        let code = std::mem::take(&mut self.host().code);
        match answer {
            ..0 => Verdict::Unavailable,
            _ if code >= 100 => Verdict::Answer(u16::try_from(code).unwrap_or(u16::MAX)),
            0 => Verdict::Continue,
            1 => {
                Verdict::Fatal("the worker crashes: 1 was returned without a call-out and without an answer")
            }
            2..100 => Verdict::Fatal("the worker loops for ever: a number from 2 to 99 was returned"),
            100.. => Verdict::Fatal("the worker answers with stale memory: 100 or more was returned"),
        }
    }

    /// L, `on_http_request`, from the loop on, and the rest of W, `http_request_wrapper`.
    fn apply(&mut self, key: u32, verdict: Verdict) {
        match verdict {
            Verdict::Unavailable => self.conclude(key, Outcome::Unavailable("failed to run wasm plugin")),
            Verdict::Answer(status) => self.answer(key, status),
            Verdict::Fatal(why) => self.die(REQUEST_HEADERS, why),
            Verdict::Continue => self.forward(key),
        }
    }

    /// nginx reads the whole body, into memory or a file, before it connects to the upstream.
    fn forward(&mut self, key: u32) {
        if let Some(exchange) = self.host().exchanges.get_mut(&key) {
            exchange.outcome = Outcome::Forwarded(exchange.forwarded());
        }
    }

    /// L, `on_http_request`: prints the body; without one, nginx sends its page for an error status.
    fn answer(&mut self, key: u32, status: u16) {
        if status < 200 {
            return self.die("proxy_send_local_response", "the connection hangs: a local response below 200");
        }
        let body = self.host().body.clone();
        if body.is_empty() {
            return self.page(key, status);
        }
        if let Some(exchange) = self.host().exchanges.get_mut(&key) {
            exchange.status = status;
            // nginx, `ngx_http_set_content_type`, for a path without a known extension.
            if exchange.response.get(b"content-type").is_none() {
                exchange.response.push(b"content-type", b"text/plain");
            }
        }
        self.conclude(key, Outcome::Answered(Response { body, ..Response::default() }));
    }

    /// nginx, `ngx_http_special_response_handler`.
    fn page(&mut self, key: u32, status: u16) {
        let Some(exchange) = self.host().exchanges.get_mut(&key) else { return };
        exchange.status = status;
        let mut body = Vec::new();
        if status >= 300 && status != 304 {
            lines::replace(&mut exchange.response, b"content-type", b"text/html");
            body = format!("<html>nginx's own page for {status}</html>").into_bytes();
        }
        self.conclude(key, Outcome::Answered(Response { body, ..Response::default() }));
    }

    /// Every response's headers pass W, `header_filter_wrapper`.
    fn conclude(&mut self, key: u32, outcome: Outcome) {
        if let (Outcome::Unavailable(_), Some(exchange)) = (&outcome, self.host().exchanges.get_mut(&key)) {
            exchange.status = 503;
        }
        self.filter_headers(key);
        if let Some(exchange) = self.host().exchanges.get_mut(&key) {
            exchange.outcome = match outcome {
                Outcome::Answered(response) => Outcome::Answered(exchange.answer(response.body)),
                other => other,
            };
        }
    }

    /// W, `header_filter_wrapper`: failures are only logged, except a lost worker.
    fn filter_headers(&mut self, key: u32) {
        let Some(route) = self.host().exchanges.get(&key).map(|exchange| exchange.route) else { return };
        if let Some(plugin) = self.plugin_context(route) {
            self.callback(key, plugin, "proxy_on_response_headers");
        }
    }

    pub(crate) fn upstream_answers(&mut self, key: u32, status: u16, headers: &Headers) -> Option<Headers> {
        let exchange = self.forwarded(key)?;
        // nginx, `src/http/ngx_http_upstream.c`: sets the bytes sent when the attempt ends, after this callback.
        (exchange.status, exchange.bytes) = (status, Some(["0", "1"].map(str::to_owned)));
        for (name, value) in headers.iter() {
            exchange.response.push(name, value);
        }
        self.filter_headers(key);
        self.host().exchanges.get(&key).map(|exchange| exchange.answer(Vec::new()).headers)
    }

    pub(crate) fn upstream_fails(&mut self, key: u32, status: u16, bytes_sent: String) -> Option<Response> {
        let exchange = self.forwarded(key)?;
        exchange.bytes = Some([bytes_sent, "0".to_owned()]);
        self.page(key, status);
        self.host().exchanges.get(&key)?.outcome.response().cloned()
    }

    fn forwarded(&mut self, key: u32) -> Option<&mut Exchange> {
        let exchange = self.host().exchanges.get_mut(&key)?;
        matches!(exchange.outcome, Outcome::Forwarded(_)).then_some(exchange)
    }
}

const REQUEST_HEADERS: &str = "proxy_on_request_headers";

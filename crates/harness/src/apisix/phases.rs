//! What APISIX and the module do around the filter's callbacks.

use super::calls::callouts::Unsent;
use super::exchange::{Exchange, Phase, Reply};
use super::host::State;
use super::machine::Machine;
use super::stream::Outcome;
use crate::{Headers, Response};

/// What is done after a callback.
enum Verdict {
    Call,
    Unavailable,
    Answer(u16),
    Continue,
    /// The worker does not survive it.
    Fatal(&'static str),
}

impl Machine {
    /// W, `http_request_wrapper`.
    pub(crate) fn open(&mut self, exchange: Exchange) -> u32 {
        let route = exchange.route;
        let key = self.host().new_key();
        self.host().exchanges.insert(key, exchange);
        let Some(plugin) = self.plugin_context(route) else {
            self.conclude(key, Outcome::Unavailable("failed to fetch wasm plugin ctx"));
            return key;
        };
        let verdict = self.callback(key, plugin, Phase::RequestHeaders);
        self.follow(key, verdict);
        key
    }

    /// M, `ngx_http_wasm_on_http`: count and end of stream are always 0 and 1.
    fn callback(&mut self, key: u32, plugin: u32, phase: Phase) -> Verdict {
        let host = self.host();
        let Some(exchange) = host.exchanges.get_mut(&key) else { return Verdict::Unavailable };
        exchange.phase = phase;
        let body = if phase == Phase::RequestBody { exchange.body.clone() } else { Vec::new() };
        let length = size(body.len());
        let Some(state) = host.plugins.get_mut(&plugin) else { return Verdict::Unavailable };
        (state.exchange, state.body) = (Some(key), body);
        host.state = State::Plugin(plugin);
        let Some(id) = self.request_context(key, plugin) else {
            self.host().leave_state();
            // M, `NGX_DECLINED`, before a local response is looked for.
            return Verdict::Unavailable;
        };
        let answer = match phase {
            Phase::RequestHeaders => self.ask("proxy_on_request_headers", &[id, 0, 1]),
            Phase::RequestBody => self.ask("proxy_on_request_body", &[id, length, 1]),
            Phase::ResponseHeaders => self.ask("proxy_on_response_headers", &[id, 0, 1]),
        };
        self.host().leave_state();
        self.verdict(key, answer)
    }

    /// M, `ngx_http_wasm_handle_rc_before_proxy`, with what L, `on_http_request`, makes of each number. A call-out goes before
    /// everything: a trap is masked by it, and a local response lost.
    fn verdict(&mut self, key: u32, answer: i32) -> Verdict {
        let host = self.host();
        let code = std::mem::take(&mut host.code);
        let registered = host.exchanges.get(&key).is_some_and(|exchange| exchange.registered.is_some());
        match answer {
            _ if registered => Verdict::Call,
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
    fn follow(&mut self, key: u32, verdict: Verdict) {
        let Some(phase) = self.host().exchanges.get(&key).map(|exchange| exchange.phase) else { return };
        match verdict {
            Verdict::Call => self.send_call(key),
            Verdict::Unavailable => self.conclude(key, Outcome::Unavailable("failed to run wasm plugin")),
            Verdict::Answer(status) => self.answer(key, status),
            Verdict::Fatal(why) => self.die(name(phase), why),
            Verdict::Continue if phase == Phase::RequestHeaders => self.read_body(key),
            Verdict::Continue => self.forward(key),
        }
    }

    /// W: a body that was asked for is read as a whole, from memory or from a file.
    fn read_body(&mut self, key: u32) {
        let limit = self.host().settings.client_max_body_size;
        let Some(exchange) = self.host().exchanges.get_mut(&key) else { return };
        let asked = exchange.variables.insert(b"wasm_process_req_body".to_vec(), Vec::new());
        let (context, length) = (exchange.context, exchange.body.len());
        if asked.unwrap_or_default().is_empty() {
            return self.forward(key);
        }
        if limit != 0 && length > limit {
            return self.page(key, 413);
        }
        let Some((plugin, _)) = context else { return };
        let verdict = self.callback(key, plugin, Phase::RequestBody);
        self.follow(key, verdict);
    }

    fn forward(&mut self, key: u32) {
        if let Some(exchange) = self.host().exchanges.get_mut(&key) {
            exchange.outcome = Outcome::Forwarded(exchange.forwarded());
        }
    }

    /// L, `on_http_request`: a body is printed; without one nginx has a page for what is an error.
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
            // nginx, `ngx_http_set_content_type`, where the path has no extension that it knows.
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
            exchange.response.replace(b"content-type", b"text/html");
            body = format!("<html>nginx's own page for {status}</html>").into_bytes();
        }
        self.conclude(key, Outcome::Answered(Response { body, ..Response::default() }));
    }

    /// The answer's headers leave by W, `header_filter_wrapper`, whoever made it.
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

    /// W, `header_filter_wrapper`: whatever comes of it is only logged, but for a loss of the worker.
    fn filter_headers(&mut self, key: u32) {
        let Some(route) = self.host().exchanges.get(&key).map(|exchange| exchange.route) else { return };
        if let Some(plugin) = self.plugin_context(route) {
            self.callback(key, plugin, Phase::ResponseHeaders);
        }
    }

    pub(crate) fn upstream_answers(&mut self, key: u32, status: u16, headers: &Headers) -> Option<Headers> {
        let exchange = self.host().exchanges.get_mut(&key)?;
        if !matches!(exchange.outcome, Outcome::Forwarded(_)) {
            return None;
        }
        exchange.status = status;
        for (name, value) in headers.iter() {
            exchange.response.push(name, value);
        }
        self.filter_headers(key);
        self.host().exchanges.get(&key).map(|exchange| exchange.answer(Vec::new()).headers)
    }

    /// C, `ngx_http_wasm_call_get`, and L, `send_http_call`: it is made, or fails before anything is sent.
    fn send_call(&mut self, key: u32) {
        let Some(exchange) = self.host().exchanges.get_mut(&key) else { return };
        let (Some(registered), phase) = (exchange.registered.take(), exchange.phase) else { return };
        exchange.token = registered.token;
        match registered.prepare() {
            Ok(call) => exchange.outcome = Outcome::Calling(call),
            Err(Unsent::Fatal(why)) => self.die(name(phase), why),
            Err(Unsent::Refused) => self.call_back(key, None),
        }
    }

    /// The bridge's answer, or that there is none.
    pub(crate) fn end_call(&mut self, key: u32, reply: Option<(Headers, Vec<u8>)>) {
        let waits = |exchange: &Exchange| matches!(exchange.outcome, Outcome::Calling(_));
        if self.host().exchanges.get(&key).is_some_and(waits) {
            self.call_back(key, reply);
        }
    }

    /// M, `ngx_http_wasm_on_http_call_resp`: in the plugin's context, always, with no headers where the call failed.
    fn call_back(&mut self, key: u32, reply: Option<(Headers, Vec<u8>)>) {
        let host = self.host();
        let Some(exchange) = host.exchanges.get_mut(&key) else { return };
        let Some((plugin, _)) = exchange.context else { return };
        let token = exchange.token;
        let (headers, body) = reply.as_ref().map_or((0, 0), |(headers, body)| (headers.len(), body.len()));
        exchange.reply = reply.map_or(Reply::None, |(headers, body)| Reply::Open { headers, body });
        if let Some(state) = host.plugins.get_mut(&plugin) {
            state.exchange = Some(key);
        }
        host.state = State::Plugin(plugin);
        let args = [plugin, token, size(headers), size(body), 0];
        let answer = self.run("proxy_on_http_call_response", &args);
        let host = self.host();
        host.leave_state();
        if let Some(exchange) = host.exchanges.get_mut(&key)
            && let Reply::Open { .. } = exchange.reply
        {
            exchange.reply = Reply::Freed;
        }
        let verdict = self.verdict(key, answer);
        self.follow(key, verdict);
    }
}

fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::RequestHeaders => "proxy_on_request_headers",
        Phase::RequestBody => "proxy_on_request_body",
        Phase::ResponseHeaders => "proxy_on_response_headers",
    }
}

/// Sizes cross the border as 32 bits.
pub(super) fn size(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

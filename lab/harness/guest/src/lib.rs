//! A module written with the public proxy-wasm SDK: an independent judge of the hosts in `sluicegate-harness`.
//!
//! A request's path says which host calls are made for it, so that a test sees what a client sees of each. It is
//! written as the SDK's own examples are, with the methods of its traits where there are any.

#![cfg(target_arch = "wasm32")]
#![expect(missing_docs, reason = "the SDK's macro exports a function without them")]

use std::time::{Duration, UNIX_EPOCH};

use log::info;
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel, MetricType};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root));
}}

struct Root;

impl Context for Root {
    /// Says that it is not done, and is done at the next tick.
    fn on_done(&mut self) -> bool {
        info!("root done");
        false
    }
}

impl RootContext for Root {
    fn on_vm_start(&mut self, _: usize) -> bool {
        info!("vm: {}", text(self.get_vm_configuration()));
        true
    }

    fn on_configure(&mut self, _: usize) -> bool {
        let configuration = text(self.get_plugin_configuration());
        info!("plugin: {configuration}");
        configuration != "refuse"
    }

    /// Lets the first request pass, should it be held back, and ends the plugin, should it be shutting down.
    fn on_tick(&mut self) {
        info!("tick");
        if hostcalls::set_effective_context(FIRST_STREAM).is_ok() {
            info!("resuming {}", text(hostcalls::get_property(vec!["guest.path"]).ok().flatten()));
            let _ = hostcalls::resume_http_request();
        } else {
            self.done();
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Http { context_id, path: String::new() }))
    }
}

struct Http {
    context_id: u32,
    path: String,
}

impl Context for Http {
    fn on_done(&mut self) -> bool {
        if self.path == "/contexts" {
            info!("stream {} done", self.context_id);
        }
        true
    }
}

impl HttpContext for Http {
    fn on_http_request_headers(&mut self, count: usize, end: bool) -> Action {
        self.path = self.get_http_request_header(":path").unwrap_or_default();
        match self.path.as_str() {
            "/log" => {
                log::warn!("{count} headers, end {end}");
                log::error!("{:?}", self.get_http_request_header("absent"));
            }
            "/header" => {
                self.add_http_request_header("x-added", "a");
                self.set_http_request_header("x-set", Some("b"));
            }
            "/remove" => self.remove_http_request_header("x-remove"),
            "/headers" => {
                let names: Vec<_> =
                    self.get_http_request_headers_bytes().into_iter().map(|(name, _)| name).collect();
                info!("{}", names.join(" "));
            }
            "/replace" => {
                self.set_http_request_headers(vec![(":method", "PUT"), (":path", "/replaced"), ("x", "y")])
            }
            "/respond" => {
                self.send_http_response(
                    418,
                    vec![("x-guest", "a"), ("x-guest", "b")],
                    Some(b"short and stout"),
                );
                return Action::Pause;
            }
            "/grpc" => {
                self.send_grpc_response(
                    proxy_wasm::types::GrpcStatusCode::NotFound,
                    Some("no such thing"),
                    vec![],
                );
                return Action::Pause;
            }
            "/property" => {
                let path = self.get_http_request_header("x-property").unwrap_or_default();
                let value = self.get_property(path.split('.').collect());
                info!("{path}: {}", value.map_or("none".to_owned(), |value| text(Some(value))));
            }
            "/set-property" => self.set_property(vec!["upstream_uri"], Some(b"/elsewhere")),
            "/hold" => {
                self.set_property(vec!["guest.path"], Some(self.path.as_bytes()));
                let _ = hostcalls::set_tick_period(Duration::from_millis(500));
                return Action::Pause;
            }
            "/tick" => hostcalls::set_tick_period(Duration::from_millis(500)).unwrap_or_default(),
            "/context" => info!("{:?}", hostcalls::set_effective_context(1000)),
            "/reset" => self.reset_http_request(),
            "/resume" => self.resume_http_request(),
            "/metrics" => count_request(),
            "/count" => info!("{:?}", hostcalls::increment_metric(0, 1)),
            "/time" => {
                let now = self.get_current_time().duration_since(UNIX_EPOCH).unwrap_or_default();
                self.set_http_request_header("x-time", Some(&now.as_secs().to_string()));
            }
            _ => {}
        }
        Action::Continue
    }

    /// Waits for all of `/body`, and writes it in capitals.
    fn on_http_request_body(&mut self, size: usize, end: bool) -> Action {
        if self.path != "/body" {
            return Action::Continue;
        }
        if !end {
            return Action::Pause;
        }
        let body = self.get_http_request_body(0, size).unwrap_or_default().to_ascii_uppercase();
        self.set_http_request_body(0, size, &body);
        Action::Continue
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        if self.path == "/trailers" {
            let trailer = self.get_http_request_trailer("x-trailer");
            self.set_http_request_trailer("x-trailer", trailer.map(|value| value + "!").as_deref());
        }
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        if self.path == "/answer" {
            let status = self.get_http_response_header(":status").unwrap_or_default();
            self.add_http_response_header("x-status", &status);
            self.set_http_response_header("server", None);
            let names: Vec<_> =
                self.get_http_response_headers_bytes().into_iter().map(|(name, _)| name).collect();
            info!("{}", names.join(" "));
        }
        Action::Continue
    }

    /// Puts brackets around each piece.
    fn on_http_response_body(&mut self, size: usize, end: bool) -> Action {
        if self.path == "/answer" {
            let body = self.get_http_response_body(0, size).unwrap_or_default();
            let last = if end { "." } else { "" };
            let body = [b"[", body.as_slice(), b"]", last.as_bytes()].concat();
            self.set_http_response_body(0, size, &body);
        }
        Action::Continue
    }

    fn on_log(&mut self) {
        if self.path == "/contexts" {
            let status = self.get_http_response_header(":status").unwrap_or_default();
            info!("stream {} of {} ended with {status:?}", self.context_id, self.path);
        }
    }
}

/// A metric of each kind.
fn count_request() {
    let [counter, gauge, histogram] = [
        (MetricType::Counter, "guest.requests"),
        (MetricType::Gauge, "guest.level"),
        (MetricType::Histogram, "guest.sizes"),
    ]
    .map(|(kind, name)| hostcalls::define_metric(kind, name).unwrap_or_default());
    let _ = hostcalls::increment_metric(counter, 2);
    let _ = hostcalls::record_metric(gauge, 7);
    let _ = hostcalls::increment_metric(gauge, -3);
    let _ = hostcalls::record_metric(histogram, 9);
}

fn text(bytes: Option<Vec<u8>>) -> String {
    String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
}

/// Envoy's number for the first stream of a VM, behind its root.
const FIRST_STREAM: u32 = 2;

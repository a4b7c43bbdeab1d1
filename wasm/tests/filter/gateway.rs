//! The filter in each gateway, plain HTTP requests for it, and checks of their outcome.

use std::fmt;
use std::ops::Deref;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use prost::Message;
use sluicegate_harness::apisix::{self, Plugin, Route, Worker};
use sluicegate_harness::envoy::{Outcome, Stream, Vm};
use sluicegate_harness::{Controls, Headers, Response};
use sluicegate_protocol::HttpRoute;

use crate::socket::{PROFILES, Profile, configuration, module};

/// A gateway with the filter in it, configured as most tests want it.
pub(crate) enum Gateway {
    Envoy(Profile, Vm),
    Apisix(Worker, Route),
}

/// A request that the filter has judged.
pub(crate) enum Sent {
    Envoy(Stream),
    Apisix(apisix::Stream),
}

/// Why no response comes from the bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// There is no connection.
    Unsent,
    /// The connection ends.
    Cut,
    /// The bridge is silent.
    Late,
}

impl Gateway {
    pub(crate) fn all() -> [Self; 3] {
        let [tunnel, relay] = PROFILES.map(|profile| Self::Envoy(profile, profile.start()));
        [tunnel, relay, Self::apisix()]
    }

    pub(crate) fn apisix() -> Self {
        let worker = apisix();
        let route = worker.route(configuration(APISIX));
        Self::Apisix(worker, route)
    }

    pub(crate) fn request(&self, headers: Headers) -> Sent {
        match self {
            Self::Envoy(_, vm) => Sent::Envoy(vm.request(headers)),
            Self::Apisix(_, route) => Sent::Apisix(route.request(headers, "")),
        }
    }

    /// Of the two gateways, Envoy alone counts.
    #[track_caller]
    pub(crate) fn counts(&self, name: &str, want: u64) {
        if let Self::Envoy(profile, vm) = self {
            assert_eq!(vm.metric(&format!("sluicegate.{name}")), Some(want), "{profile:?}, {name}");
        }
    }

    pub(crate) fn texts(&self) -> Vec<String> {
        self.log().into_iter().map(|line| line.text).collect()
    }

    /// A plain request goes there and its answer comes back.
    #[track_caller]
    pub(crate) fn works(&self) {
        let mut sent = self.request(post("/orders"));
        assert_eq!(sent.forwarded().text("sluicegate-cluster"), Some("payments"), "{self:?}");
        let want = Headers::from([(":status", "200"), ("x", "seen")]);
        assert_eq!(sent.answer(200, &[ANSWERED, ("x", "seen")]), want, "{self:?}");
    }
}

impl Deref for Gateway {
    type Target = Controls;

    fn deref(&self) -> &Controls {
        match self {
            Self::Envoy(_, vm) => vm,
            Self::Apisix(worker, _) => worker,
        }
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Envoy(profile, _) => write!(f, "Envoy, {profile:?}"),
            Self::Apisix(..) => f.write_str("APISIX"),
        }
    }
}

impl Sent {
    /// The fate of the request, in Envoy's words.
    #[track_caller]
    fn outcome(&self) -> Outcome {
        match self {
            Self::Envoy(stream) => stream.outcome(),
            Self::Apisix(stream) => match stream.outcome() {
                apisix::Outcome::Forwarded(headers) => Outcome::Forwarded(headers),
                apisix::Outcome::Answered(response) => Outcome::Answered(response),
                other => panic!("{other:?}"),
            },
        }
    }

    /// The upstream has the request, with these headers.
    #[track_caller]
    pub(crate) fn forwarded(&self) -> Headers {
        match self.outcome() {
            Outcome::Forwarded(headers) => headers,
            other => panic!("{other:?}"),
        }
    }

    /// The upstream answers with these headers; what the client gets of them.
    #[track_caller]
    pub(crate) fn answer(&mut self, status: u16, headers: &[(&str, &str)]) -> Headers {
        match self {
            Self::Envoy(stream) => {
                let status = Headers::from([(":status", status.to_string())]);
                let headers = headers.iter().fold(status, |headers, (name, value)| headers.with(name, value));
                stream.upstream_headers(headers, true);
                stream.response().unwrap_or_default().headers
            }
            Self::Apisix(stream) => stream.upstream_answers(status, headers).expect("a forwarded request"),
        }
    }

    /// No answer comes; what the client gets in its place.
    #[track_caller]
    pub(crate) fn fails(&mut self, failure: Failure) -> Response {
        match self {
            Self::Envoy(stream) => {
                let (status, details) = match failure {
                    Failure::Unsent => (503, CONNECT_FAILURE),
                    Failure::Cut => (503, "upstream_reset_before_response_started{connection_termination}"),
                    Failure::Late => (504, "stream_idle_timeout"),
                };
                stream.upstream_fails(status, details);
                stream.response().unwrap_or_default()
            }
            Self::Apisix(stream) => {
                let (status, bytes) = match failure {
                    Failure::Unsent => (502, 0),
                    Failure::Cut => (502, 217),
                    Failure::Late => (504, 217),
                };
                stream.upstream_fails(status, bytes).expect("a forwarded request")
            }
        }
    }

    /// The local response to a request that the upstream has not seen.
    #[track_caller]
    pub(crate) fn answered(&self) -> Response {
        if let Self::Envoy(stream) = self {
            assert_eq!(stream.upstream_request(), None, "the bridge was asked");
        }
        match self.outcome() {
            Outcome::Answered(response) => response,
            other => panic!("{other:?}"),
        }
    }

    /// The client was told this, in plain text.
    #[track_caller]
    pub(crate) fn told(&self, status: u16, reason: &str) {
        let response = self.answered();
        assert_eq!((response.status(), response.text()), (status, format!("{reason}\n")));
        let told = ["content-type", "cache-control"].map(|name| response.headers.text(name));
        assert_eq!(told, [Some("text/plain; charset=utf-8"), Some("no-store")]);
    }
}

/// A worker of APISIX with the filter in it.
pub(crate) fn apisix() -> Worker {
    let plugin = Plugin::load(module()).unwrap_or_else(|error| panic!("failed to {error}"));
    plugin.start().unwrap_or_else(|error| panic!("failed to {error}"))
}

/// The keys of a configuration that are APISIX' own.
pub(crate) const APISIX: &str = r#""host": "apisix""#;

/// As Envoy says that nobody listens.
const CONNECT_FAILURE: &str =
    "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_111}";

/// A web page that the produce route lists.
pub(crate) const PAGE: &str = "https://app.example";

/// The mark of a response that the bridge made.
pub(crate) const ANSWERED: (&str, &str) = ("sluicegate-answered", "1");

/// A request without a body.
pub(crate) fn request(method: &str, path: &str) -> Headers {
    Headers::from([
        (":method", method),
        (":path", path),
        (":scheme", "http"),
        (":authority", "gateway.example"),
    ])
}

/// A request with a body to come, of which the length is not known.
pub(crate) fn post(path: &str) -> Headers {
    request("POST", path).with("transfer-encoding", "chunked")
}

/// The route that the bridge is told of.
#[track_caller]
pub(crate) fn settings(headers: &Headers) -> HttpRoute {
    decoded(headers, "sluicegate-http")
}

/// The message in this header.
#[track_caller]
pub(crate) fn decoded<M: Message + Default>(headers: &Headers, name: &str) -> M {
    let value = headers.get(name).unwrap_or_else(|| panic!("no {name}: {headers:?}"));
    let value = STANDARD_NO_PAD.decode(value).expect("base64 without padding");
    M::decode(&value[..]).expect("a message")
}

/// This is such a problem document, whole.
#[track_caller]
pub(crate) fn says(response: &Response, status: u16, detail: &str) {
    let text = response.text();
    assert_eq!(response.status(), status, "{text}");
    assert_eq!(response.headers.text("content-type"), Some("application/problem+json"));
    assert!(text.contains(&format!(r#","status":{status},"detail":"{detail}""#)), "{text}");
    assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{text}");
    assert!(response.complete);
}

//! The filter, started in any profile, and one client's socket through it.

use std::path::{Path, PathBuf};

use prost::Message;
use sluicegate_harness::Headers;
use sluicegate_harness::envoy::{Filter, Outcome, Stream, Vm};
use sluicegate_protocol::PubSubReq;

use crate::wire;

/// Transport of sessions to the bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    Tunnel,
    /// Envoy relays them to the bridge's own endpoint.
    Relay,
}

pub(crate) const PROFILES: [Profile; 2] = [Profile::Tunnel, Profile::Relay];

/// The filter in the profile that runs sessions, configured as most tests want it.
pub(crate) fn start() -> Vm {
    Profile::Tunnel.start()
}

/// The same with `more`, further keys of the configuration's JSON, each with a comma in front.
pub(crate) fn start_with(more: &str) -> Vm {
    Profile::Tunnel.start_with(more)
}

/// The bridge's yes to a session that the filter runs.
pub(crate) fn accepted() -> Headers {
    Profile::Tunnel.accepted()
}

impl Profile {
    pub(crate) fn start(self) -> Vm {
        self.start_with("")
    }

    fn start_with(self, more: &str) -> Vm {
        let profile = format!("{self:?}").to_lowercase();
        start_configured(&configuration(&format!(r#""profile": "{profile}"{more}"#)))
    }

    /// The bridge's yes, as the filter sees it.
    pub(crate) fn accepted(self) -> Headers {
        let yes = Headers::from([(":status", "101"), ("upgrade", "websocket"), ("connection", "upgrade")]);
        match self {
            Self::Tunnel => yes,
            Self::Relay => yes.with("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        }
    }
}

/// A configuration as most tests want it, with these keys of a gateway's own.
pub(crate) fn configuration(own: &str) -> String {
    format!(
        r#"{{{own}, "gateway_secret": "s3cret-of-the-gateway", "routes": [
            {{"path": "/pubsub", "cluster": "orders", "write": true, "topics": ["orders", "public.*"],
              "origins": ["https://app.example"], "subprotocols": ["pubsub.v2", "pubsub"]}},
            {{"path": "/open", "topics": ["*"]}},
            {{"path": "/orders", "type": "produce", "cluster": "payments", "topic": "orders", "headerprefix": "x-",
              "overrides": ["key"], "recordheaderprefix": "r-", "origins": ["https://app.example"],
              "credentials": true}},
            {{"path": "/kafka", "type": "rest", "cluster": "payments", "write": true, "topics": ["*"], "origins": []}},
            {{"path": "/public/", "type": "rest", "topics": ["public.*"], "origins": ["*"]}}]}}"#
    )
}

#[track_caller]
pub(crate) fn start_configured(configuration: &str) -> Vm {
    filter().start(configuration).unwrap_or_else(|error| panic!("{error}"))
}

/// The module, compiled once per process.
pub(crate) fn filter() -> Filter {
    Filter::load(module()).unwrap_or_else(|error| panic!("failed to {error}"))
}

/// The path of the compiled filter.
#[track_caller]
pub(crate) fn module() -> PathBuf {
    let built = workspace().join("target/wasm32-wasip1/wasm/sluicegate_filter.wasm");
    let path = std::env::var_os("SLUICEGATE_FILTER").map_or(built, PathBuf::from);
    assert!(path.exists(), "there is no filter at {}: run `just wasm` first", path.display());
    path
}

pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace")
}

/// A client's good handshake, with the key of RFC 6455, section 1.3.
pub(crate) fn upgrade() -> Headers {
    Headers::from([
        (":method", "GET"),
        (":path", "/pubsub"),
        (":scheme", "http"),
        (":authority", "gateway.example"),
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "13"),
    ])
}

/// [`upgrade`] with one header of another value.
pub(crate) fn upgrade_with(name: &str, value: impl AsRef<[u8]>) -> Headers {
    upgrade().without(name).with(name, value)
}

/// An open session.
pub(crate) struct Socket(pub(crate) Stream);

impl Socket {
    #[track_caller]
    pub(crate) fn open(vm: &Vm) -> Self {
        Self::open_in(vm, Profile::Tunnel)
    }

    #[track_caller]
    pub(crate) fn open_in(vm: &Vm, profile: Profile) -> Self {
        let mut stream = vm.request(upgrade());
        assert!(matches!(stream.outcome(), Outcome::Forwarded(_)), "{:?}", stream.outcome());
        stream.upstream_headers(profile.accepted(), false);
        let response = stream.response().expect("an answer");
        assert_eq!(response.headers.get("sec-websocket-accept"), Some(&b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="[..]));
        Self(stream)
    }

    pub(crate) fn client(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.client_sends(bytes);
    }

    /// One request in one frame.
    pub(crate) fn asks(&mut self, request: &PubSubReq) {
        self.client(wire::from_client(wire::BINARY, &request.encode_to_vec()));
    }

    pub(crate) fn bridge(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.upstream_sends(bytes, false);
    }

    /// The requests at the bridge since the last call.
    #[track_caller]
    pub(crate) fn requests(&mut self) -> Vec<PubSubReq> {
        wire::requests(&self.0.take_to_upstream())
    }

    /// The bytes at the client since the last call.
    pub(crate) fn answers(&mut self) -> Vec<u8> {
        self.0.take_to_client()
    }

    /// A command goes there and its answer comes back.
    #[track_caller]
    pub(crate) fn works(&mut self) {
        let request = wire::ping(7, b"witness");
        self.asks(&request);
        assert_eq!(self.requests(), [request]);
        let answer = wire::pong(7, b"witness");
        self.bridge(wire::grpc(&answer));
        assert_eq!(self.answers(), wire::to_client(wire::BINARY, &answer.encode_to_vec()));
    }
}

/// A header list to compare: sorted, and readable where it can be.
pub(crate) fn sorted(headers: &Headers) -> Vec<String> {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let mut lines: Vec<_> =
        headers.iter().map(|(name, value)| format!("{}: {}", text(name), text(value))).collect();
    lines.sort_unstable();
    lines
}

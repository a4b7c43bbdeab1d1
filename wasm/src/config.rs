//! The plugin's configuration: JSON, checked as a whole before the first request.

mod cluster;
mod reader;
mod route;

use serde_json::Value;
use sluicegate_protocol::definition::Node;
use sluicegate_protocol::metadata;

pub use self::cluster::Cluster;
use self::reader::Reader;
pub(crate) use self::route::is_token;
pub use self::route::{Kind, Resource, Route};

/// What the filter does, and for which paths.
#[derive(Debug)]
pub struct Config {
    /// Which gateway the filter is in.
    pub host: Host,
    /// How sessions travel to the bridge.
    pub profile: Profile,
    /// Proves to the bridge that this gateway is asking.
    pub gateway_secret: Option<Secret>,
    /// Where plain HTTP requests go. In Envoy the name of its own cluster that the bridge is; in APISIX `host:port`, with
    /// `https://` in front where the bridge has TLS.
    pub bridge: String,
    /// Longest request of a session in bytes: a fragmented one is kept until it is complete. In APISIX the bridge's own
    /// limit counts.
    pub max_message_bytes: usize,
    /// Longest body of a plain HTTP request in bytes: it is kept until it is complete.
    pub max_body_bytes: usize,
    /// Bytes that all unfinished requests and bodies of one worker may hold together.
    pub max_assembly_bytes: usize,
    /// Milliseconds that the bridge has to answer a plain HTTP request.
    pub http_timeout_ms: u32,
    /// What is at which path.
    pub routes: Vec<Route>,
}

/// A gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// Envoy.
    Envoy,
    /// Apache APISIX.
    Apisix,
}

/// How sessions travel to the bridge; it has to match Envoy's own configuration, and means nothing in APISIX.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// In an extended CONNECT (RFC 8441) that Envoy makes of the client's upgrade.
    Tunnel,
    /// As a plain gRPC `POST`; the filter runs behind an internal listener.
    Internal,
}

/// A value that is never shown.
pub struct Secret(String);

impl Secret {
    /// The value itself, for the header that carries it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

impl Config {
    /// Reads `json`; where that does not say which gateway this is, `detect` does, or why it cannot be known.
    ///
    /// # Errors
    /// Every mistake, each with its key and what was expected there.
    pub fn parse(json: &[u8], detect: impl FnOnce() -> Result<Host, String>) -> Result<Self, Vec<String>> {
        let value: Value =
            serde_json::from_slice(json).map_err(|error| vec![format!("not JSON: {error}")])?;
        let Value::Object(object) = value else {
            return Err(vec!["a JSON object is expected".into()]);
        };
        let mut reader = Reader::new(object);
        let config = Self::read(&mut reader, detect);
        let mistakes = reader.finish();
        if mistakes.is_empty() { Ok(config) } else { Err(mistakes) }
    }

    /// The route of a request's path, which may be followed by a query or a fragment: the one of just this path, else the
    /// one of most of it.
    pub fn route(&self, target: &[u8]) -> Option<&Route> {
        let of_it = |route: &&Route| route.rest(target).is_some();
        let whole = self.routes.iter().filter(|route| !route.is_prefix()).find(of_it);
        whole.or_else(|| self.routes.iter().filter(of_it).max_by_key(|route| route.path.len()))
    }

    /// The headers that tell the bridge for which cluster a session or a call of a route is, and that this gateway asks.
    pub fn metadata<'a>(&'a self, cluster: &'a Cluster) -> impl Iterator<Item = (&'static str, &'a str)> {
        let secret = self.gateway_secret.iter();
        std::iter::once(cluster.metadata())
            .chain(secret.map(|secret| (metadata::GATEWAY_SECRET, secret.expose())))
    }

    fn read(reader: &mut Reader, detect: impl FnOnce() -> Result<Host, String>) -> Self {
        let host = match reader.string("host").as_deref() {
            Some("envoy") => Ok(Host::Envoy),
            Some("apisix") => Ok(Host::Apisix),
            Some(_) => Err(String::new()),
            None => detect().map_err(|reason| format!(": {reason}")),
        };
        let host = host.unwrap_or_else(|reason| {
            reader.mistake("host", &format!("\"envoy\" or \"apisix\" is expected{reason}"));
            Host::Envoy
        });
        let profile = match reader.string("profile").as_deref() {
            None | Some("tunnel") => Profile::Tunnel,
            Some("internal") => Profile::Internal,
            Some(_) => {
                reader.mistake("profile", "\"tunnel\" or \"internal\" is expected");
                Profile::Tunnel
            }
        };
        let gateway_secret = reader.string("gateway_secret").map(Secret);
        if gateway_secret.as_ref().is_some_and(|secret| !is_secret(secret.expose())) {
            reader.mistake(
                "gateway_secret",
                "at least 16 visible ASCII characters are expected, as in the bridge",
            );
        }
        let default = match host {
            Host::Envoy => DEFAULT_CLUSTER,
            Host::Apisix => DEFAULT_ADDRESS,
        };
        let bridge = reader.string("bridge").unwrap_or_else(|| default.to_owned());
        if host == Host::Apisix && Node::parse(bridge.strip_prefix("https://").unwrap_or(&bridge)).is_none() {
            reader.mistake("bridge", "the bridge as \"host:port\" or \"https://host:port\" is expected");
        }
        let mut bytes = |key, bounds, default| reader.number(key, " of bytes", bounds).unwrap_or(default);
        let max_message_bytes = bytes("max_message_bytes", MESSAGE_BYTES, DEFAULT_MESSAGE_BYTES);
        let max_assembly_bytes = bytes("max_assembly_bytes", ASSEMBLY_BYTES, DEFAULT_ASSEMBLY_BYTES);
        let max_body_bytes =
            bytes("max_body_bytes", MESSAGE_BYTES, DEFAULT_MESSAGE_BYTES.min(max_assembly_bytes));
        for (key, max) in [("max_message_bytes", max_message_bytes), ("max_body_bytes", max_body_bytes)] {
            if max_assembly_bytes < max {
                reader.mistake("max_assembly_bytes", &format!("at least {key} ({max}) is expected"));
            }
        }
        let http_timeout_ms = reader
            .number("http_timeout_ms", " of milliseconds", HTTP_TIMEOUT)
            .unwrap_or(DEFAULT_HTTP_TIMEOUT);
        let routes = if reader.has("routes") || reader.is_empty() {
            routes(reader)
        } else {
            vec![Route::read(reader, true)]
        };
        Self {
            host,
            profile,
            gateway_secret,
            bridge,
            max_message_bytes,
            max_body_bytes,
            max_assembly_bytes,
            http_timeout_ms,
            routes,
        }
    }
}

fn routes(reader: &mut Reader) -> Vec<Route> {
    let expected = "an array of at least one route is expected, or in its place at least one of a route's settings, such as \"type\": \"pubsub\"";
    reader.objects("routes", expected, |reader, others: &[Route]| {
        let route = Route::read(reader, false);
        let has_path = !route.path.is_empty() || route.is_prefix();
        if has_path && others.iter().any(|other| other.path == route.path) {
            reader.mistake("path", "a path that no other route has is expected");
        }
        route
    })
}

/// The bridge asks for as much.
fn is_secret(text: &str) -> bool {
    text.len() >= 16 && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// As in the files of `envoy/`.
const DEFAULT_CLUSTER: &str = "sluicegate_bridge";
/// Where the bridge listens by default.
const DEFAULT_ADDRESS: &str = "127.0.0.1:7400";
const DEFAULT_MESSAGE_BYTES: usize = 1 << 20;
const MESSAGE_BYTES: (usize, usize) = (1 << 10, 16 << 20);
const DEFAULT_ASSEMBLY_BYTES: usize = 64 << 20;
/// Envoy gives a worker's filter 1 GiB in all.
const ASSEMBLY_BYTES: (usize, usize) = (1 << 10, 1 << 29);
/// Above the 30 s that the bridge gives a record to be delivered, so that it is the bridge that answers.
const DEFAULT_HTTP_TIMEOUT: u32 = 40_000;
const HTTP_TIMEOUT: (u32, u32) = (100, 3_600_000);

#[cfg(test)]
mod tests;

//! The plugin's configuration: JSON, checked as a whole before the first request.

mod cluster;
mod grant;
mod json;
mod reader;
mod route;

use serde_json::Value;
use sluicegate_protocol::metadata;

pub use self::cluster::Cluster;
pub use self::grant::Grant;
use self::reader::Reader;
pub use self::route::{Kind, Route};

/// What the filter does, and for which paths.
#[derive(Debug)]
pub struct Config {
    /// Which gateway the filter is in.
    pub host: Host,
    /// How sessions travel to the bridge.
    pub profile: Profile,
    /// Proves to the bridge that this gateway is asking.
    pub gateway_secret: Option<Secret>,
    /// Longest request of a session in bytes: a fragmented one is kept until it is complete. In APISIX the bridge's own
    /// limit counts.
    pub max_message_bytes: usize,
    /// Bytes that all unfinished requests of one worker's sessions may hold together.
    pub max_assembly_bytes: usize,
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
    /// Every mistake, each with its key and what was expected there; a key that is given twice is one.
    pub fn parse(json: &[u8], detect: impl FnOnce() -> Result<Host, String>) -> Result<Self, Vec<String>> {
        let (value, repeated) = json::parse(json).map_err(|error| vec![format!("not JSON: {error}")])?;
        let Value::Object(object) = value else {
            return Err(vec!["a JSON object is expected".into()]);
        };
        let mut reader = Reader::new(object);
        for key in repeated {
            reader.mistake(&key, "given twice");
        }
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

    /// The headers that tell the bridge which cluster a route is for, what its clients can do there, and that this gateway asks.
    pub fn metadata<'a>(&'a self, route: &'a Route) -> impl Iterator<Item = (&'static str, &'a str)> {
        let secret = self.gateway_secret.iter();
        std::iter::once(route.cluster.metadata())
            .chain(route.grant.metadata())
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
        let mut bytes = |key, bounds, default| reader.number(key, " of bytes", bounds).unwrap_or(default);
        let max_message_bytes = bytes("max_message_bytes", MESSAGE_BYTES, DEFAULT_MESSAGE_BYTES);
        let max_assembly_bytes = bytes("max_assembly_bytes", ASSEMBLY_BYTES, DEFAULT_ASSEMBLY_BYTES);
        if max_assembly_bytes < max_message_bytes {
            reader.mistake(
                "max_assembly_bytes",
                &format!("at least max_message_bytes ({max_message_bytes}) is expected"),
            );
        }
        for (key, successor) in MOVED {
            if reader.value(key).is_some() {
                reader.mistake(key, successor);
            }
        }
        let routes = if reader.has("routes") || reader.is_empty() {
            routes(reader)
        } else {
            vec![Route::read(reader, true)]
        };
        Self { host, profile, gateway_secret, max_message_bytes, max_assembly_bytes, routes }
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

const DEFAULT_MESSAGE_BYTES: usize = 1 << 20;
const MESSAGE_BYTES: (usize, usize) = (1 << 10, 16 << 20);
const DEFAULT_ASSEMBLY_BYTES: usize = 64 << 20;
/// Envoy gives a worker's filter 1 GiB in all.
const ASSEMBLY_BYTES: (usize, usize) = (1 << 10, 1 << 29);
/// Keys of plain HTTP, from when the filter made the requests to the bridge, and what limits them instead.
const MOVED: [(&str, &str); 3] = [
    ("bridge", "no longer used: the gateway's own route names the bridge as its upstream"),
    ("max_body_bytes", "no longer used: limits.max_request_bytes of the bridge limits bodies"),
    ("http_timeout_ms", "no longer used: the gateway's own route has a timeout"),
];

#[cfg(test)]
mod tests;

//! The plugin's configuration: JSON, validated as a whole before the first request.

mod cluster_source;
mod grant;
mod identity;
mod json;
mod reader;
mod route;

use std::fmt;

use serde_json::Value;
use sluicegate_protocol::metadata;

pub use self::cluster_source::ClusterSource;
pub use self::grant::{Grant, Personal};
pub use self::identity::{CertificateName, Source};
use self::reader::Reader;
pub use self::route::{Kind, Route};

/// The filter's configuration.
#[derive(Debug)]
pub struct Config {
    /// The gateway that hosts the filter.
    pub host: Host,
    /// Transport of sessions to the bridge.
    pub profile: Profile,
    /// Proves to the bridge that a request comes from this gateway.
    pub gateway_secret: Option<Secret>,
    /// Longest request of a session in bytes, all its fragments included. Where the bridge runs sessions, its own limit
    /// applies.
    pub max_message_bytes: usize,
    /// Bytes that all unfinished requests of one worker's sessions can hold together.
    pub max_assembly_bytes: usize,
    /// The routes by path.
    pub routes: Vec<Route>,
}

/// A value that is never logged.
pub struct Secret(String);

impl Secret {
    fn new(value: String) -> Self {
        Self(value)
    }

    /// The value itself, for the header that carries it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// A gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// Envoy.
    Envoy,
    /// Apache APISIX.
    Apisix,
}

/// Transport of sessions to the bridge. Must match Envoy's own configuration; ignored in APISIX.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// As an extended CONNECT (RFC 8441), into which Envoy turns the client's upgrade.
    Tunnel,
    /// As the client's own WebSocket, which Envoy relays and the bridge runs.
    Relay,
}

impl Config {
    /// Parses `json`. Without a `host`, the gateway is that of `detect`.
    ///
    /// # Errors
    /// All mistakes, each with its key and the expected value. Duplicate keys are mistakes too.
    pub fn parse(json: &[u8], detect: impl FnOnce() -> Result<Host, String>) -> Result<Self, Vec<String>> {
        let (value, repeated) = json::parse(json).map_err(|error| vec![format!("invalid JSON: {error}")])?;
        let Value::Object(object) = value else {
            return Err(vec!["must be a JSON object".into()]);
        };
        let mut reader = Reader::new(object);
        for key in repeated {
            reader.mistake(&key, "given twice");
        }
        let config = Self::read(&mut reader, detect);
        let mistakes = reader.finish();
        if mistakes.is_empty() { Ok(config) } else { Err(mistakes) }
    }

    /// The route of a request's target: the one of exactly its path, or else the one of the longest prefix.
    pub fn route(&self, target: &[u8]) -> Option<&Route> {
        let matches = |route: &&Route| route.rest(target).is_some();
        let whole = self.routes.iter().filter(|route| !route.is_prefix()).find(matches);
        whole.or_else(|| self.routes.iter().filter(matches).max_by_key(|route| route.path.len()))
    }

    /// A sentence for each thing that is allowed and rarely meant, with the paths of the routes.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        let unlimited = self.paths(|route| route.grant.is_unlimited);
        let unguarded = self.paths(|route| route.grant.write && route.accepts_any_page());
        let warnings = [(UNLIMITED, unlimited), (UNGUARDED, unguarded)].into_iter();
        warnings
            .filter(|(_, paths)| !paths.is_empty())
            .map(|(about, paths)| format!("{about}: {}", paths.join(", ")))
    }

    /// The paths of some routes.
    fn paths(&self, is_meant: impl Fn(&Route) -> bool) -> Vec<&str> {
        let routes = self.routes.iter().filter(|route| is_meant(route));
        routes.map(|route| if route.path.is_empty() { "every path" } else { &route.path }).collect()
    }

    /// The headers that tell the bridge a route's name, cluster and grant, and the gateway's secret.
    pub fn metadata<'a>(&'a self, route: &'a Route) -> impl Iterator<Item = (&'static str, &'a str)> {
        let secret = self.gateway_secret.iter();
        [(metadata::ROUTE, route.name()), route.cluster.metadata()]
            .into_iter()
            .chain(route.grant.metadata())
            .chain(secret.map(|secret| (metadata::GATEWAY_SECRET, secret.expose())))
    }

    fn read(reader: &mut Reader, detect: impl FnOnce() -> Result<Host, String>) -> Self {
        let host = match reader.string("host").as_deref() {
            Some("envoy") => Ok(Host::Envoy),
            Some("apisix") => Ok(Host::Apisix),
            Some(_) => Err(String::new()),
            None => detect().map_err(|reason| format!("; {reason}")),
        };
        let host = host.unwrap_or_else(|reason| {
            reader.mistake("host", &format!("must be \"envoy\" or \"apisix\"{reason}"));
            Host::Envoy
        });
        let profile = match reader.string("profile").as_deref() {
            None | Some("tunnel") => Profile::Tunnel,
            Some("relay") => Profile::Relay,
            Some(other) => {
                let removed = if other == "internal" { "; internal was removed" } else { "" };
                reader.mistake("profile", &format!("must be \"tunnel\" or \"relay\"{removed}"));
                Profile::Tunnel
            }
        };
        let gateway_secret = reader.string("gateway_secret").map(Secret::new);
        if gateway_secret.as_ref().is_some_and(|secret| !is_secret(secret.expose())) {
            reader
                .mistake("gateway_secret", "must be at least 16 visible ASCII characters, as in the bridge");
        }
        let mut bytes =
            |key: &'static str, bounds, default| reader.number(key, " of bytes", bounds).unwrap_or(default);
        let max_message_bytes = bytes("max_message_bytes", MESSAGE_BYTES, DEFAULT_MESSAGE_BYTES);
        let max_assembly_bytes = bytes("max_assembly_bytes", ASSEMBLY_BYTES, DEFAULT_ASSEMBLY_BYTES);
        if max_assembly_bytes < max_message_bytes {
            reader.mistake(
                "max_assembly_bytes",
                &format!("must be at least max_message_bytes ({max_message_bytes})"),
            );
        }
        for (key, successor) in MOVED {
            if reader.has_former(key) {
                reader.mistake(key, successor);
            }
        }
        let routes = if reader.has("routes") || reader.is_empty() {
            routes(reader)
        } else {
            vec![Route::read(reader, true)]
        };
        for route in &routes {
            if let Some(Err(expected)) = route.source().map(|source| source.check(host)) {
                reader.mistake("from", &format!("{expected} (in identity of {})", route.name()));
            }
        }
        Self { host, profile, gateway_secret, max_message_bytes, max_assembly_bytes, routes }
    }
}

fn routes(reader: &mut Reader) -> Vec<Route> {
    let expected = "must be an array of at least one route; a single route can be configured without it, such as by \
                    \"type\": \"pubsub\"";
    reader.objects("routes", expected, |reader, others: &[Route]| {
        let route = Route::read(reader, false);
        let has_path = !route.path.is_empty() || route.is_prefix();
        if has_path && others.iter().any(|other| other.path == route.path) {
            reader.mistake("path", "is already the path of another route");
        }
        route
    })
}

/// The bridge allows no other names for clusters and identities.
fn is_name(name: &str) -> bool {
    let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=100).contains(&name.len()) && name.bytes().all(is_name_byte)
}

/// The bridge requires the same.
fn is_secret(text: &str) -> bool {
    text.len() >= 16 && text.bytes().all(|byte| byte.is_ascii_graphic())
}

const UNLIMITED: &str =
    "routes without \"topics\", whose clients can use every topic that the cluster's user can";
const UNGUARDED: &str = "routes without \"origins\", to which pages of any origin can write";
const DEFAULT_MESSAGE_BYTES: usize = 1 << 20;
const MESSAGE_BYTES: (usize, usize) = (1 << 10, 16 << 20);
const DEFAULT_ASSEMBLY_BYTES: usize = 64 << 20;
/// Envoy limits a worker's filter to 1 GiB in all.
const ASSEMBLY_BYTES: (usize, usize) = (1 << 10, 1 << 29);
/// Former keys of plain HTTP, and their successors.
const MOVED: [(&str, &str); 3] = [
    ("bridge", "no longer used: the gateway's own route names the bridge as its upstream"),
    ("max_body_bytes", "no longer used: limits.max_request_bytes of the bridge limits bodies"),
    ("http_timeout_ms", "no longer used: the gateway's own route has a timeout"),
];

#[cfg(test)]
mod tests;

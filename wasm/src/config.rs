//! The plugin's configuration: JSON, checked as a whole before the first request.

use serde_json::{Map, Value};
use sluicegate_protocol::SERVICE_PATH_PREFIX;
use sluicegate_session::handshake::Policy;

/// What the filter does, and for which paths.
#[derive(Debug)]
pub struct Config {
    /// How sessions travel to the bridge.
    pub profile: Profile,
    /// Proves to the bridge that this gateway is asking.
    pub gateway_secret: Option<Secret>,
    /// Longest request in bytes: a fragmented one is kept until it is complete.
    pub max_message_bytes: usize,
    /// Bytes that all unfinished requests of one worker may hold together.
    pub max_assembly_bytes: usize,
    /// Paths that open sessions.
    pub routes: Vec<Route>,
}

/// How sessions travel to the bridge; it has to match the gateway's own configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// In an extended CONNECT (RFC 8441) that Envoy makes of the client's upgrade.
    Tunnel,
    /// As a plain gRPC `POST`; the filter runs behind an internal listener.
    Internal,
}

/// A path that opens sessions.
#[derive(Debug)]
pub struct Route {
    /// The request's path, without its query.
    pub path: String,
    /// Name of the cluster in the bridge's configuration.
    pub cluster: String,
    /// Whether sessions may write to it.
    pub write: bool,
    /// Who may open a session.
    pub policy: Policy,
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
    /// Reads `json`.
    ///
    /// # Errors
    /// Every mistake, each with its key and what was expected there.
    pub fn parse(json: &[u8]) -> Result<Self, Vec<String>> {
        let value: Value =
            serde_json::from_slice(json).map_err(|error| vec![format!("not JSON: {error}")])?;
        let Value::Object(object) = value else {
            return Err(vec!["a JSON object is expected".into()]);
        };
        let mut reader = Reader { at: String::new(), object, mistakes: Vec::new() };
        let config = Self::read(&mut reader);
        reader.finish();
        if reader.mistakes.is_empty() { Ok(config) } else { Err(reader.mistakes) }
    }

    /// The route of a request's path, which may be followed by a query or a fragment.
    pub fn route(&self, path: &[u8]) -> Option<&Route> {
        let path = path.split(|byte| b"?#".contains(byte)).next().unwrap_or_default();
        self.routes.iter().find(|route| route.path.as_bytes() == path)
    }

    fn read(reader: &mut Reader) -> Self {
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
        let max_message_bytes = reader.size("max_message_bytes", DEFAULT_MESSAGE_BYTES, MESSAGE_BYTES);
        let max_assembly_bytes = reader.size("max_assembly_bytes", DEFAULT_ASSEMBLY_BYTES, ASSEMBLY_BYTES);
        if max_assembly_bytes < max_message_bytes {
            reader.mistake(
                "max_assembly_bytes",
                &format!("at least max_message_bytes ({max_message_bytes}) is expected"),
            );
        }
        let routes = reader.routes();
        Self { profile, gateway_secret, max_message_bytes, max_assembly_bytes, routes }
    }
}

impl Route {
    fn read(reader: &mut Reader) -> Self {
        let path = reader.string("path").unwrap_or_else(|| {
            reader.mistake("path", "a path such as \"/pubsub\" is expected");
            String::new()
        });
        if !path.is_empty() && !is_path(&path) {
            reader.mistake(
                "path",
                "a path that begins with \"/\", in visible ASCII and without a query, is expected",
            );
        }
        if path.starts_with(SERVICE_PATH_PREFIX) {
            reader.mistake(
                "path",
                &format!("no path under {SERVICE_PATH_PREFIX} is expected: it is the bridge's own"),
            );
        }
        let cluster = reader.string("cluster").unwrap_or_else(|| DEFAULT_CLUSTER.to_owned());
        if !is_cluster(&cluster) {
            reader.mistake(
                "cluster",
                "1 to 100 letters, digits, '.', '_' and '-' are expected, as in the bridge",
            );
        }
        let write = reader.flag("write");
        let origins = reader.strings("origins");
        if origins.iter().flatten().any(|origin| !is_origin(origin)) {
            reader.mistake(
                "origins",
                "origins such as \"https://app.example\" are expected: scheme, host and port alone",
            );
        }
        let subprotocols = reader.strings("subprotocols").unwrap_or_default();
        if !subprotocols.iter().all(|name| is_token(name)) {
            reader.mistake("subprotocols", "HTTP tokens are expected");
        }
        Self { path, cluster, write, policy: Policy { origins, subprotocols } }
    }
}

/// Takes known keys out of an object and notes every mistake with its place.
struct Reader {
    /// Where the object stands, such as `routes[0].`
    at: String,
    object: Map<String, Value>,
    mistakes: Vec<String>,
}

impl Reader {
    fn mistake(&mut self, key: &str, expected: &str) {
        self.mistakes.push(format!("{}{key}: {expected}", self.at));
    }

    fn string(&mut self, key: &str) -> Option<String> {
        match self.object.remove(key)? {
            Value::String(text) if !text.is_empty() => Some(text),
            _ => {
                self.mistake(key, "a string that is not empty is expected");
                None
            }
        }
    }

    /// False where it is not given.
    fn flag(&mut self, key: &str) -> bool {
        let Some(value) = self.object.remove(key) else { return false };
        value.as_bool().unwrap_or_else(|| {
            self.mistake(key, "true or false is expected");
            false
        })
    }

    fn strings(&mut self, key: &str) -> Option<Vec<String>> {
        let Value::Array(items) = self.object.remove(key)? else {
            self.mistake(key, "an array of strings is expected");
            return None;
        };
        let texts: Vec<String> = items.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        if texts.len() != items.len() {
            self.mistake(key, "an array of strings is expected");
        }
        Some(texts)
    }

    fn size(&mut self, key: &str, default: usize, (min, max): (usize, usize)) -> usize {
        let Some(value) = self.object.remove(key) else { return default };
        let size = value.as_u64().and_then(|size| usize::try_from(size).ok());
        size.filter(|size| (min..=max).contains(size)).unwrap_or_else(|| {
            self.mistake(key, &format!("a number of bytes from {min} to {max} is expected"));
            default
        })
    }

    fn routes(&mut self) -> Vec<Route> {
        let items = match self.object.remove("routes") {
            Some(Value::Array(items)) if !items.is_empty() => items,
            _ => {
                self.mistake("routes", "an array of at least one route is expected");
                return Vec::new();
            }
        };
        let mut routes: Vec<Route> = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            let Value::Object(object) = item else {
                self.mistake(&format!("routes[{index}]"), "an object is expected");
                continue;
            };
            let mut reader =
                Reader { at: format!("{}routes[{index}].", self.at), object, mistakes: Vec::new() };
            let route = Route::read(&mut reader);
            if !route.path.is_empty() && routes.iter().any(|other| other.path == route.path) {
                reader.mistake("path", "a path that no other route has is expected");
            }
            reader.finish();
            self.mistakes.append(&mut reader.mistakes);
            routes.push(route);
        }
        routes
    }

    /// What is left in the object is not known.
    fn finish(&mut self) {
        for key in std::mem::take(&mut self.object).keys() {
            self.mistake(key, "unknown key");
        }
    }
}

/// The bridge asks for as much.
fn is_secret(text: &str) -> bool {
    text.len() >= 16 && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// As it stands in a request, behind its normalization (RFC 3986, section 3.3).
fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte))
}

/// The bridge allows no other names.
fn is_cluster(name: &str) -> bool {
    let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=100).contains(&name.len()) && name.bytes().all(is_name_byte)
}

/// RFC 6454, section 6.2: scheme, "://" and authority, as browsers send it.
fn is_origin(text: &str) -> bool {
    let authority =
        text.split_once("://").filter(|(scheme, _)| !scheme.is_empty()).map(|(_, authority)| authority);
    authority.is_some_and(|authority| {
        !authority.is_empty()
            && authority.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#@*,".contains(&byte))
    })
}

/// RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    let is_tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_tchar)
}

const DEFAULT_CLUSTER: &str = "default";
const DEFAULT_MESSAGE_BYTES: usize = 1 << 20;
const MESSAGE_BYTES: (usize, usize) = (1 << 10, 16 << 20);
const DEFAULT_ASSEMBLY_BYTES: usize = 64 << 20;
/// Envoy gives a worker's filter 1 GiB in all.
const ASSEMBLY_BYTES: (usize, usize) = (1 << 10, 1 << 29);

#[cfg(test)]
mod tests;

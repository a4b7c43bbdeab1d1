//! One path and what happens there.

use sluicegate_protocol::http_route::Resource;
use sluicegate_protocol::jsonkey::Path;
use sluicegate_protocol::{HttpCors, HttpProduce, HttpRest, HttpRoute, SERVICE_PATH_PREFIX};
use sluicegate_ws_session::handshake::Policy;

use super::cluster::Cluster;
use super::grant::Grant;
use super::reader::Reader;

/// What a request's path means.
#[derive(Debug)]
pub struct Route {
    /// The request's path without its query: all of it, or the first segments of a REST resource's, without a slash at
    /// the end. Where it is empty, every path is this route's.
    pub path: String,
    /// Which cluster it is for.
    pub cluster: Cluster,
    /// What its clients can do there.
    pub grant: Grant,
    /// What is there.
    pub kind: Kind,
}

/// What is at a path.
#[derive(Debug)]
pub enum Kind {
    /// WebSocket sessions.
    Pubsub {
        /// Who can open one.
        policy: Policy,
    },
    /// Plain HTTP requests: what the bridge is told of the route, but for the request's path.
    Http(HttpRoute),
}

impl Route {
    /// What of a request's path, with its query, lies behind this route's; None where it is another's.
    pub fn rest<'a>(&self, target: &'a [u8]) -> Option<&'a [u8]> {
        if self.path.is_empty() && !self.is_prefix() {
            return Some(target);
        }
        let rest = target.strip_prefix(self.path.as_bytes())?;
        match rest.first() {
            None | Some(b'?' | b'#') => Some(rest),
            Some(b'/') if self.is_prefix() => Some(rest),
            Some(_) => None,
        }
    }

    /// Whether longer paths are this route's, too.
    pub fn is_prefix(&self) -> bool {
        matches!(&self.kind, Kind::Http(HttpRoute { resource: Some(Resource::Rest(_)), .. }))
    }

    /// One route; one that is `alone` need not say for which path it is.
    pub(super) fn read(reader: &mut Reader, alone: bool) -> Self {
        if !alone && !reader.has("path") {
            reader.mistake("path", "a path such as \"/pubsub\" is expected");
        }
        let mut path = reader.string("path").unwrap_or_default();
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
        let cluster = Cluster::read(reader);
        let (grant, kind) = match reader.string("type").as_deref() {
            None | Some("pubsub") => (Grant::read(reader), pubsub(reader)),
            Some("produce") => {
                let (produce, topic) = produce(reader);
                let grant = Grant::write(reader, topic.as_deref(), produce.topic_override);
                (grant, http(reader, Resource::Produce(produce)))
            }
            Some("rest") => {
                if path.ends_with('/') {
                    path.pop();
                }
                (Grant::read(reader), http(reader, Resource::Rest(HttpRest {})))
            }
            Some(_) => {
                reader.mistake("type", "\"pubsub\", \"produce\" or \"rest\" is expected");
                (Grant::read(reader), pubsub(reader))
            }
        };
        Self { path, cluster, grant, kind }
    }
}

fn pubsub(reader: &mut Reader) -> Kind {
    let origins = reader.strings("origins");
    if origins.iter().flatten().any(|origin| !is_origin(origin)) {
        reader.mistake("origins", ORIGINS);
    }
    let subprotocols = reader.strings("subprotocols").unwrap_or_default();
    if !subprotocols.iter().all(|name| is_token(name)) {
        reader.mistake("subprotocols", "HTTP tokens are expected");
    }
    Kind::Pubsub { policy: Policy { origins, subprotocols } }
}

fn http(reader: &mut Reader, resource: Resource) -> Kind {
    Kind::Http(HttpRoute { resource: Some(resource), cors: cors(reader), path: String::new() })
}

/// The settings, and the topic that they name.
fn produce(reader: &mut Reader) -> (HttpProduce, Option<String>) {
    let overrides = reader.strings("overrides").unwrap_or_default();
    if !overrides.iter().all(|name| OVERRIDES.contains(&name.as_str())) {
        reader.mistake("overrides", "an array out of \"topic\", \"partition\" and \"key\" is expected");
    }
    let allowed = |name: &str| overrides.iter().any(|other| other == name);
    let (topic_override, partition_override, key_override) =
        (allowed("topic"), allowed("partition"), allowed("key"));
    let topic = reader.string("topic");
    match &topic {
        Some(topic) if !is_topic(topic) => {
            reader.mistake("topic", "1 to 249 letters, digits, '.', '_' and '-' are expected, as in Kafka");
        }
        None if !topic_override => {
            reader.mistake("topic", "a topic is expected, or \"topic\" in overrides");
        }
        _ => {}
    }
    let header_prefix = reader.string("headerprefix").unwrap_or_default();
    if !header_prefix.is_empty() && !is_token(&header_prefix) {
        reader.mistake("headerprefix", "an HTTP token is expected");
    }
    let record_header_prefix = reader.string("recordheaderprefix").unwrap_or_default();
    if !record_header_prefix.is_empty() && !is_token(&record_header_prefix) {
        reader.mistake("recordheaderprefix", "an HTTP token is expected");
    }
    let produce = HttpProduce {
        topic: topic.clone().unwrap_or_default(),
        partition: reader.number("partition", "", (-1, i32::MAX)),
        key: reader.string("key"),
        jsonkey: jsonkey(reader),
        // Names of headers are compared in lower case, as HTTP/2 has them.
        header_prefix: header_prefix.to_ascii_lowercase(),
        topic_override,
        partition_override,
        key_override,
        record_header_prefix: record_header_prefix.to_ascii_lowercase(),
    };
    (produce, topic)
}

fn jsonkey(reader: &mut Reader) -> Option<String> {
    let path = reader.string("jsonkey")?;
    if let Err(reason) = Path::parse(&path) {
        reader.mistake("jsonkey", &format!("a path in gjson's syntax is expected: {reason}"));
    }
    Some(path)
}

fn cors(reader: &mut Reader) -> Option<HttpCors> {
    let origins = reader.strings("origins");
    let credentials = reader.flag("credentials");
    let Some(origins) = origins else {
        if credentials {
            reader.mistake("credentials", "origins are expected, too");
        }
        return None;
    };
    if origins.iter().any(|origin| origin == "*") {
        if origins.len() > 1 {
            reader.mistake("origins", "\"*\" is expected alone");
        }
        if credentials {
            reader.mistake("credentials", "false is expected with the origin \"*\"");
        }
    } else if !origins.iter().all(|origin| is_origin(origin)) {
        reader.mistake("origins", ORIGINS);
    }
    Some(HttpCors { origins, credentials })
}

/// As it stands in a request, behind its normalization (RFC 3986, section 3.3).
fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte))
}

/// Kafka's `Topic.validate`.
pub(super) fn is_topic(name: &str) -> bool {
    (1..=249).contains(&name.len()) && name.bytes().all(is_name_byte) && name != "." && name != ".."
}

pub(super) fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-".contains(&byte)
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

const ORIGINS: &str = "origins such as \"https://app.example\" are expected: scheme, host and port alone";
const OVERRIDES: [&str; 3] = ["topic", "partition", "key"];

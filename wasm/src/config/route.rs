//! A route: one path and its settings.

use sluicegate_protocol::http_route::Resource;
use sluicegate_protocol::http_streams::Elements;
use sluicegate_protocol::jsonkey::Path;
use sluicegate_protocol::{HttpCors, HttpProduce, HttpRest, HttpRoute, HttpStreams, SERVICE_PATH_PREFIX};
use sluicegate_rights::name::is_topic;
use sluicegate_ws_session::handshake::Policy;

use super::cluster_source::ClusterSource;
use super::grant::Grant;
use super::identity::Source;
use super::reader::Reader;

/// A route.
#[derive(Debug)]
pub struct Route {
    /// The request's path without its query: all of it, or the first segments of a REST resource's, without a trailing
    /// slash. An empty path matches every request.
    pub path: String,
    /// The cluster that it serves.
    pub cluster: ClusterSource,
    /// The rights of its clients.
    pub grant: Grant,
    /// The kind of the route.
    pub kind: Kind,
}

/// The kind of a route.
#[derive(Debug)]
pub enum Kind {
    /// WebSocket sessions.
    Pubsub {
        /// Rules for accepted handshakes.
        policy: Policy,
    },
    /// Plain HTTP requests: the settings that the bridge gets, without the request's path.
    Http(HttpRoute),
}

impl Route {
    /// The rest of a request's target after the route's path; None if the route does not match.
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

    /// The route's name in the bridge's metrics.
    pub fn name(&self) -> &str {
        if self.path.is_empty() { "/" } else { &self.path }
    }

    /// Whether the route also matches longer paths.
    pub fn is_prefix(&self) -> bool {
        let Kind::Http(HttpRoute { resource, .. }) = &self.kind else { return false };
        matches!(resource, Some(Resource::Rest(_) | Resource::Streams(_)))
    }

    /// Whether web pages of any origin can send requests, though perhaps not read answers, because no `origins` are
    /// given.
    pub fn accepts_any_page(&self) -> bool {
        match &self.kind {
            Kind::Pubsub { policy } => policy.origins.is_none(),
            Kind::Http(http) => http.cors.is_none(),
        }
    }

    /// Reads one route. The path is optional if the route is `alone`.
    pub(super) fn read(reader: &mut Reader, alone: bool) -> Self {
        if !alone && !reader.has("path") {
            reader.mistake("path", "is missing; a path such as \"/pubsub\"");
        }
        let mut path = reader.string("path").unwrap_or_default();
        if !path.is_empty() && !is_path(&path) {
            reader.mistake("path", "must begin with \"/\" and be visible ASCII, without a query");
        }
        if path.contains('*') {
            let expected =
                "must not have \"*\": a route takes its own path, and with the type \"rest\" all below it";
            reader.mistake("path", expected);
        }
        if path.starts_with(SERVICE_PATH_PREFIX) {
            reader.mistake(
                "path",
                &format!("must not begin with {SERVICE_PATH_PREFIX}, which is the bridge's own"),
            );
        }
        let cluster = ClusterSource::read(reader);
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
                let cloudevents = reader.flag("cloudevents");
                (Grant::rest(reader), http(reader, Resource::Rest(HttpRest { cloudevents })))
            }
            Some("streams") => {
                if path.ends_with('/') {
                    path.pop();
                }
                let grant = Grant::read(reader);
                let streams = streams(reader, &grant);
                (grant, http(reader, Resource::Streams(streams)))
            }
            Some(_) => {
                reader.mistake("type", "must be \"pubsub\", \"produce\", \"rest\" or \"streams\"");
                (Grant::read(reader), pubsub(reader))
            }
        };
        if let (ClusterSource::Defined(_), true) = (&cluster, grant.encode || grant.register_schemas) {
            let key = if grant.encode { "encode" } else { "register_schemas" };
            reader.mistake(key, "needs a cluster of the bridge's configuration, with `schemas` there");
        }
        let route = Self { path, cluster, grant, kind };
        let takes_cookies = match route.source() {
            Some(Source::Token(places)) => places.cookie.is_some(),
            _ => false,
        };
        if takes_cookies && !route.names_its_pages() {
            reader.mistake("origins", "is missing: browsers send cookies with the requests of any page");
        }
        route
    }

    /// Whether only pages of some origins are admitted.
    fn names_its_pages(&self) -> bool {
        let origins = match &self.kind {
            Kind::Pubsub { policy } => policy.origins.as_ref(),
            Kind::Http(http) => http.cors.as_ref().map(|cors| &cors.origins),
        };
        origins.is_some_and(|origins| !origins.iter().any(|origin| origin == "*"))
    }

    /// Where the gateway has the identity of clients, if the route asks for one.
    pub fn source(&self) -> Option<&Source> {
        self.grant.policy.as_ref()?.source.as_ref()
    }
}

fn pubsub(reader: &mut Reader) -> Kind {
    let origins = origins(reader);
    if origins.iter().flatten().any(|origin| !is_origin(origin)) {
        reader.mistake("origins", ORIGINS);
    }
    let subprotocols = reader.strings("subprotocols").unwrap_or_default();
    if !subprotocols.iter().all(|name| is_token(name)) {
        reader.mistake("subprotocols", "must be HTTP tokens");
    }
    Kind::Pubsub { policy: Policy { origins, subprotocols } }
}

fn http(reader: &mut Reader, resource: Resource) -> Kind {
    Kind::Http(HttpRoute { resource: Some(resource), cors: cors(reader), path: String::new() })
}

/// The settings, and the configured topic.
fn produce(reader: &mut Reader) -> (HttpProduce, Option<String>) {
    let overrides = reader.strings("overrides").unwrap_or_default();
    if !overrides.iter().all(|name| OVERRIDES.contains(&name.as_str())) {
        reader.mistake("overrides", "must be an array of \"topic\", \"partition\" and \"key\"");
    }
    let allowed = |name: &str| overrides.iter().any(|other| other == name);
    let (topic_override, partition_override, key_override) =
        (allowed("topic"), allowed("partition"), allowed("key"));
    let topic = reader.string("topic");
    match &topic {
        Some(topic) if !is_topic(topic) => {
            reader.mistake("topic", "must be 1 to 249 letters, digits, '.', '_' and '-', as in Kafka");
        }
        None if !topic_override => {
            reader.mistake("topic", "is missing, and overrides does not list \"topic\"");
        }
        _ => {}
    }
    let header_prefix = reader.string("headerprefix").unwrap_or_default();
    if !header_prefix.is_empty() && !is_token(&header_prefix) {
        reader.mistake("headerprefix", "must be an HTTP token");
    }
    let record_header_prefix = reader.string("recordheaderprefix").unwrap_or_default();
    if !record_header_prefix.is_empty() && !is_token(&record_header_prefix) {
        reader.mistake("recordheaderprefix", "must be an HTTP token");
    }
    let produce = HttpProduce {
        topic: topic.clone().unwrap_or_default(),
        partition: reader.number("partition", "", (-1, i32::MAX)),
        key: reader.string("key"),
        jsonkey: jsonkey(reader),
        // Header names are compared in lower case, as in HTTP/2.
        header_prefix: header_prefix.to_ascii_lowercase(),
        topic_override,
        partition_override,
        key_override,
        record_header_prefix: record_header_prefix.to_ascii_lowercase(),
        cloudevents: reader.flag("cloudevents"),
    };
    (produce, topic)
}

fn streams(reader: &mut Reader, grant: &Grant) -> HttpStreams {
    let content_type = reader.string("content_type").unwrap_or_else(|| JSON.to_owned()).to_ascii_lowercase();
    let is_media_type =
        content_type.split_once('/').is_some_and(|(kind, name)| is_token(kind) && is_token(name));
    if !is_media_type {
        reader
            .mistake("content_type", "must be a media type without parameters, such as \"application/json\"");
    }
    let elements = reader.string("elements");
    if elements.is_some() && content_type != JSON {
        reader.mistake("elements", "needs the content_type \"application/json\"");
    }
    let elements = match elements.as_deref() {
        None | Some("values") => Elements::Values,
        Some("envelope") => Elements::Envelope,
        Some("state") => Elements::State,
        Some(_) => {
            reader.mistake("elements", "must be \"values\", \"envelope\" or \"state\"");
            Elements::Values
        }
    };
    let public = reader.flag("public");
    if public && grant.policy.is_some() {
        reader.mistake(
            "public",
            "must be false on a route with rights of people: caches would give one's records to others",
        );
    }
    let pack = reader.flag("pack");
    if pack && (content_type != JSON || elements != Elements::Values) {
        reader.mistake("pack", "needs the content_type \"application/json\" and the elements \"values\"");
    }
    HttpStreams { content_type, elements: elements.into(), public, pack }
}

fn jsonkey(reader: &mut Reader) -> Option<String> {
    let path = reader.string("jsonkey")?;
    if let Err(reason) = Path::parse(&path) {
        reader.mistake("jsonkey", &format!("must be a path in gjson's syntax: {reason}"));
    }
    Some(path)
}

fn cors(reader: &mut Reader) -> Option<HttpCors> {
    let origins = origins(reader);
    let credentials = reader.flag("credentials");
    let Some(origins) = origins else {
        if credentials {
            reader.mistake("credentials", "needs origins");
        }
        return None;
    };
    if origins.iter().any(|origin| origin == "*") {
        if origins.len() > 1 {
            reader.mistake("origins", "must be the only origin if it is \"*\"");
        }
        if credentials {
            reader.mistake("credentials", "must be false with the origin \"*\"");
        }
    } else if !origins.iter().all(|origin| is_origin(origin)) {
        reader.mistake("origins", ORIGINS);
    }
    Some(HttpCors { origins, credentials })
}

/// Origins as browsers send them, who leave out the scheme's default port (RFC 6454, section 6.2).
fn origins(reader: &mut Reader) -> Option<Vec<String>> {
    let with_default_port = |origin: &String| match origin.split_once("://") {
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => origin.ends_with(":443"),
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("http") => origin.ends_with(":80"),
        _ => false,
    };
    let mut origins = reader.strings("origins")?;
    for origin in origins.iter_mut().filter(|origin| with_default_port(origin)) {
        origin.truncate(origin.rfind(':').unwrap_or(origin.len()));
    }
    Some(origins)
}

/// A path as requests have it after normalization (RFC 3986, section 3.3).
fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte))
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

const JSON: &str = "application/json";
const ORIGINS: &str = "must be origins such as \"https://app.example\": scheme, host and port only";
const OVERRIDES: [&str; 3] = ["topic", "partition", "key"];

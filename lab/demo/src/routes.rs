//! Routes of the user's own, in place of the demo's.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Map, Value, json};
use sluicegate_filter::config::{self, Config, Host, Route};
use sluicegate_protocol::http_route::Resource;
use sluicegate_stack::envoy::{Profile, instead, instead_of_pubsub};

use crate::Failure;

/// The routes of a file, which the filter accepts.
pub(crate) struct Routes {
    /// Further keys of the filter's configuration, each with a comma.
    keys: String,
    /// With the origins of this machine's pages, where the file names none.
    objects: Vec<String>,
    pub(crate) shown: Vec<Shown>,
}

/// A route that the demo's output shows.
pub(crate) struct Shown {
    pub(crate) kind: Kind,
    path: String,
    /// Whether clients need a token, or the like.
    pub(crate) needs_identity: bool,
}

/// The kind of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Pubsub,
    Rest,
    Streams,
    Produce,
}

impl Routes {
    /// Reads and checks the routes in a file. Pages of `origins` can use those without `origins`.
    pub(crate) fn read(file: &Path, origins: &[String]) -> Result<Self, Failure> {
        let name = file.display();
        let text = fs::read_to_string(file).map_err(|error| format!("cannot read {name}: {error}"))?;
        Self::parse(&text, origins).map_err(|mistakes| format!("cannot use {name}: {mistakes}").into())
    }

    fn parse(text: &str, origins: &[String]) -> Result<Self, String> {
        let is_array = text.trim_start().starts_with('[');
        let text = if is_array { format!("{{\"routes\":{text}}}") } else { text.to_owned() };
        let config = Config::parse(text.as_bytes(), || Ok(Host::Envoy));
        let config = config.map_err(|mistakes| mistakes.join("; "))?;
        if config.host != Host::Envoy {
            return Err("host: must be \"envoy\", which the demo runs".to_owned());
        }
        let mut keys: Map<String, Value> =
            serde_json::from_str(&text).map_err(|error| format!("invalid JSON: {error}"))?;
        let Some(Value::Array(mut routes)) = keys.remove("routes") else {
            return Err("routes: is missing; an array of routes".to_owned());
        };
        for route in routes.iter_mut().filter_map(Value::as_object_mut) {
            route.entry("origins").or_insert_with(|| json!(origins));
        }
        keys.retain(|key, _| !OF_THE_DEMO.contains(&key.as_str()));
        Ok(Self {
            keys: keys.iter().map(|(key, value)| format!("{key:?}: {value}, ")).collect(),
            objects: routes.iter().map(Value::to_string).collect(),
            shown: config.routes.iter().map(Shown::of).collect(),
        })
    }

    /// The edits of Envoy's configuration, with further `keys` of the filter's.
    pub(crate) fn edits(&self, keys: &str, profile: Profile) -> Vec<(String, String)> {
        let objects: Vec<&str> = self.objects.iter().map(String::as_str).collect();
        let mut edits = vec![instead(&format!("{keys} {}", self.keys), &objects)];
        let paths: Vec<String> = self.pubsub().map(|route| format!("{:?}", route.path)).collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        if let (Profile::Tunnel, [first, more @ ..]) = (profile, &paths[..]) {
            edits.push(instead_of_pubsub(first, more));
        }
        edits
    }

    /// The routes for sessions.
    pub(crate) fn pubsub(&self) -> impl Iterator<Item = &Shown> {
        self.shown.iter().filter(|route| route.kind == Kind::Pubsub)
    }
}

impl Shown {
    fn of(route: &Route) -> Self {
        let kind = match &route.kind {
            config::Kind::Pubsub { .. } => Kind::Pubsub,
            config::Kind::Http(http) if matches!(http.resource, Some(Resource::Rest(_))) => Kind::Rest,
            config::Kind::Http(http) if matches!(http.resource, Some(Resource::Streams(_))) => Kind::Streams,
            config::Kind::Http(_) => Kind::Produce,
        };
        Self { kind, path: route.path.clone(), needs_identity: route.source().is_some() }
    }

    /// Its name in the demo's output.
    pub(crate) fn name(&self) -> &'static str {
        match self.kind {
            Kind::Pubsub => "pub/sub endpoint",
            Kind::Rest | Kind::Streams | Kind::Produce => "plain HTTP",
        }
    }

    pub(crate) fn url(&self, gateway: &SocketAddr) -> String {
        let scheme = if self.kind == Kind::Pubsub { "ws" } else { "http" };
        format!("{scheme}://{gateway}{}", self.path)
    }
}

/// Keys that the demo sets itself.
const OF_THE_DEMO: [&str; 3] = ["gateway_secret", "profile", "host"];

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Routes, String> {
        Routes::parse(text, &["http://localhost".to_owned()])
    }

    #[test]
    fn routes_are_guarded_and_keep_what_they_say() {
        let text = r#"{"profile": "relay", "gateway_secret": "0123456789abcdef", "max_message_bytes": 2048,
            "routes": [{"path": "/a"}, {"path": "/b", "type": "rest", "origins": ["*"]}]}"#;
        let routes = parse(text).unwrap();
        assert_eq!(routes.keys, "\"max_message_bytes\": 2048, ");
        let guarded = r#"{"origins":["http://localhost"],"path":"/a"}"#;
        assert_eq!(routes.objects, [guarded, r#"{"origins":["*"],"path":"/b","type":"rest"}"#]);
        let array = parse(r#" [{"path": "/a"}]"#).unwrap();
        assert_eq!((array.objects, array.keys), (vec![guarded.to_owned()], String::new()));
    }

    #[test]
    fn mistakes_are_the_filters_own() {
        for (text, mistake) in [
            (r#"[{"path": "/a", "orgins": []}]"#, "routes[0].orgins: unknown key, did you mean `origins`?"),
            (r#"{"path": "/a"}"#, "routes: is missing; an array of routes"),
            (
                r#"{"host": "apisix", "routes": [{"path": "/a"}]}"#,
                "host: must be \"envoy\", which the demo runs",
            ),
            ("routes", "invalid JSON: expected value at line 1 column 1"),
        ] {
            assert_eq!(parse(text).err().as_deref(), Some(mistake), "{text}");
        }
    }
}

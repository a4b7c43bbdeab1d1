//! An Envoy that loads the filter by ECDS and its routes by RDS, from files that change while it runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sluicegate_stack::stack::Stack;

use crate::secured::gateway::Route;

/// The files, each with all routes at first.
pub(crate) struct Discovery {
    filter: Resource,
    routes: Resource,
}

impl Discovery {
    /// Starts the stack's Envoy again with what its configuration says in place taken out into files.
    pub(crate) async fn start(stack: &mut Stack) -> Self {
        let folder = stack.folder().path();
        let config = folder.join("envoy.yaml");
        let text = fs::read_to_string(&config).unwrap();
        let (head, rest) = text.rsplit_once("          route_config:\n").unwrap();
        let (routes, rest) = rest.split_once("          http_filters:\n").unwrap();
        let (between, rest) = rest.split_once("          - name: envoy.filters.http.wasm\n").unwrap();
        let (filter, tail) = rest.split_once("          - name: envoy.filters.http.router\n").unwrap();
        let filter = Resource::new(folder, "filter", "config.core.v3.TypedExtensionConfig", filter);
        let routes = Resource::new(folder, "routes", "config.route.v3.RouteConfiguration", routes);
        let rds = format!(
            "          rds:\n            route_config_name: routes\n            config_source: {}\n",
            routes.source()
        );
        let ecds = format!(
            "          - name: filter\n            config_discovery:\n              config_source: {}\n              \
             type_urls: [{TYPE}extensions.filters.http.wasm.v3.Wasm]\n          - name: envoy.filters.http.router\n",
            filter.source()
        );
        let node = "node: {id: sluicegate, cluster: sluicegate}\n";
        fs::write(&config, [node, head, &rds, "          http_filters:\n", between, &ecds, tail].concat())
            .unwrap();
        let envoy = stack.envoy_mut();
        envoy.process.kill();
        envoy.process.wait(Duration::from_secs(5)).await.unwrap();
        envoy.up().await.unwrap();
        Self { filter, routes }
    }

    /// Takes a route out of the filter's configuration.
    pub(crate) fn remove_from_filter(&self, route: &Route) {
        self.filter.publish_with(&format!(", {}", route.object), "");
    }

    /// Replaces a route in the filter's configuration.
    pub(crate) fn replace_in_filter(&self, route: &Route, other: &Route) {
        self.filter.publish_with(&route.object, &other.object);
    }

    /// Takes Envoy's own route for it away.
    pub(crate) fn remove_from_envoy(&self, route: &Route) {
        let begin = format!("    - {{match: {{path: {}}}", route.path);
        let line = self.routes.text.lines().find(|line| line.starts_with(&begin)).unwrap();
        self.routes.publish_with(&format!("{line}\n"), "");
    }

    /// Adds all that was removed.
    pub(crate) fn restore(&self) {
        self.filter.publish(&self.filter.text);
        self.routes.publish(&self.routes.text);
    }
}

struct Resource {
    path: PathBuf,
    text: String,
}

impl Resource {
    /// `keys` stand ten columns further in than in a resource.
    fn new(folder: &Path, name: &str, message: &str, keys: &str) -> Self {
        let keys = keys.lines().map(|line| format!("{}\n", line.get(10..).unwrap_or_default()));
        let text =
            format!("resources:\n- '@type': {TYPE}{message}\n  name: {name}\n{}", keys.collect::<String>());
        let resource = Self { path: folder.join(name).with_extension("yaml"), text };
        resource.publish(&resource.text);
        resource
    }

    fn source(&self) -> String {
        format!("{{resource_api_version: V3, path_config_source: {{path: {:?}}}}}", self.path)
    }

    /// Envoy looks at the file when another takes its place.
    fn publish(&self, text: &str) {
        let next = self.path.with_extension("next");
        fs::write(&next, text).unwrap();
        fs::rename(&next, &self.path).unwrap();
    }

    /// Publishes the text with `part` replaced by `other`.
    fn publish_with(&self, part: &str, other: &str) {
        assert_eq!(self.text.matches(part).count(), 1, "{part:?} in {}", self.text);
        self.publish(&self.text.replace(part, other));
    }
}

const TYPE: &str = "type.googleapis.com/envoy.";

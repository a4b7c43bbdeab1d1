//! `[route_clusters]`: clusters that gateways' routes carry.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use sluicegate_backend::System;
use sluicegate_kafka::{ClusterConfig, PropertyError};
use sluicegate_protocol::definition::Node;

use super::cluster;
use super::flat::Flat;
use super::hosts::Pattern;
use super::keys;
use super::problem::{Place, Problems};
use super::section::Section;

/// The name of all of them in metrics and logs.
pub(crate) const NAME: &str = "route";

/// `[route_clusters]`.
#[derive(Clone)]
pub struct RouteClusters {
    allowed_hosts: Vec<Pattern>,
    /// Whether they can be written to, if the gateway's route allows it too. Default: no.
    pub write: bool,
    /// Clusters in use at the same time. Default 100. One costs its connections and, if it is written to, a producer.
    pub max: usize,
    /// `idle_timeout_ms`: how long a cluster is unused before its connections are closed, up to a fifth later. Default
    /// 1 min.
    pub idle_timeout: Duration,
    /// librdkafka's properties for every cluster that a route carries.
    properties: BTreeMap<String, Flat>,
}

/// A cluster's definition in librdkafka's terms.
pub(crate) struct DefinedCluster<'a> {
    pub(crate) nodes: &'a [Node],
    /// Whether certificates are verified; None: no TLS.
    pub(crate) verify: Option<bool>,
    /// Mechanism, user name and password.
    pub(crate) sasl: Option<(&'a str, &'a str, &'a str)>,
}

impl RouteClusters {
    /// Whether a route can name this broker.
    pub(crate) fn allows(&self, node: &Node) -> bool {
        self.allowed_hosts.iter().any(|pattern| pattern.allows(node))
    }

    /// Whether a route can name any broker.
    pub(super) fn allows_any(&self) -> bool {
        !self.allowed_hosts.is_empty()
    }

    /// The cluster's configuration: the common properties and those of the definition. Reads the files that they name.
    ///
    /// # Errors
    /// Every invalid property, without secrets.
    pub(crate) fn cluster(&self, defined: &DefinedCluster<'_>) -> Result<ClusterConfig, Vec<PropertyError>> {
        let mut given = self.properties.clone();
        given.retain(|name, _| is_of_use(name, defined.verify));
        let own = defined.properties().into_iter();
        given.extend(own.map(|(name, text)| (name.to_owned(), Flat::of(name, text))));
        cluster::kafka(&given)
    }
}

impl DefinedCluster<'_> {
    fn properties(&self) -> BTreeMap<&'static str, String> {
        let nodes: Vec<String> = self.nodes.iter().map(Node::to_string).collect();
        let protocol = match (self.verify, self.sasl) {
            (None, None) => "plaintext",
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        let mut properties = BTreeMap::from([
            ("bootstrap.servers", nodes.join(",")),
            ("security.protocol", protocol.to_owned()),
        ]);
        properties.extend(self.verify.map(|verify| (VERIFY, verify.to_string())));
        if let Some((mechanism, username, password)) = self.sasl {
            properties.extend([
                ("sasl.mechanism", mechanism.to_owned()),
                ("sasl.username", username.to_owned()),
                ("sasl.password", password.to_owned()),
            ]);
        }
        properties
    }
}

/// Whether only the route sets this property.
pub(crate) fn is_of_definition(property: &str) -> bool {
    matches!(property, "bootstrap.servers" | "metadata.broker.list" | "security.protocol" | VERIFY)
        || property.starts_with("sasl.")
}

/// Whether a property applies: without TLS, or without verification, its properties would be rejected.
fn is_of_use(property: &str, verify: Option<bool>) -> bool {
    let checks = ["ssl.ca.", "ssl.crl.", "ssl.endpoint."].iter().any(|begin| property.starts_with(begin));
    match verify {
        None => !property.starts_with("ssl."),
        Some(false) => !checks,
        Some(true) => true,
    }
}

/// Parses the table, and checks its properties.
pub(super) fn parse(mut table: Section, problems: &mut Problems) -> RouteClusters {
    let mut allowed_hosts = Vec::new();
    for host in table.names(keys::ALLOWED_HOSTS.short(), problems) {
        match Pattern::parse(&host) {
            Some(pattern) => allowed_hosts.push(pattern),
            None => problems
                .add("route_clusters.allowed_hosts", format!("has \"{}\", {EXPECTED}", host.escape_debug())),
        }
    }
    let write = table.flag(keys::ROUTE_WRITE.short(), false, problems);
    let max = table.size(&keys::ROUTE_MAX, problems);
    let idle_timeout = table.millis(&keys::ROUTE_IDLE_TIMEOUT, problems);
    let properties = table.table_or_empty(keys::ROUTE_PROPERTIES.short(), problems);
    let properties = cluster::given(properties, System::Kafka, problems);
    table.end(problems);
    let parsed = RouteClusters { allowed_hosts, write, max, idle_timeout, properties };
    parsed.check_properties(problems);
    parsed
}

impl RouteClusters {
    /// Checks the properties with a cluster as a route can carry it.
    fn check_properties(&self, problems: &mut Problems) {
        let shown = |name: &str| self.properties.get(name).map(|flat| flat.place.clone());
        let shown = |name: &str| {
            shown(name).unwrap_or_else(|| Place::Key(format!("route_clusters.properties.{name}")))
        };
        let of_definition: Vec<&String> =
            self.properties.keys().filter(|name| is_of_definition(name)).collect();
        for name in &of_definition {
            problems.add(shown(name), "is set by the route, in its `kafka`: remove it");
        }
        if !of_definition.is_empty() || self.properties.is_empty() {
            return;
        }
        let has_tls = self.properties.keys().any(|name| name.starts_with("ssl."));
        let nodes: Vec<Node> = Node::parse("localhost:9092").into_iter().collect();
        let cluster =
            self.cluster(&DefinedCluster { nodes: &nodes, verify: has_tls.then_some(true), sasl: None });
        match cluster {
            Ok(cluster) if self.write => {
                if let Err(problem) = cluster.check_writable() {
                    problems
                        .add("route_clusters.properties", format!("cannot be used for writing: {problem}"));
                }
            }
            Ok(_) => {}
            Err(errors) => {
                for PropertyError { key, problem } in errors {
                    problems.add(shown(&key), problem);
                }
            }
        }
    }
}

/// Shows only the names of properties: values can be secrets.
impl fmt::Debug for RouteClusters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { allowed_hosts, write, max, idle_timeout, properties } = self;
        f.debug_struct("RouteClusters")
            .field("allowed_hosts", allowed_hosts)
            .field("write", write)
            .field("max", max)
            .field("idle_timeout", idle_timeout)
            .field("properties", &properties.keys())
            .finish()
    }
}

#[cfg(test)]
mod tests;

const VERIFY: &str = "enable.ssl.certificate.verification";
const EXPECTED: &str = "expected hosts and ports such as \"kafka-1.example:9092\", \"*.kafka.svc:9092\" \
                        or \"10.0.0.1:*\"; IPv6 addresses in brackets";

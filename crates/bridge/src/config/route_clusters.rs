//! `[route_clusters]`: what becomes of clusters that gateways' routes carry.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use sluicegate_protocol::definition::Node;
use sluicegate_reader::PropertyError;

use super::cluster::{self, Cluster};
use super::hosts::Pattern;
use super::section::{Flat, Problems, Section};
use super::{Place, keys};

/// Under which name all of them are counted and logged.
pub(crate) const NAME: &str = "route";

/// `[route_clusters]`.
#[derive(Clone)]
pub struct RouteClusters {
    allowed_hosts: Vec<Pattern>,
    /// Whether they may be written to, where a gateway's route allows it too. Default: no.
    pub write: bool,
    /// Clusters that are in use at the same time. Default 100. One costs its connections, and where it is written to, what the
    /// producer of a section costs.
    pub max: usize,
    /// `idle_timeout_ms`: unused for so long, and a fifth more at most, a cluster's connections are closed. Default 1 min.
    pub idle_timeout: Duration,
    /// Librdkafka's properties for all of them.
    properties: BTreeMap<String, Flat>,
}

/// What a definition says in librdkafka's terms.
pub(crate) struct Defined<'a> {
    pub(crate) nodes: &'a [Node],
    /// Whether certificates are checked; without it there is no TLS.
    pub(crate) verify: Option<bool>,
    /// Mechanism, user name and password.
    pub(crate) sasl: Option<(&'a str, &'a str, &'a str)>,
}

impl RouteClusters {
    /// Whether the bridge may connect to a broker because a route says so.
    pub(crate) fn allows(&self, node: &Node) -> bool {
        self.allowed_hosts.iter().any(|pattern| pattern.allows(node))
    }

    /// Whether there are brokers that a route may name.
    pub(super) fn allows_any(&self) -> bool {
        !self.allowed_hosts.is_empty()
    }

    /// As a section of `[clusters]` with the properties that a definition comes to. Reads the files that these name.
    ///
    /// # Errors
    /// Every property that cannot be used, none with a secret.
    pub(crate) fn cluster(&self, defined: &Defined<'_>) -> Result<Cluster, Vec<PropertyError>> {
        let mut given = self.properties.clone();
        given.retain(|name, _| is_of_use(name, defined.verify));
        let own = defined.properties().into_iter();
        given.extend(own.map(|(name, text)| (name.to_owned(), Flat::of(name, text))));
        cluster::parse(&given)
    }
}

impl Defined<'_> {
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

/// Whether it is the route that says this, and nothing else.
pub(crate) fn is_of_definition(property: &str) -> bool {
    matches!(property, "bootstrap.servers" | "metadata.broker.list" | "security.protocol" | VERIFY)
        || property.starts_with("sasl.")
}

/// A property of TLS would be refused where there is none, as would one that checks a certificate which is not to be checked.
fn is_of_use(property: &str, verify: Option<bool>) -> bool {
    let checks = ["ssl.ca.", "ssl.crl.", "ssl.endpoint."].iter().any(|begin| property.starts_with(begin));
    match verify {
        None => !property.starts_with("ssl."),
        Some(false) => !checks,
        Some(true) => true,
    }
}

/// What is configured, with every problem of its properties.
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
    let properties = cluster::given(table.table_or_empty(keys::ROUTE_PROPERTIES.short(), problems), problems);
    table.end(problems);
    let parsed = RouteClusters { allowed_hosts, write, max, idle_timeout, properties };
    parsed.check_properties(problems);
    parsed
}

impl RouteClusters {
    /// With a cluster such as a route may carry: what is wrong with it is wrong with the properties.
    fn check_properties(&self, problems: &mut Problems) {
        let shown = |name: &str| self.properties.get(name).map(|flat| flat.place.clone());
        let shown = |name: &str| {
            shown(name).unwrap_or_else(|| Place::Key(format!("route_clusters.properties.{name}")))
        };
        let of_definition: Vec<&String> =
            self.properties.keys().filter(|name| is_of_definition(name)).collect();
        for name in &of_definition {
            problems.add(shown(name), "is for the route to say, in its `kafka`: leave it out");
        }
        if !of_definition.is_empty() || self.properties.is_empty() {
            return;
        }
        let has_tls = self.properties.keys().any(|name| name.starts_with("ssl."));
        let nodes: Vec<Node> = Node::parse("localhost:9092").into_iter().collect();
        let cluster = self.cluster(&Defined { nodes: &nodes, verify: has_tls.then_some(true), sasl: None });
        match cluster {
            Ok(cluster) if self.write => {
                if let Err(problem) = cluster.writer.check_together() {
                    problems.add("route_clusters.properties", format!("cannot be written with: {problem}"));
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

/// Names of properties only: values may be secrets.
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
const EXPECTED: &str = "expected hosts and ports such as \"kafka-1.example:9092\", \"*.kafka.svc:9092\" or \"10.0.0.1:*\"; an IPv6 \
                        address stands in brackets";

//! The cluster of a route: named in the bridge's configuration, or defined by the route itself.

use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use prost::Message;
use serde_json::Value;
use sluicegate_protocol::cluster_definition::{Sasl, Tls};
use sluicegate_protocol::definition::{MAX_BYTES, MAX_NODES, MECHANISMS, Node};
use sluicegate_protocol::{ClusterDefinition, metadata};

use super::reader::Reader;
use super::{Secret, is_name};

/// Where the bridge finds the cluster of a route.
#[derive(Debug, Clone)]
pub enum ClusterSource {
    /// The name of a cluster in the bridge's configuration.
    Named(Rc<str>),
    /// The route's own definition, encoded as its header carries it.
    Defined(Rc<Secret>),
}

impl ClusterSource {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let name = reader.string("cluster");
        if name.as_ref().is_some_and(|name| !is_name(name)) {
            reader.mistake("cluster", "must be 1 to 100 letters, digits, '.', '_' and '-', as in the bridge");
        }
        let definition = reader.object("kafka", definition);
        if name.is_some() && definition.is_some() {
            reader.mistake("kafka", "cannot be combined with cluster");
        }
        let Some(definition) = definition else {
            return Self::Named(name.as_deref().unwrap_or(DEFAULT).into());
        };
        if definition.encoded_len() > MAX_BYTES {
            reader.mistake("kafka", &format!("must be at most {MAX_BYTES} bytes in all"));
        }
        Self::Defined(Rc::new(Secret::new(STANDARD_NO_PAD.encode(definition.encode_to_vec()))))
    }

    /// The header that tells the bridge.
    pub(super) fn metadata(&self) -> (&'static str, &str) {
        match self {
            Self::Named(name) => (metadata::CLUSTER, name),
            Self::Defined(definition) => (metadata::CLUSTER_DEFINITION, definition.expose()),
        }
    }
}

fn definition(reader: &mut Reader) -> ClusterDefinition {
    ClusterDefinition {
        nodes: nodes(reader),
        tls: reader.object("tls", |reader| Tls { verify: reader.flag_or("verify", true) }),
        sasl: reader.object("sasl", sasl),
    }
}

fn nodes(reader: &mut Reader) -> Vec<String> {
    let nodes = match reader.value("nodes") {
        Some(Value::Object(nodes)) => {
            let node = |(node, weight): (&String, &Value)| Node::parse(node).filter(|_| is_weight(weight));
            nodes.iter().map(node).collect()
        }
        Some(Value::Array(nodes)) => nodes.iter().map(node).collect(),
        _ => None,
    };
    let nodes: Vec<Node> = nodes.unwrap_or_default();
    if !(1..=MAX_NODES).contains(&nodes.len()) {
        reader.mistake(
            "nodes",
            &format!(
                "must be 1 to {MAX_NODES} brokers, as {{\"host:port\": weight}}, [{{\"host\": …, \"port\": …}}] or \
                 [\"host:port\"]; a host is a name, an IPv4 address or an IPv6 address in brackets"
            ),
        );
    }
    nodes.iter().map(Node::to_string).collect()
}

fn node(value: &Value) -> Option<Node> {
    let node = match value {
        Value::String(node) => return Node::parse(node),
        Value::Object(node) => node,
        _ => return None,
    };
    let known = |(key, value): (&String, &Value)| match key.as_str() {
        "host" | "port" => true,
        "weight" => is_weight(value),
        _ => false,
    };
    let (host, port) = (node.get("host")?.as_str()?, node.get("port")?.as_u64()?);
    // With a separate port, an IPv6 address needs no brackets.
    let parsed = Node::parse(&format!("{host}:{port}")).or_else(|| Node::parse(&format!("[{host}]:{port}")));
    parsed.filter(|_| node.iter().all(known))
}

/// APISIX's load-balancing weight, which Kafka ignores.
fn is_weight(value: &Value) -> bool {
    value.is_u64()
}

fn sasl(reader: &mut Reader) -> Sasl {
    let username = text(reader, "username", "is missing");
    if username.trim() != username {
        reader.mistake("username", "must not have spaces around it");
    }
    let password = text(reader, "password", "is missing");
    let mechanism = reader.string("mechanism").unwrap_or_else(|| DEFAULT_MECHANISM.to_owned());
    if !MECHANISMS.contains(&mechanism.as_str()) {
        reader.mistake("mechanism", "must be \"PLAIN\", \"SCRAM-SHA-256\" or \"SCRAM-SHA-512\"");
    }
    Sasl { username, password, mechanism }
}

fn text(reader: &mut Reader, key: &'static str, expected: &str) -> String {
    let is_given = reader.has(key);
    let text = reader.string(key).unwrap_or_default();
    if !is_given {
        reader.mistake(key, expected);
    }
    if text.contains('\0') {
        reader.mistake(key, "must not contain a NUL character");
    }
    text
}

const DEFAULT: &str = "default";
const DEFAULT_MECHANISM: &str = "PLAIN";

//! Which cluster a route is for: one that the bridge's configuration names, or one that the route itself describes.

use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use prost::Message;
use serde_json::Value;
use sluicegate_protocol::cluster_definition::{Sasl, Tls};
use sluicegate_protocol::definition::{MAX_BYTES, MAX_NODES, MECHANISMS, Node};
use sluicegate_protocol::{ClusterDefinition, metadata};

use super::Secret;
use super::reader::Reader;

/// The cluster of a route.
#[derive(Debug, Clone)]
pub enum Cluster {
    /// By its name in the bridge's configuration.
    Named(Rc<str>),
    /// By a definition that the route carries, as it travels.
    Defined(Rc<Secret>),
}

impl Cluster {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let name = reader.string("cluster");
        if name.as_ref().is_some_and(|name| !is_name(name)) {
            reader.mistake(
                "cluster",
                "1 to 100 letters, digits, '.', '_' and '-' are expected, as in the bridge",
            );
        }
        let definition = reader.object("kafka", definition);
        if name.is_some() && definition.is_some() {
            reader.mistake("kafka", "either cluster or kafka is expected");
        }
        let Some(definition) = definition else {
            return Self::Named(name.as_deref().unwrap_or(DEFAULT).into());
        };
        if definition.encoded_len() > MAX_BYTES {
            reader.mistake("kafka", &format!("at most {MAX_BYTES} bytes are expected in all"));
        }
        Self::Defined(Rc::new(Secret(STANDARD_NO_PAD.encode(definition.encode_to_vec()))))
    }

    /// The header by which the bridge knows it.
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
                "1 to {MAX_NODES} brokers are expected, as {{\"host:port\": weight}}, [{{\"host\": …, \"port\": …}}] or \
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
    // Beside a port of its own, an IPv6 address needs no brackets.
    let parsed = Node::parse(&format!("{host}:{port}")).or_else(|| Node::parse(&format!("[{host}]:{port}")));
    parsed.filter(|_| node.iter().all(known))
}

/// What APISIX balances by. To Kafka it means nothing.
fn is_weight(value: &Value) -> bool {
    value.is_u64()
}

fn sasl(reader: &mut Reader) -> Sasl {
    let username = text(reader, "username", "the name of a user is expected");
    let password = text(reader, "password", "the user's password is expected");
    let mechanism = reader.string("mechanism").unwrap_or_else(|| DEFAULT_MECHANISM.to_owned());
    if !MECHANISMS.contains(&mechanism.as_str()) {
        reader.mistake("mechanism", "\"PLAIN\", \"SCRAM-SHA-256\" or \"SCRAM-SHA-512\" is expected");
    }
    Sasl { username, password, mechanism }
}

fn text(reader: &mut Reader, key: &str, expected: &str) -> String {
    let is_given = reader.has(key);
    let text = reader.string(key).unwrap_or_default();
    if !is_given {
        reader.mistake(key, expected);
    }
    if text.contains('\0') {
        reader.mistake(key, "text without a NUL character is expected");
    }
    text
}

/// The bridge allows no other names.
fn is_name(name: &str) -> bool {
    (1..=100).contains(&name.len()) && name.bytes().all(super::route::is_name_byte)
}

const DEFAULT: &str = "default";
const DEFAULT_MECHANISM: &str = "PLAIN";

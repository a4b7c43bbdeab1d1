//! Parses the header that carries a cluster's definition.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use prost::Message;
use sluicegate_protocol::cluster_definition::Sasl;
use sluicegate_protocol::definition::{MAX_BYTES, MAX_NODES, MECHANISMS, Node};
use sluicegate_protocol::{ClusterDefinition, metadata};

use crate::config::DefinedCluster;

/// A valid definition. Not printable: it holds a password.
pub(super) struct Definition {
    /// The whole definition, as sent.
    pub(super) bytes: Box<[u8]>,
    pub(super) nodes: Vec<Node>,
    /// Whether certificates are verified. None: no TLS.
    verify: Option<bool>,
    sasl: Option<Sasl>,
}

impl Definition {
    /// Parses a header's value.
    ///
    /// # Errors
    /// The definition is invalid. The text says what was expected and does not repeat the value.
    pub(super) fn parse(header: &[u8]) -> Result<Self, String> {
        if header.len() > MAX_BYTES.div_ceil(3).saturating_mul(4) {
            return Err(expected(&format!("at most {MAX_BYTES} bytes")));
        }
        Self::of_bytes(&BASE64.decode(header).map_err(|_| expected("base64"))?)
    }

    /// Parses the encoded message.
    pub(super) fn of_bytes(bytes: &[u8]) -> Result<Self, String> {
        let definition =
            ClusterDefinition::decode(bytes).map_err(|_| expected("a sluicegate.v1.ClusterDefinition"))?;
        // An unknown field can be one that was to secure the connections.
        if definition.encode_to_vec() != bytes {
            return Err(expected("a sluicegate.v1.ClusterDefinition of this version"));
        }
        let ClusterDefinition { nodes, tls, sasl } = definition;
        if !(1..=MAX_NODES).contains(&nodes.len()) {
            return Err(expected(&format!("1 to {MAX_NODES} nodes")));
        }
        let nodes: Option<Vec<Node>> = nodes.iter().map(|node| Node::parse(node)).collect();
        let nodes = nodes.ok_or_else(|| expected("nodes as host:port, with IPv6 addresses in brackets"))?;
        if let Some(Sasl { username, password, mechanism }) = &sasl {
            if !MECHANISMS.contains(&mechanism.as_str()) {
                return Err(expected(&format!("one of the mechanisms {}", MECHANISMS.join(", "))));
            }
            if [username, password].iter().any(|text| text.is_empty() || text.contains('\0')) {
                return Err(expected("a username and a password, not empty and without NUL characters"));
            }
            // It is trimmed where it is read from a configuration.
            if username.trim() != username {
                return Err(expected("a username without spaces around it"));
            }
        }
        Ok(Self { bytes: bytes.into(), nodes, verify: tls.map(|tls| tls.verify), sasl })
    }

    pub(super) fn properties(&self) -> DefinedCluster<'_> {
        let sasl = self.sasl.as_ref();
        let sasl = sasl.map(|sasl| (sasl.mechanism.as_str(), sasl.username.as_str(), sasl.password.as_str()));
        DefinedCluster { nodes: &self.nodes, verify: self.verify, sasl }
    }
}

/// Decodes a header, and makes the configuration of the cluster that it defines.
///
/// # Panics
/// If a valid definition has no nodes or too many, one that is another one as text, or properties that a cluster cannot have.
#[cfg(feature = "testing")]
pub(crate) fn check(header: &[u8], routes: &crate::config::RouteClusters) {
    let Ok(definition) = Definition::parse(header) else { return };
    assert!((1..=MAX_NODES).contains(&definition.nodes.len()));
    for node in &definition.nodes {
        assert_eq!(Node::parse(&node.to_string()).as_ref(), Some(node));
    }
    let errors = routes.cluster(&definition.properties()).err();
    assert!(errors.is_none(), "{errors:?}");
}

fn expected(what: &str) -> String {
    format!("invalid header {}: expected {what}", metadata::CLUSTER_DEFINITION)
}

/// Base64 in a gateway's header, with and without padding.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD_NO_PAD;
    use sluicegate_protocol::cluster_definition::Tls;

    use super::*;

    fn whole() -> ClusterDefinition {
        let sasl = Sasl { username: "reader".into(), password: "hidden".into(), mechanism: "PLAIN".into() };
        ClusterDefinition {
            nodes: vec!["kafka-1:9092".into(), "[::1]:9092".into()],
            tls: Some(Tls { verify: true }),
            sasl: Some(sasl),
        }
    }

    fn parse(definition: &ClusterDefinition) -> Result<Definition, String> {
        Definition::parse(BASE64.encode(definition.encode_to_vec()).as_bytes())
    }

    #[track_caller]
    fn refused(header: &[u8], want: &str) {
        let error =
            Definition::parse(header).err().unwrap_or_else(|| panic!("{} is valid", header.escape_ascii()));
        assert_eq!(error, format!("invalid header sluicegate-cluster-definition: expected {want}"));
    }

    #[test]
    fn definition_parses_with_and_without_padding() {
        // All three lengths of padding.
        for pad in ["", "x", "xx"] {
            let nodes = vec![format!("kafka{pad}:9092")];
            let definition = ClusterDefinition { nodes: nodes.clone(), ..whole() };
            let bytes = definition.encode_to_vec();
            for header in [BASE64.encode(&bytes), STANDARD_NO_PAD.encode(&bytes)] {
                let read = Definition::parse(header.as_bytes()).unwrap();
                assert_eq!(read.bytes[..], bytes[..]);
                assert_eq!(read.nodes.iter().map(Node::to_string).collect::<Vec<_>>(), nodes);
                let DefinedCluster { verify, sasl, .. } = read.properties();
                assert_eq!((verify, sasl), (Some(true), Some(("PLAIN", "reader", "hidden"))));
            }
        }
        let read = parse(&ClusterDefinition { tls: None, sasl: None, ..whole() }).unwrap();
        assert!(read.properties().verify.is_none() && read.properties().sasl.is_none());
    }

    #[test]
    fn invalid_headers_are_refused() {
        for header in [&b"*"[..], b"a", b"\xff\xfe", b"CgR=a2Fma2E", b"Cg Rr", b"CgRr,CgRr", b"CgRr-_"] {
            refused(header, "base64");
        }
        refused(b"/w", "a sluicegate.v1.ClusterDefinition");
        let whole = whole().encode_to_vec();
        // A field 4, a second `tls`, and one with a field 2.
        let message = "a sluicegate.v1.ClusterDefinition of this version";
        for more in [&b"\x22\x01x"[..], b"\x12\x00", b"\x12\x02\x10\x01"] {
            refused(STANDARD_NO_PAD.encode([&whole, more].concat()).as_bytes(), message);
        }
        for cut in 0..whole.len() {
            let cut = Definition::parse(STANDARD_NO_PAD.encode(&whole[..cut]).as_bytes());
            assert!(cut.is_err() || cut.is_ok_and(|cut| !cut.nodes.is_empty()));
        }
        refused(b"", "1 to 100 nodes");
        refused(&vec![b'A'; MAX_BYTES * 4 / 3 + 4], "at most 16384 bytes");
    }

    #[test]
    fn invalid_parts_are_refused_and_not_shown() {
        let check = |change: fn(&mut ClusterDefinition), want: &str| {
            let mut definition = whole();
            change(&mut definition);
            refused(BASE64.encode(definition.encode_to_vec()).as_bytes(), want);
        };
        check(|all| all.nodes.clear(), "1 to 100 nodes");
        check(|all| all.nodes = vec!["kafka:1".into(); MAX_NODES + 1], "1 to 100 nodes");
        let nodes = "nodes as host:port, with IPv6 addresses in brackets";
        check(|all| all.nodes.push("hidden@kafka:1".into()), nodes);
        check(|all| all.nodes.push("kafka:1,other:1".into()), nodes);
        let mechanisms = "one of the mechanisms PLAIN, SCRAM-SHA-256, SCRAM-SHA-512";
        check(|all| all.sasl.as_mut().unwrap().mechanism = "OAUTHBEARER".into(), mechanisms);
        check(|all| all.sasl.as_mut().unwrap().mechanism.clear(), mechanisms);
        let user = "a username and a password, not empty and without NUL characters";
        check(|all| all.sasl.as_mut().unwrap().username.clear(), user);
        check(|all| all.sasl.as_mut().unwrap().password.clear(), user);
        check(|all| all.sasl.as_mut().unwrap().password.push('\0'), user);
        check(|all| all.sasl.as_mut().unwrap().username.push(' '), "a username without spaces around it");
    }
}

//! The parts of a [`ClusterDefinition`] that gateway and bridge have to check alike: broker addresses and bounds.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[cfg(doc)]
use crate::ClusterDefinition;
use crate::cluster_definition::Sasl;

/// The most `nodes` of a definition.
pub const MAX_NODES: usize = 100;

/// The largest definition in bytes; base64 adds a third. The bridge's `limits.max_header_bytes` has room for it.
pub const MAX_BYTES: usize = 16 * 1024;

/// The SASL mechanisms of a definition.
pub const MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

/// One of a definition's `nodes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The broker's host.
    pub host: Host,
    /// Never 0.
    pub port: u16,
}

/// A broker's host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// In lower case, with the final dot if it was given. No resolver takes it for an address.
    Name(String),
    /// An IPv4 or IPv6 address.
    Ip(IpAddr),
}

impl Node {
    /// Parses `host:port`; None if it is anything else. All Kafka clients read an accepted text in the same way: it has
    /// no protocol, user or path, no second address and no port name.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        Some(Self { host: Host::parse(host)?, port: port_number(port)? })
    }
}

impl Host {
    /// Parses a name, an IPv4 address in dotted decimal, or an IPv6 address in brackets; None if it is anything else.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(address) = text.strip_prefix('[') {
            let address: Ipv6Addr = address.strip_suffix(']')?.parse().ok()?;
            return Some(Self::Ip(address.into()));
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Some(Self::Ip(address.into()));
        }
        is_name(text).then(|| Self::Name(text.to_ascii_lowercase()))
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// Parses a port of 1 to 65535 in decimal digits.
pub fn port_number(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port > 0)
}

/// RFC 1123, section 2.1, and `_`, which container names have.
fn is_name(text: &str) -> bool {
    let relative = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let last = relative.rsplit('.').next().unwrap_or_default();
    relative.len() <= 253 && relative.split('.').all(is_label) && !is_number(last)
}

/// Whether resolvers can take a label for the end of an IPv4 address: `127.1`, `2130706433` and `0x7f.1` are 127.0.0.1
/// to inet_aton(3).
fn is_number(label: &str) -> bool {
    let hex = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    label.bytes().all(|byte| byte.is_ascii_digit())
        || hex.is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Without the password.
impl fmt::Debug for Sasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sasl")
            .field("username", &self.username)
            .field("mechanism", &self.mechanism)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ClusterDefinition;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[track_caller]
    fn check(text: &str, want: &str) {
        let node = Node::parse(text).unwrap_or_else(|| panic!("{text} is refused"));
        assert_eq!(node.to_string(), want);
        assert_eq!(Node::parse(want), Some(node), "read again");
    }

    #[test]
    fn names_and_addresses_are_parsed() {
        check("kafka:9092", "kafka:9092");
        check("Kafka-1.Example.COM:1", "kafka-1.example.com:1");
        check("kafka_1.svc.:65535", "kafka_1.svc.:65535");
        check("xn--kfka-5qa.example:9092", "xn--kfka-5qa.example:9092");
        check("1.kafka:9092", "1.kafka:9092");
        check("0xkafka:9092", "0xkafka:9092");
        check("10.0.0.1:9092", "10.0.0.1:9092");
        check("[::1]:9092", "[::1]:9092");
        check("[0:0::0:1]:9092", "[::1]:9092");
        check("[::FFFF:127.0.0.1]:9092", "[::ffff:127.0.0.1]:9092");
        assert_eq!(Node::parse("127.0.0.1:1").unwrap().host, Host::Ip(Ipv4Addr::LOCALHOST.into()));
    }

    #[test]
    fn ambiguous_text_is_no_address() {
        let short = [
            "", ".", "a..b", ".a", "a..", " kafka", "ka fka", "kafka\n", "kafka\0", "kafka\t", "a:1,b",
            "a,b", "a;b", "a:1", "//kafka", "kafka/x", "kafka?x", "kafka#x", "*.kafka", "*", "kafka%2e",
            "kafka\\", "größe", "ｋafka", "127.1", "0x7F.1", "0", "0x", "kafka.1", "1", "[]", "[kafka]",
            "[[::1]]", "[::1]]", "[::1]x",
        ];
        let long = [
            "SSL://kafka",
            "user@kafka",
            "allowed.example:1@kafka",
            "user:secret@kafka",
            "kafka。example",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "127.0.0.01",
            "127.0.0.1.",
            "1.2.3.4.5",
            "kafka.0x1",
            "256.0.0.1",
            "[fe80::1%eth0]",
            "[fe80::1%2]",
            "[127.0.0.1]",
        ];
        let ports = ["", "0", "65536", "-1", "+1", " 1", "1 ", "9092x", "kafka", "1/x"];
        let whole =
            ["", ":", "kafka", "[::1]", "::1:9092", "[::1:9092", "::1]:9092"].map(str::to_owned).into_iter();
        let hosts = short.iter().chain(&long).map(|host| format!("{host}:1"));
        for text in whole.chain(hosts).chain(ports.map(|port| format!("kafka:{port}"))) {
            assert_eq!(Node::parse(&text), None, "{text:?}");
        }
        let label = "a".repeat(63);
        assert!(Node::parse(&format!("{label}:1")).is_some());
        assert_eq!(Node::parse(&format!("{label}a:1")), None);
        let longest = [label.as_str(); 4].join(".");
        assert!(Node::parse(&format!("{}:1", &longest[2..])).is_some());
        assert_eq!(Node::parse(&format!("{}:1", &longest[1..])), None);
    }

    #[test]
    fn debug_shows_no_password() {
        let sasl = Sasl { username: "reader".into(), password: "hidden".into(), mechanism: "PLAIN".into() };
        let definition =
            ClusterDefinition { nodes: vec!["kafka:1".into()], sasl: Some(sasl), ..Default::default() };
        let shown = format!("{definition:?} {definition:#?}");
        assert!(shown.contains("reader") && !shown.contains("hidden"), "{shown}");
    }
}

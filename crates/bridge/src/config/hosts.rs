//! `route_clusters.allowed_hosts`: the brokers that a route can name.

use std::fmt;

use sluicegate_protocol::definition::{Host, Node, port_number};

/// `host:port`. A host can begin with `*.`, and a port can be `*`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    host: Hosts,
    /// None: every port.
    port: Option<u16>,
}

#[derive(Clone, PartialEq, Eq)]
enum Hosts {
    One(Host),
    /// Names with at least one more label in front.
    Below(String),
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = if port == "*" { None } else { Some(port_number(port)?) };
        let host = match host.strip_prefix("*.") {
            None => Hosts::One(Host::parse(host)?),
            Some(host) => match Host::parse(host)? {
                Host::Name(name) => Hosts::Below(name),
                // An address has no labels.
                Host::Ip(_) => return None,
            },
        };
        Some(Self { host, port })
    }

    pub(super) fn allows(&self, node: &Node) -> bool {
        let host = match (&self.host, &node.host) {
            (Hosts::One(Host::Name(one)), Host::Name(name)) => relative(one) == relative(name),
            (Hosts::One(Host::Ip(one)), Host::Ip(address)) => one == address,
            (Hosts::Below(parent), Host::Name(name)) => {
                let front =
                    relative(name).strip_suffix(relative(parent)).and_then(|name| name.strip_suffix('.'));
                front.is_some_and(|labels| !labels.is_empty())
            }
            (Hosts::One(_) | Hosts::Below(_), _) => false,
        };
        host && self.port.is_none_or(|port| port == node.port)
    }
}

/// A name without the final dot, which marks it as absolute.
fn relative(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Hosts::One(host) => write!(f, "{host}:")?,
            Hosts::Below(parent) => write!(f, "*.{parent}:")?,
        }
        match self.port {
            Some(port) => write!(f, "{port}"),
            None => f.write_str("*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, allowed: &[&str], others: &[&str]) {
        let parsed = Pattern::parse(pattern).unwrap_or_else(|| panic!("{pattern} is refused"));
        assert_eq!(format!("{parsed:?}"), pattern.to_ascii_lowercase());
        let allows =
            |node: &&str| parsed.allows(&Node::parse(node).unwrap_or_else(|| panic!("{node} is no address")));
        assert!(allowed.iter().all(allows), "{pattern} {allowed:?}");
        let let_in: Vec<_> = others.iter().filter(|node| allows(node)).collect();
        assert!(let_in.is_empty(), "{pattern} allows {let_in:?}");
    }

    #[test]
    fn name_matches_in_any_case_and_with_a_final_dot() {
        let others = ["k1.example:9093", "k2.example:9092", "a.k1.example:9092", "k1.example.com:9092"];
        check("k1.example:9092", &["k1.example:9092", "K1.Example.:9092"], &others);
        check("K1.example.:9092", &["k1.example:9092", "k1.example.:9092"], &others);
        check("localhost:9092", &["localhost:9092"], &["127.0.0.1:9092", "[::1]:9092", "x.localhost:9092"]);
    }

    #[test]
    fn star_matches_one_label_or_more() {
        let others = "k.svc:9092 xk.svc:9092 a-k.svc:9092 a.k.svc:9093 a.k.svc.example:9092 svc:9092";
        let others: Vec<&str> = others.split(' ').collect();
        check("*.k.svc:9092", &["a.k.svc:9092", "a.b.K.SVC.:9092", "_-_.k.svc:9092"], &others);
        check("*.svc:*", &["a.svc:1", "a.svc.:65535"], &["svc:1", "a.svc.b:1", "10.0.0.1:1"]);
    }

    #[test]
    fn address_matches_only_itself() {
        check("10.0.0.1:*", &["10.0.0.1:1"], &["10.0.0.2:1", "[::ffff:10.0.0.1]:1"]);
        let others = ["127.0.0.1:9092", "[::]:9092", "[::ffff:127.0.0.1]:9092"];
        check("[::1]:9092", &["[::1]:9092", "[0:0:0:0:0:0:0:1]:9092"], &others);
    }

    #[test]
    fn other_text_is_no_pattern() {
        let patterns = "* *:* *:9092 kafka kafka: :9092 kafka:0 kafka:9092-9094 kafka:** k*:1 \
                        a.*.b:1 *a.b:1 **.a:1 *.*.a:1 *.:1 *..a:1 *.10.0.0.1:1 *.0.1:1 *.[::1]:1 \
                        ::1:9092 a,b:1 a:1,b:1 user@a:1 http://a:1 größe:1";
        for text in patterns.split(' ').chain(["", " a:1"]) {
            assert!(Pattern::parse(text).is_none(), "{text}");
        }
    }
}

//! Addresses of brokers, and the security protocols of their listeners.

use std::fmt;
use std::net::SocketAddr;

/// A broker's host name or IP address, and its port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// The address family of `broker.address.family`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AddressFamily {
    Any,
    V4,
    V6,
}

impl Address {
    /// As a broker tells it; `None` for one that it does not know.
    pub(crate) fn told(host: String, port: i32) -> Option<Self> {
        let port = u16::try_from(port).ok()?;
        Some(Self { host, port })
    }

    /// Parses `host`, `host:port` or `[v6]:port`, each with an optional `PROTOCOL://`, as librdkafka does.
    pub(crate) fn parse(text: &str, protocol: SecurityProtocol) -> Result<Self, String> {
        let rest = match text.split_once("://") {
            None => text,
            Some((name, rest)) if name.eq_ignore_ascii_case(protocol.name()) => rest,
            Some((name, _)) => {
                return Err(format!(
                    "expected `{0}://` or no scheme, because `security.protocol` is {0}, got `{name}://`",
                    protocol.name()
                ));
            }
        };
        let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, after)) => (host, Some(after.strip_prefix(':').unwrap_or_default())),
            None => match rest.rsplit_once(':') {
                Some((host, _)) if host.contains(':') => {
                    return Err(format!("expected an IPv6 address in brackets, got `{text}`"));
                }
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/') {
            return Err(format!("expected `host:port`, got `{text}`"));
        }
        let port = match port.map(str::parse::<u16>) {
            None => DEFAULT_PORT,
            Some(Ok(port)) if port > 0 => port,
            Some(_) => return Err(format!("expected a port from 1 to 65535 in `{text}`")),
        };
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl AddressFamily {
    pub(crate) fn allows(self, address: &SocketAddr) -> bool {
        match self {
            AddressFamily::Any => true,
            AddressFamily::V4 => address.is_ipv4(),
            AddressFamily::V6 => address.is_ipv6(),
        }
    }
}

/// Kafka's default port.
const DEFAULT_PORT: u16 = 9092;

/// The security protocol of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecurityProtocol {
    Plaintext,
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

impl SecurityProtocol {
    /// Reads librdkafka's name, in any case.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let all = [
            SecurityProtocol::Plaintext,
            SecurityProtocol::Ssl,
            SecurityProtocol::SaslPlaintext,
            SecurityProtocol::SaslSsl,
        ];
        all.into_iter().find(|protocol| protocol.name().eq_ignore_ascii_case(name))
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            SecurityProtocol::Plaintext => "plaintext",
            SecurityProtocol::Ssl => "ssl",
            SecurityProtocol::SaslPlaintext => "sasl_plaintext",
            SecurityProtocol::SaslSsl => "sasl_ssl",
        }
    }

    pub(crate) fn has_tls(self) -> bool {
        matches!(self, SecurityProtocol::Ssl | SecurityProtocol::SaslSsl)
    }

    pub(crate) fn has_sasl(self) -> bool {
        matches!(self, SecurityProtocol::SaslPlaintext | SecurityProtocol::SaslSsl)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Address, String> {
        Address::parse(text, SecurityProtocol::Plaintext)
    }

    #[test]
    fn addresses_are_parsed_as_in_librdkafka() {
        for (text, want) in [
            ("kafka", "kafka:9092"),
            ("kafka:1", "kafka:1"),
            ("10.0.0.1:19092", "10.0.0.1:19092"),
            ("[::1]:1", "[::1]:1"),
            ("[::1]", "[::1]:9092"),
            ("PLAINTEXT://kafka:1", "kafka:1"),
        ] {
            assert_eq!(parse(text).map(|address| address.to_string()).as_deref(), Ok(want));
        }
        let wrong = ["", ":1", "a:", "a:0", "a:65536", "a:-1", "::1", "::1:9092", "[]:1", "[::1]x", "a b:1"];
        for text in wrong.into_iter().chain(["SSL://a:1"]) {
            assert!(parse(text).is_err(), "`{text}`");
        }
    }

    #[test]
    fn scheme_matches_the_protocol_and_addresses_the_family() {
        let refusal = Address::parse("SSL://a:1", SecurityProtocol::SaslSsl);
        let want =
            "expected `sasl_ssl://` or no scheme, because `security.protocol` is sasl_ssl, got `SSL://`";
        assert_eq!(refusal, Err(want.to_owned()));
        assert!(Address::parse("SASL_SSL://a:1", SecurityProtocol::SaslSsl).is_ok());
        let v4 = SocketAddr::from(([127, 0, 0, 1], 1));
        let v6 = SocketAddr::from(([0u16; 8], 1));
        assert!(AddressFamily::Any.allows(&v4) && AddressFamily::Any.allows(&v6));
        assert!(AddressFamily::V4.allows(&v4) && !AddressFamily::V4.allows(&v6));
        assert!(!AddressFamily::V6.allows(&v4) && AddressFamily::V6.allows(&v6));
    }
}

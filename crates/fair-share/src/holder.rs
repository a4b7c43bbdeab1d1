//! Clients, as limits count them.

use std::net::{IpAddr, Ipv6Addr};

/// A client at a cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// The cluster that the client uses.
    pub cluster: ClusterId,
    /// The client.
    pub source: ClientKey,
}

/// A client where no cluster is known, or where all are the same.
impl From<ClientKey> for Holder {
    fn from(source: ClientKey) -> Self {
        Self { source, ..Self::default() }
    }
}

/// Distinguishes clusters. Limits that know none use one number for all.
pub type ClusterId = usize;

/// A level at which a holder counts: as one of its cluster's, of its site's, and as itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Account {
    Cluster(ClusterId),
    Site(ClusterId, ClientKey),
    Client(ClusterId, ClientKey),
}

impl Holder {
    /// Its accounts, the widest first.
    pub(crate) fn accounts(self) -> impl Iterator<Item = Account> {
        let Self { cluster, source } = self;
        let site = source.has_neighbours().then(|| Account::Site(cluster, source.site()));
        [Some(Account::Cluster(cluster)), site, Some(Account::Client(cluster, source))].into_iter().flatten()
    }

    /// The account of its site, or its own if it has none.
    pub(crate) fn site_account(self) -> Account {
        let Self { cluster, source } = self;
        match source.has_neighbours() {
            true => Account::Site(cluster, source.site()),
            false => Account::Client(cluster, source),
        }
    }
}

impl Account {
    pub(crate) fn is_cluster(self) -> bool {
        matches!(self, Self::Cluster(_))
    }
}

/// A client's address without the port. Of an IPv6 address, only the network prefix counts (RFC 4291, section 2.5.1:
/// "interface identifiers are [...] 64 bits long"). All clients of unknown address are one source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientKey(Option<IpAddr>);

impl ClientKey {
    /// A client of unknown address.
    pub const UNKNOWN: Self = Self(None);

    /// The source of an address as proxies write it: `192.0.2.1:4711`, `[2001:db8::1]:4711`, or either without a port.
    pub fn parse(text: &[u8]) -> Self {
        let Ok(text) = std::str::from_utf8(text) else { return Self::default() };
        let bracketed = text.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(host, _)| host);
        let host = bracketed.unwrap_or(text);
        let without_port = host.rsplit_once(':').map(|(host, _)| host);
        let address: Option<IpAddr> = host.parse().ok().or_else(|| without_port?.parse().ok());
        address.map(Self::from).unwrap_or_default()
    }

    /// The /48 network of an IPv6 source, which one customer can have: 65,536 sources (RFC 6177, section 2). Other
    /// sources are sites of their own.
    #[must_use]
    pub fn site(self) -> Self {
        match self.0 {
            Some(IpAddr::V6(address)) => {
                let [a, b, c, ..] = address.segments();
                Self(Some(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into()))
            }
            Some(IpAddr::V4(_)) | None => self,
        }
    }

    /// The address, for IPv6 of the network; None: unknown.
    pub fn address(self) -> Option<IpAddr> {
        self.0
    }

    /// Whether its site can have other sources.
    pub(crate) fn has_neighbours(self) -> bool {
        matches!(self.0, Some(IpAddr::V6(_)))
    }
}

impl From<IpAddr> for ClientKey {
    fn from(address: IpAddr) -> Self {
        Self(Some(match address.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
            address => address,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn clients_are_told_apart_by_host_or_network() {
        for (one, other, is_same) in [
            ("192.0.2.1:1", "192.0.2.1:65535", true),
            ("192.0.2.1:1", "192.0.2.1", true),
            ("192.0.2.1", "[::ffff:192.0.2.1]:1", true),
            ("[2001:db8::1]:1", "[2001:db8::1]:2", true),
            ("[2001:db8::1]:1", "2001:db8::1", true),
            ("[2001:db8::1]:1", "[2001:db8::ffff:1]:1", true),
            ("192.0.2.1:1", "192.0.2.2:1", false),
            ("[2001:db8::1]:1", "[2001:db8:0:1::1]:1", false),
        ] {
            let [one, other] = [one, other].map(|text| ClientKey::parse(text.as_bytes()));
            assert_eq!(one == other, is_same, "{one:?} {other:?}");
            assert_ne!(one, ClientKey::default(), "{one:?} {other:?}");
        }
    }

    #[test]
    fn networks_of_a_site_have_one_site() {
        for (one, other, is_same) in [
            ("2001:db8::1", "2001:db8:0:ffff::1", true),
            ("2001:db8::1", "2001:db8:1::1", false),
            ("192.0.2.1", "192.0.2.2", false),
        ] {
            let [one, other] = [one, other].map(|text| ClientKey::parse(text.as_bytes()).site());
            assert_eq!(one == other, is_same, "{one:?} {other:?}");
        }
    }

    #[test]
    fn other_text_is_the_unknown_source() {
        for text in [&b""[..], b"\xFF", b"/run/envoy.sock", b":", b"[", b"[]", b"[::1", b"localhost:80"] {
            assert_eq!(ClientKey::parse(text), ClientKey::default(), "{text:?}");
        }
    }
}

//! Clients, as limits count them.

use crate::client_key::ClientKey;

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

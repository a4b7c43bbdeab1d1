//! Places for connections, shared so that a newcomer always gets one.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use sluicegate_fair_share::ClientKey;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use crate::limit::Limit;

/// The places of all connections. Memory: one entry for each that is taken.
#[derive(Debug)]
pub(super) struct Places {
    permits: Limit,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    /// Each client's site. The oldest connection is first. Cancelled to close it.
    by_age: BTreeMap<u64, (ClientKey, CancellationToken)>,
}

/// A connection's place. A drop frees it.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
    /// Cancelled if the connection has to close for a newcomer.
    pub(super) close: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

impl Places {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { permits: Limit::new(max), taken: Mutex::default() })
    }

    /// A place for a connection of `source`. If all are taken, the site with most connections loses its oldest one.
    /// None only if the semaphore is closed, which never happens.
    ///
    /// # Cancel safety
    /// A drop can close a connection for nobody.
    pub(super) async fn take(self: &Arc<Self>, source: ClientKey) -> Option<Place> {
        let site = source.site();
        let permit = match self.permits.try_acquire() {
            Some(permit) => permit,
            None => {
                self.taken().close_for(site);
                self.permits.acquire().await?
            }
        };
        let close = CancellationToken::new();
        let number = self.taken().insert(site, close.clone());
        Some(Place { places: Arc::clone(self), number, close, _permit: permit })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock()
    }
}

impl Taken {
    fn insert(&mut self, site: ClientKey, close: CancellationToken) -> u64 {
        let number = self.next;
        self.next = number.saturating_add(1);
        self.by_age.insert(number, (site, close));
        number
    }

    fn close_for(&mut self, newcomer: ClientKey) {
        let mut held = BTreeMap::<ClientKey, usize>::new();
        for site in self.by_age.values().map(|(site, _)| *site).chain([newcomer]) {
            let count = held.entry(site).or_default();
            *count = count.saturating_add(1);
        }
        let most = held.values().max();
        let oldest = self.by_age.iter().find(|(_, (site, _))| held.get(site) == most);
        let Some(oldest) = oldest.map(|(number, _)| *number) else { return };
        if let Some((_, close)) = self.by_age.remove(&oldest) {
            close.cancel();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken().by_age.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a place for each of these clients. The oldest first: whose connections are closed.
    async fn closed(max: usize, clients: &[&str]) -> Vec<String> {
        let (places, mut held, mut closed) = (Places::new(max), Vec::<(&str, Place)>::new(), Vec::new());
        for client in clients {
            let newcomer = places.take(ClientKey::parse(client.as_bytes()));
            let leaves = async {
                tokio::task::yield_now().await;
                if let Some(at) = held.iter().position(|(_, place)| place.close.is_cancelled()) {
                    closed.push(held.remove(at).0.to_owned());
                }
            };
            let (place, ()) = tokio::join!(newcomer, leaves);
            held.push((client, place.unwrap()));
            assert!(held.len() <= max);
        }
        closed
    }

    #[tokio::test]
    async fn source_with_most_connections_loses_its_oldest() {
        let [a, b, c] = ["192.0.2.1", "192.0.2.2", "192.0.2.3"];
        assert!(closed(3, &[a, a, b]).await.is_empty());
        assert_eq!(closed(3, &[b, a, a, c]).await, [a]);
        assert_eq!(closed(3, &[b, a, a, a, a]).await, [a, a]);
        // Among equals, the oldest connection is closed.
        assert_eq!(closed(2, &[b, a, c, b]).await, [b, a]);
        // A source cannot push others out with a connection more.
        assert_eq!(closed(3, &[b, c, a, a, a]).await, [a, a]);
        // Neither can one with a whole network.
        let network = ["2001:db8::1", "2001:db8:0:1::1", "2001:db8:0:2::1"];
        assert_eq!(closed(3, &[&[b], &network[..]].concat()).await, network[..1]);
    }
}

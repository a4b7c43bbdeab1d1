//! Clients whose records a broker has rejected.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use sluicegate_fair_share::ClientKey;
use tokio::time::{Duration, Instant};

/// Clients with a rejected record in the last [`SUSPECT_FOR`], at most [`MAX_SUSPECTS`]: beyond that, the one whose
/// last rejection is oldest is forgotten. The networks of a site are one client, or they could push out all others.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    /// By site.
    rejected: Mutex<BTreeMap<ClientKey, Instant>>,
}

impl Suspects {
    /// Notes that a record of `source` was rejected.
    pub(super) fn add(&self, source: ClientKey) {
        let site = source.site();
        let mut rejected = self.rejected.lock();
        if rejected.len() >= MAX_SUSPECTS && !rejected.contains_key(&site) {
            let oldest = rejected.iter().min_by_key(|(_, at)| **at).map(|(site, _)| *site);
            oldest.and_then(|oldest| rejected.remove(&oldest));
        }
        rejected.insert(site, Instant::now());
    }

    /// Whether the site of `source` had a rejected record lately.
    pub(super) fn contains(&self, source: ClientKey) -> bool {
        let site = source.site();
        let mut rejected = self.rejected.lock();
        let is_suspect = rejected.get(&site).is_some_and(|at| at.elapsed() < SUSPECT_FOR);
        if !is_suspect {
            rejected.remove(&site);
        }
        is_suspect
    }
}

const SUSPECT_FOR: Duration = Duration::from_secs(10);
const MAX_SUSPECTS: usize = 1_000;

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn source(number: usize) -> ClientKey {
        let [.., a, b] = number.to_be_bytes();
        ClientKey::from(IpAddr::from([10, 0, a, b]))
    }

    #[tokio::test(start_paused = true)]
    async fn suspicion_ends_some_time_after_the_last_rejection() {
        let suspects = Suspects::default();
        assert!(!suspects.contains(source(0)));
        for _ in 0..2 {
            suspects.add(source(0));
            tokio::time::advance(SUSPECT_FOR / 2).await;
        }
        assert!(suspects.contains(source(0)) && !suspects.contains(source(1)));
        tokio::time::advance(SUSPECT_FOR / 2).await;
        assert!(!suspects.contains(source(0)));
        assert!(suspects.rejected.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn oldest_suspect_is_forgotten_first() {
        let suspects = Suspects::default();
        for number in 0..MAX_SUSPECTS {
            suspects.add(source(number));
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        suspects.add(source(0));
        suspects.add(source(MAX_SUSPECTS));
        let is_suspect = [0, 1, 2, MAX_SUSPECTS].map(|number| suspects.contains(source(number)));
        assert_eq!(is_suspect, [true, false, true, true]);
    }

    #[test]
    fn networks_of_one_site_make_one_suspect_be_forgotten() {
        let suspects = Suspects::default();
        (0..MAX_SUSPECTS).for_each(|number| suspects.add(source(number)));
        for network in 0..=u16::MAX {
            suspects.add(ClientKey::from(IpAddr::from([0x2001, 0xdb8, 0, network, 0, 0, 0, 1])));
        }
        let left = (0..MAX_SUSPECTS).filter(|number| suspects.contains(source(*number))).count();
        assert_eq!(left, MAX_SUSPECTS - 1);
    }
}

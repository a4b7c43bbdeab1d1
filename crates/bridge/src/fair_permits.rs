//! Permits that many clients share, handed out so that a newcomer always finds one.
//!
//! A cluster can hold at most three quarters of all permits, and a source at most three quarters of what its cluster
//! can hold. Both bounds shrink with what others hold: when permits run short, the largest holder is refused first. A
//! source without a permit is refused only if its cluster holds its share, or all permits are taken. (A. Choudhury and
//! E. Hahne, "Dynamic queue length thresholds for shared-memory packet switches", 1998.)

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sluicegate_ws_session::source::Source;

/// Permits and their holders. Memory: one entry per source that holds a permit.
#[derive(Debug)]
pub(crate) struct FairPermits {
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    /// All permits, free or not.
    max: usize,
    /// Permits in use: more than `max` if it has shrunk.
    used: usize,
    by_cluster: HashMap<ClusterId, HeldByCluster>,
}

#[derive(Debug, Default)]
struct HeldByCluster {
    /// The sum of `by_source`.
    total: usize,
    by_source: BTreeMap<Source, usize>,
}

/// Identifies a cluster by the address of its `Arc`, which outlives its permits.
pub(crate) type ClusterId = usize;

/// One permit. A drop frees it.
#[derive(Debug)]
pub(crate) struct FairPermit {
    permits: Arc<FairPermits>,
    cluster: ClusterId,
    source: Source,
}

impl FairPermits {
    pub(crate) fn new(total: usize) -> Arc<Self> {
        Arc::new(Self { held: Mutex::new(Held { max: total, used: 0, by_cluster: HashMap::new() }) })
    }

    /// A permit for `source` at `cluster`. None if either already holds its share, or no permit is free.
    pub(crate) fn try_acquire(self: &Arc<Self>, cluster: ClusterId, source: Source) -> Option<FairPermit> {
        let mut held = self.held();
        let free = held.max.saturating_sub(held.used);
        let of_cluster = held.by_cluster.get(&cluster);
        let by_source =
            of_cluster.and_then(|cluster| cluster.by_source.get(&source)).copied().unwrap_or_default();
        let by_cluster = of_cluster.map_or(0, |cluster| cluster.total);
        // The largest n that the cluster can take beyond the h it holds: before the last one, h + n < SHARE (free - n).
        let room = free.saturating_mul(SHARE).saturating_sub(by_cluster).div_ceil(SHARE.saturating_add(1));
        if free == 0 || by_source >= room.saturating_mul(SHARE) {
            return None;
        }
        held.used = held.used.saturating_add(1);
        let of_cluster = held.by_cluster.entry(cluster).or_default();
        of_cluster.total = of_cluster.total.saturating_add(1);
        let count = of_cluster.by_source.entry(source).or_default();
        *count = count.saturating_add(1);
        Some(FairPermit { permits: Arc::clone(self), cluster, source })
    }

    /// The number of all permits.
    pub(crate) fn total(&self) -> usize {
        self.held().max
    }

    /// Changes the number of all permits. Those in use above it stay valid, and are not given out again.
    pub(crate) fn set_total(&self, total: usize) {
        self.held().max = total;
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for FairPermit {
    fn drop(&mut self) {
        let mut held = self.permits.held();
        held.used = held.used.saturating_sub(1);
        let Some(of_cluster) = held.by_cluster.get_mut(&self.cluster) else { return };
        of_cluster.total = of_cluster.total.saturating_sub(1);
        if let Some(count) = of_cluster.by_source.get_mut(&self.source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                of_cluster.by_source.remove(&self.source);
            }
        }
        if of_cluster.by_source.is_empty() {
            held.by_cluster.remove(&self.cluster);
        }
    }
}

/// A holder can hold at most this many times the permits left to it: three quarters, if nobody else holds any.
pub(crate) const SHARE: usize = 3;

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;

    fn source(number: u8) -> Source {
        Source::from(IpAddr::from([10, 0, 0, number]))
    }

    /// All permits that `source` can get at `cluster`.
    fn take_all(permits: &Arc<FairPermits>, cluster: ClusterId, source: Source) -> Vec<FairPermit> {
        std::iter::from_fn(|| permits.try_acquire(cluster, source)).collect()
    }

    #[test]
    fn source_holds_at_most_three_quarters_of_its_cluster() {
        let permits = FairPermits::new(1000);
        assert_eq!(take_all(&permits, 1, source(1)).len(), 563);
    }

    #[test]
    fn sources_of_one_cluster_hold_at_most_three_quarters_of_all() {
        let permits = FairPermits::new(1000);
        let many: Vec<Vec<FairPermit>> = (0..=255).map(|n| take_all(&permits, 1, source(n))).collect();
        assert_eq!(many.iter().map(Vec::len).sum::<usize>(), 750);
        assert!(
            permits.try_acquire(2, source(0)).is_some(),
            "another cluster has room, for the same source too"
        );
    }

    #[test]
    fn newcomer_finds_a_permit_beside_a_greedy_source() {
        let permits = FairPermits::new(1000);
        let _attacker = take_all(&permits, 1, source(1));
        let bystander = take_all(&permits, 1, source(2));
        assert!(bystander.len() > 100, "{}", bystander.len());
    }

    #[test]
    fn single_permit_is_taken_and_freed() {
        let permits = FairPermits::new(1);
        let permit = permits.try_acquire(1, source(1)).unwrap();
        assert!(permits.try_acquire(1, source(1)).is_none());
        assert!(permits.try_acquire(2, source(2)).is_none());
        drop(permit);
        assert!(permits.try_acquire(1, source(1)).is_some());
    }

    #[test]
    fn number_of_permits_changes_while_some_are_in_use() {
        let permits = FairPermits::new(100);
        let mut held = take_all(&permits, 1, source(1));
        permits.set_total(10);
        held.truncate(10);
        assert!(permits.try_acquire(2, source(2)).is_none());
        held.clear();
        assert_eq!(take_all(&permits, 1, source(1)).len(), 6);
        permits.set_total(1000);
        assert!(permits.try_acquire(2, source(2)).is_some());
    }

    proptest! {
        #[test]
        fn permits_are_conserved(total in 1_usize..50, asks in prop::collection::vec((0_usize..3, 0_u8..4, any::<bool>()), 0..200)) {
            let permits = FairPermits::new(total);
            let mut taken = Vec::new();
            for (cluster, name, is_freed) in asks {
                if is_freed && !taken.is_empty() {
                    taken.swap_remove(usize::from(name) % taken.len());
                }
                taken.extend(permits.try_acquire(cluster, source(name)));
                let held = permits.held();
                for cluster in held.by_cluster.values() {
                    prop_assert_eq!(cluster.total, cluster.by_source.values().sum::<usize>());
                }
                let counted: usize = held.by_cluster.values().map(|cluster| cluster.total).sum();
                prop_assert_eq!((held.used, counted), (taken.len(), taken.len()));
            }
            drop(taken);
            prop_assert!(permits.held().by_cluster.is_empty());
        }
    }
}

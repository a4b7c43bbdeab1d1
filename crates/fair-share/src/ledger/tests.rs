//! Refusals when a limit runs short.

use std::net::IpAddr;

use super::*;
use crate::ClientKey;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

pub(crate) fn holder(cluster: usize, number: u8) -> Holder {
    Holder { cluster, source: ClientKey::from(IpAddr::from([10, 0, 0, number])) }
}

/// The client in this /64 of this /48.
pub(crate) fn in_site(site: u16, network: u16) -> Holder {
    let source = ClientKey::from(IpAddr::from([0x2001, 0xdb8, site, network, 0, 0, 0, 1]));
    Holder { cluster: 0, source }
}

/// Counts the times that `holder` can take `amount`.
fn take_all(ledger: &mut Ledger, holder: Holder, amount: usize) -> usize {
    std::iter::from_fn(|| ledger.take(holder, amount).then_some(())).count()
}

#[test]
fn greedy_holders_leave_room_for_newcomers() {
    let of_site = |networks| (0..networks).map(|network| in_site(1, network)).collect::<Vec<_>>();
    // A source: three quarters of three quarters. A cluster's 100 sources, or a site's networks: three quarters.
    for (mut ledger, attackers, share, newcomer) in [
        (Ledger::new(1000), vec![holder(0, 1)], 563, holder(1, 1)),
        (Ledger::new(1000), (0..100).map(|number| holder(0, number)).collect(), 750, holder(1, 1)),
        (Ledger::new(1000), of_site(1), 500, holder(1, 1)),
        (Ledger::new(1000), of_site(100), 563, holder(1, 1)),
        (Ledger::of_one_cluster(1000), of_site(1), 563, in_site(2, 0)),
        (Ledger::of_one_cluster(1000), of_site(500), 750, in_site(2, 0)),
        (Ledger::of_one_cluster(1000), of_site(500), 750, holder(0, 1)),
    ] {
        let taken: usize = attackers.iter().map(|attacker| take_all(&mut ledger, *attacker, 1)).sum();
        assert_eq!(taken, share, "{:?}", attackers[0]);
        assert!(take_all(&mut ledger, newcomer, 1) > 100);
    }
}

#[test]
fn one_clusters_sources_can_hold_everything() {
    let mut ledger = Ledger::of_one_cluster(1000);
    assert_eq!(take_all(&mut ledger, holder(0, 0), 1), 750);
    (1..100).for_each(|number| assert!(ledger.take(holder(0, number), 1)));
    for number in 100..=255 {
        take_all(&mut ledger, holder(0, number), 1);
    }
    assert_eq!(ledger.used(), 1000);
}

#[test]
fn newcomer_can_take_all_that_is_left() {
    let mut ledger = Ledger::new(1000);
    assert!(!ledger.has_room(holder(0, 1), 1001));
    assert!(ledger.take(holder(0, 1), 1000));
    assert!(!ledger.has_room(holder(1, 2), 1));
    let mut single = Ledger::new(1);
    for holder in [holder(0, 1), holder(1, 2)] {
        assert!(single.take(holder, 1));
        assert!(!single.has_room(holder, 1));
        single.give_back(holder, 1);
    }
}

#[test]
fn limit_changes_while_it_is_in_use() {
    let mut ledger = Ledger::new(100);
    let taken = take_all(&mut ledger, holder(0, 1), 1);
    ledger.set_max(10);
    assert!(!ledger.has_room(holder(1, 2), 1));
    ledger.give_back(holder(0, 1), taken);
    assert_eq!(take_all(&mut ledger, holder(0, 1), 1), 6);
    ledger.set_max(1000);
    assert!(ledger.has_room(holder(0, 1), 1));
    ledger.clear();
    assert!(ledger.is_empty() && ledger.used() == 0);
}

#[test]
fn largest_counts_what_grows_and_lets_others_win_ties() {
    let mut ledger = Ledger::new(100);
    assert_eq!(ledger.largest(holder(0, 1), 1), holder(0, 1));
    for (number, amount) in [(1, 5), (2, 9), (3, 4)] {
        ledger.add(holder(0, number), amount);
    }
    for (grows, more, largest) in [(1, 3, 2), (1, 4, 2), (1, 5, 1), (2, 0, 2), (4, 50, 2)] {
        assert_eq!(ledger.largest(holder(0, grows), more), holder(0, largest), "{grows} by {more}");
    }
}

#[test]
fn largest_site_loses_before_a_larger_source() {
    let mut ledger = Ledger::of_one_cluster(100);
    ledger.add(holder(0, 1), 9);
    (0..5).for_each(|network| ledger.add(in_site(1, network), if network == 3 { 4 } else { 3 }));
    assert_eq!(ledger.largest(holder(0, 1), 1), in_site(1, 3));
    assert_eq!(ledger.largest(holder(0, 1), 8), holder(0, 1));
    assert_eq!((ledger.held(in_site(1, 0)), ledger.held(holder(0, 1))), (16, 9));
}

#[cfg(not(target_family = "wasm"))]
mod property {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn any_holder() -> impl Strategy<Value = Holder> {
        prop_oneof![
            (0_usize..3, 0_u8..4).prop_map(|(cluster, number)| holder(cluster, number)),
            (0_u16..3, 0_u16..3).prop_map(|(site, network)| in_site(site, network)),
        ]
    }

    proptest! {
        #[test]
        fn sums_never_drift_and_holders_that_leave_are_forgotten(
            max in 1_usize..500,
            steps in prop::collection::vec((any_holder(), 1_usize..30, any::<bool>()), 0..300),
        ) {
            let mut ledger = Ledger::new(max);
            let mut taken: Vec<(Holder, usize)> = Vec::new();
            for (holder, amount, is_given_back) in steps {
                if is_given_back && !taken.is_empty() {
                    let (holder, amount) = taken.swap_remove(amount % taken.len());
                    ledger.give_back(holder, amount);
                }
                if ledger.take(holder, amount) {
                    taken.push((holder, amount));
                }
                let mut expected = BTreeMap::new();
                for (holder, amount) in &taken {
                    holder.accounts().for_each(|account| *expected.entry(account).or_insert(0) += amount);
                }
                prop_assert_eq!(&ledger.held, &expected);
                prop_assert_eq!(ledger.used(), taken.iter().map(|(_, amount)| amount).sum::<usize>());
                prop_assert!(ledger.used() <= max);
            }
            taken.into_iter().for_each(|(holder, amount)| ledger.give_back(holder, amount));
            prop_assert!(ledger.is_empty());
        }

        /// One cluster never takes the room of another: if there can be four units, a client of the other finds room
        /// for one.
        #[test]
        fn newcomers_find_room(
            max in 4_usize..300,
            asks in prop::collection::vec((0_u8..9, 1_usize..4), 0..400),
        ) {
            let mut ledger = Ledger::new(max);
            for (number, amount) in asks {
                // An amount that is larger than what is left to newcomers is theirs to take.
                let _ = ledger.take(holder(0, number), amount.min(1));
            }
            prop_assert!(ledger.has_room(holder(1, 0), 1));
        }
    }
}

#[test]
fn as_much_as_fits_is_what_can_be_taken_one_by_one() {
    let holders = [holder(0, 1), holder(0, 2), holder(1, 3), in_site(1, 1), in_site(1, 2)];
    for (max, amount) in [(0, 5), (1, 5), (7, 3), (100, 40), (1_000, 1_000), (1_000, 333)] {
        let (mut together, mut single) = (Ledger::new(max), Ledger::new(max));
        for holder in holders.iter().cycle().take(20) {
            let taken = (0..amount).take_while(|_| single.take(*holder, 1)).count();
            assert_eq!(together.take_up_to(*holder, amount), taken, "{amount} of {max}");
        }
        assert_eq!(together.used(), single.used());
    }
}

/// One client's permits leave room for another's, and a drop returns them.
#[test]
fn permits_are_given_back_by_a_drop() {
    let permits = Permits::new(Ledger::of_one_cluster(4));
    let [first, second] = [1, 2].map(|number| Holder::from(holder(0, number).source));
    let held = permits.acquire_up_to(first, 9).unwrap();
    assert_eq!((held.amount(), permits.used(), permits.max()), (3, 3, 4));
    assert!(permits.try_acquire(first, 1).is_none());
    let other = permits.try_acquire(second, 1).unwrap();
    drop(held);
    assert_eq!(permits.used(), 1);
    drop(other);
    assert_eq!(permits.used(), 0);
}

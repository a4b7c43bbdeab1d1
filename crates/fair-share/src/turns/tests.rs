//! The order of turns.

use std::net::IpAddr;

use super::*;
use crate::ClientKey;
use crate::ledger::tests::{holder, in_site};
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// The contents in the order of their turns.
fn order<T>(turns: &mut Turns<T>) -> Vec<T> {
    std::iter::from_fn(|| turns.pop()).map(|(_, content)| content).collect()
}

#[test]
fn sources_take_turns_and_keep_their_own_order() {
    let mut turns = Turns::default();
    for (number, content) in [(1, "a1"), (1, "a2"), (1, "a3"), (2, "b1"), (3, "c1"), (3, "c2")] {
        turns.push(holder(0, number), 1, content);
    }
    assert_eq!(order(&mut turns), ["a1", "b1", "c1", "a2", "c2", "a3"]);
    assert!(turns.is_empty() && turns.root.is_empty());
}

#[test]
fn cluster_or_site_of_many_sources_gets_every_other_turn() {
    for (many, other) in [
        ([0, 1, 2, 3].map(|number| holder(0, number)), holder(1, 100)),
        ([0, 1, 2, 3].map(|network| in_site(1, network)), holder(0, 1)),
    ] {
        let mut turns = Turns::default();
        for (holder, content) in many.into_iter().zip(0..).chain([(other, 100), (other, 101)]) {
            turns.push(holder, 1, content);
        }
        assert_eq!(order(&mut turns), [0, 100, 1, 101, 2, 3]);
    }
}

#[test]
fn large_entries_cost_more_turns() {
    let mut turns = Turns::default();
    for content in ["large 1", "large 2"] {
        turns.push(holder(0, 1), 3, content);
    }
    for content in ["1", "2", "3", "4"] {
        turns.push(holder(0, 2), 1, content);
    }
    assert_eq!(order(&mut turns), ["large 1", "1", "2", "3", "large 2", "4"]);
}

#[test]
fn entries_that_stop_waiting_are_gone() {
    let mut turns = Turns::default();
    let tickets: Vec<Ticket> = (0..3).map(|content| turns.push(holder(0, 1), 1, content)).collect();
    let other = turns.push(holder(1, 2), 1, 3);
    assert_eq!(turns.cancel(holder(0, 1), tickets[1]), Some(1));
    assert_eq!(turns.cancel(holder(0, 1), tickets[1]), None);
    assert_eq!(turns.cancel(holder(1, 2), other), Some(3));
    assert_eq!(turns.len(), 2);
    assert_eq!(order(&mut turns), [0, 2]);
    assert_eq!(turns.cancel(holder(0, 1), tickets[0]), None);
}

#[test]
fn coming_again_and_again_gains_nothing() {
    let mut turns = Turns::default();
    turns.push(holder(0, 1), 1, "a1");
    for content in ["b1", "b2", "b3"] {
        turns.push(holder(0, 2), 1, content);
    }
    let mut order = Vec::new();
    for again in ["a2", "a3", "a4", "a5"] {
        let (_, content) = turns.pop().unwrap();
        order.push(content);
        // It has one entry at a time.
        if content.starts_with('a') {
            turns.push(holder(0, 1), 1, again);
        }
    }
    assert_eq!(order, ["a1", "b1", "b2", "a2"]);
}

#[test]
fn staying_away_gains_nothing() {
    let mut turns = Turns::default();
    for _ in 0..10 {
        turns.push(holder(0, 1), 1, 'a');
    }
    turns.push(holder(0, 2), 1, 'b');
    for _ in 0..9 {
        turns.pop();
    }
    for _ in 0..3 {
        turns.push(holder(0, 2), 1, 'b');
    }
    assert_eq!(order(&mut turns), ['b', 'a', 'b', 'a', 'b']);
}

#[test]
fn those_that_left_are_forgotten() {
    let mut turns = Turns::default();
    turns.push(holder(0, 0), 1, 0);
    turns.push(holder(0, 0), 1, 0);
    for number in 0..=u16::MAX {
        let [high, low] = number.to_be_bytes();
        let source = ClientKey::from(IpAddr::from([10, 0, high, low]));
        turns.push(Holder { cluster: 1, source }, 1, 1);
        turns.push(Holder { cluster: 1, source: holder(0, 200).source }, 1, 1);
        turns.pop();
    }
    fn largest<T>(node: &Node<T>) -> usize {
        let below = node.accounts.values().map(|(_, node)| largest(node)).max();
        assert_eq!(node.left.len(), node.left_order.len());
        below.unwrap_or_default().max(node.left.len())
    }
    assert!(largest(&turns.root) <= MAX_LEFT);
    order(&mut turns);
    assert_eq!(largest(&turns.root), 0);
}

#[cfg(not(target_family = "wasm"))]
mod property {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Between two turns of a holder, everybody else who waits has one, if all entries cost the same; and each
        /// entry has exactly one turn, unless it stopped waiting.
        #[test]
        fn no_newcomer_waits_behind_a_holder(
            steps in prop::collection::vec((0_usize..2, 0_u8..5, 0_u8..4), 0..300),
        ) {
            let mut turns = Turns::default();
            let mut waiting: Vec<(Holder, Ticket, usize)> = Vec::new();
            // The holders that had a turn while this entry was first in line of its own, by entry.
            let mut passed: std::collections::BTreeMap<usize, Vec<Holder>> = std::collections::BTreeMap::new();
            for (number, (cluster, source, action)) in steps.into_iter().enumerate() {
                let holder = holder(cluster, source);
                match action {
                    0 | 1 => {
                        let ticket = turns.push(holder, 1, number);
                        waiting.push((holder, ticket, number));
                    }
                    2 if !waiting.is_empty() => {
                        let (holder, ticket, number) = waiting.remove(number % waiting.len());
                        prop_assert_eq!(turns.cancel(holder, ticket), Some(number));
                        passed.remove(&number);
                    }
                    _ => {
                        let popped = turns.pop();
                        prop_assert_eq!(popped.is_none(), waiting.is_empty());
                        let Some((holder, number)) = popped else { continue };
                        let first = waiting.iter().position(|(other, ..)| *other == holder);
                        let first = waiting.remove(first.unwrap());
                        prop_assert_eq!(first.2, number, "own order");
                        passed.remove(&number);
                        for (other, _, entry) in &waiting {
                            let is_first = waiting.iter().find(|(same, ..)| same == other).unwrap().2 == *entry;
                            // Turns of other clusters' sources come between those of this one's.
                            if *other != holder && other.cluster == holder.cluster && is_first {
                                passed.entry(*entry).or_default().push(holder);
                            }
                        }
                    }
                }
                prop_assert_eq!(turns.len(), waiting.len());
                for holders in passed.values() {
                    let mut distinct = holders.clone();
                    distinct.sort_unstable();
                    distinct.dedup();
                    // One turn that was due before it came, and one at the same virtual time.
                    for holder in distinct {
                        let turns = holders.iter().filter(|other| **other == holder).count();
                        prop_assert!(turns <= 2, "{} turns of {:?} before one of another", turns, holder);
                    }
                }
            }
            order(&mut turns);
            prop_assert!(turns.root.is_empty());
        }
    }
}

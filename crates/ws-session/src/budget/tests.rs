//! Choice of the source that loses when a budget is full.

use super::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// A source's share is 10 bytes.
const MAX: usize = 80;

fn source(n: u8) -> ClientKey {
    ClientKey::from(std::net::IpAddr::from([127, 0, 0, n]))
}

fn holding(budget: &Arc<Budget>, n: u8, bytes: usize) -> Buffer {
    let mut buffer = Buffer::new(budget, source(n));
    assert_eq!(buffer.append(&vec![n; bytes], MAX), Ok(()));
    buffer
}

fn evicted(buffers: &[Buffer]) -> Vec<usize> {
    buffers.iter().enumerate().filter(|(_, buffer)| buffer.is_evicted()).map(|(at, _)| at).collect()
}

#[test]
fn source_over_its_share_loses_its_oldest() {
    let budget = Budget::new(MAX, 10);
    let other = holding(&budget, 2, 10);
    let mut own: Vec<_> = (0..5).map(|_| holding(&budget, 1, 2)).collect();
    own.push(holding(&budget, 1, 3));
    assert_eq!(evicted(&own), [0, 1]);
    own.push(holding(&budget, 1, 10));
    assert_eq!(evicted(&own), [0, 1, 2, 3, 4, 5]);
    assert!(!other.is_evicted());
    assert_eq!(budget.used(), 20);
}

#[test]
fn networks_of_a_site_share_what_a_source_could_have() {
    let budget = Budget::new(800, 100);
    let other = holding(&budget, 1, 60);
    let in_site = |network| ClientKey::from(std::net::IpAddr::from([0x2001, 0xdb8, 1, network, 0, 0, 0, 1]));
    let hold = |network: u16| {
        let mut buffer = Buffer::new(&budget, in_site(network));
        let held = buffer.append(&[0; 1], MAX);
        assert_eq!(held.is_ok(), network < 100, "{network}");
        buffer
    };
    let _all: Vec<_> = (0..1_000).map(hold).collect();
    assert_eq!(budget.used(), 160);
    let mut newcomer = holding(&budget, 2, 90);
    assert_eq!(newcomer.append(&[0; 10], 100), Ok(()));
    assert!(!other.is_evicted());
}

#[test]
fn growing_message_that_is_its_sources_oldest_loses() {
    let budget = Budget::new(MAX, 10);
    let mut oldest = holding(&budget, 1, 5);
    let newer = holding(&budget, 1, 5);
    assert_eq!(oldest.append(b"x", 6), Err(BufferError::Evicted));
    assert_eq!(oldest.append(b"x", 6), Err(BufferError::Evicted));
    assert!(oldest.is_evicted() && !newer.is_evicted());
    assert_eq!((oldest.take(), budget.used()), (Err(BufferError::Evicted), 5));
}

#[test]
fn newcomer_takes_from_the_source_that_holds_most() {
    let budget = Budget::new(MAX, 10);
    // Eight sources fill the budget; the fifth holds the most in one message.
    let mut all: Vec<_> = (1..=8).map(|n| holding(&budget, n, if n == 5 { 10 } else { 9 })).collect();
    all.push(holding(&budget, 9, 7));
    assert_eq!((evicted(&all), budget.used()), (vec![], 80));
    all.push(holding(&budget, 10, 2));
    assert_eq!((evicted(&all), budget.used()), (vec![4], 72));
    // It grows to as much as others hold: they lose.
    assert_eq!(all[9].append(&[10; 7], 9), Ok(()));
    assert_eq!(all[9].append(&[10; 1], 10), Ok(()));
    assert_eq!(evicted(&all).len(), 1);
    all.push(holding(&budget, 11, 1));
    assert!(!all[10].is_evicted());
    assert_eq!(evicted(&all), [4, 9]);
}

#[test]
fn source_that_would_hold_most_loses_to_those_with_less() {
    let budget = Budget::new(MAX, 10);
    let mut all: Vec<_> = (1..=10).map(|n| holding(&budget, n, 8)).collect();
    assert_eq!(all[3].append(b"x", 9), Err(BufferError::Evicted));
    assert_eq!((evicted(&all), budget.used()), (vec![3], 72));
}

#[test]
fn share_is_at_least_one_message() {
    let budget = Budget::new(MAX, 30);
    let whole = holding(&budget, 1, 30);
    assert_eq!(Buffer::new(&budget, source(2)).append(&[0; 31], 31), Err(BufferError::Evicted));
    assert!(!whole.is_evicted());
    let _second = holding(&budget, 1, 1);
    assert!(whole.is_evicted());
    assert_eq!(lock(&Budget::new(10, 30).ledger).share, 10);
}

#[test]
fn evicted_memory_is_freed_at_once() {
    let budget = Budget::new(MAX, 10);
    let old = holding(&budget, 1, 10);
    let data = Arc::clone(&old.held.as_ref().unwrap().data);
    let _new = holding(&budget, 1, 10);
    assert_eq!(*lock(&data), None);
}

#[test]
fn taken_and_dropped_buffers_are_freed() {
    let budget = Budget::new(MAX, 10);
    let mut taken = holding(&budget, 1, 4);
    let dropped = holding(&budget, 2, 4);
    assert_eq!(budget.used(), 8);
    assert_eq!(taken.take(), Ok(vec![1; 4]));
    assert!(taken.is_empty());
    drop(dropped);
    assert_eq!(budget.used(), 0);
    assert!(lock(&budget.ledger).messages.is_empty());
    assert_eq!(taken.take(), Ok(vec![]));
}

#[test]
fn capacity_is_counted_and_never_exceeds_the_maximum() {
    let budget = Budget::new(8000, 1000);
    let mut buffer = holding(&budget, 1, 600);
    assert_eq!((buffer.append(&[0; 1], 1000), budget.used()), (Ok(()), 1000));
    assert_eq!((buffer.append(&[0; 399], 1000), budget.used()), (Ok(()), 1000));
    assert_eq!(buffer.take().map(|data| (data.len(), data.capacity())), Ok((1000, 1000)));
}

/// The ledger's sums are right, and its bounds hold, whatever happens.
#[cfg(not(target_family = "wasm"))]
mod property {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bounds_hold(steps in prop::collection::vec((0..24_usize, 0..12_usize, any::<bool>()), 0..200)) {
            let budget = Budget::new(MAX, 10);
            let buffer = |at: usize| Buffer::new(&budget, source(u8::try_from(at / 2).unwrap()));
            let mut all: Vec<_> = (0..24).map(buffer).collect();
            for (at, bytes, take) in steps {
                let done = if take { all[at].take().map(drop) } else { all[at].append(&vec![0; bytes], 10) };
                if done.is_err() {
                    all[at] = buffer(at);
                }
                let ledger = lock(&budget.ledger);
                let mut held = std::collections::BTreeMap::<ClientKey, usize>::new();
                for ((source, _), entry) in &ledger.messages {
                    assert!(lock(&entry.data).as_ref().unwrap().capacity() <= entry.bytes);
                    *held.entry(*source).or_default() += entry.bytes;
                }
                for (source, bytes) in &held {
                    assert!(*bytes <= MAX / SHARES);
                    assert_eq!(ledger.held.held((*source).into()), *bytes);
                }
                let used = held.values().sum::<usize>();
                assert_eq!(ledger.held.used(), used);
                assert!(used <= MAX);
            }
        }
    }
}

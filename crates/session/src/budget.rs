//! A bound on the memory that all unfinished messages and bodies of one proxy worker hold together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many bytes those who share it may hold in unfinished messages.
#[derive(Debug)]
pub struct Budget {
    max: usize,
    used: AtomicUsize,
}

impl Budget {
    /// A budget of `max` bytes.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, used: AtomicUsize::new(0) })
    }

    /// Bytes in use, at most the budget's size.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// One holder's part of a [`Budget`]; given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Reservation {
    /// A part of nothing, so far.
    pub fn new(budget: &Arc<Budget>) -> Self {
        Self { budget: Arc::clone(budget), bytes: 0 }
    }

    /// Appends to `data`, which is at most `max` bytes long and whose capacity is what this part holds; memory is reserved
    /// before it is allocated. Whether there was enough; nothing is appended if not.
    pub fn extend(&mut self, data: &mut Vec<u8>, bytes: &[u8], max: usize) -> bool {
        let need = data.len().saturating_add(bytes.len());
        if need > data.capacity() {
            let room = data.capacity().saturating_mul(2).clamp(need, need.max(max));
            let more = room.saturating_sub(data.len());
            if !self.grow_to(room) || data.try_reserve_exact(more).is_err() {
                return false;
            }
        }
        data.extend_from_slice(bytes);
        true
    }

    /// Whether this part could be made at least `bytes` large; it stays as it is if not.
    pub fn grow_to(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let grown = self.budget.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(more).filter(|used| *used <= self.budget.max)
        });
        if grown.is_ok() {
            self.bytes = self.bytes.max(bytes);
        }
        grown.is_ok()
    }

    /// Gives everything back.
    pub fn release(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = 0;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn what_one_session_holds_another_cannot_have() {
        let budget = Budget::new(100);
        let (mut a, mut b) = (Reservation::new(&budget), Reservation::new(&budget));
        assert!(a.grow_to(60));
        assert!(!b.grow_to(41));
        assert!(b.grow_to(40));
        assert_eq!(budget.used(), 100);
        drop(a);
        assert_eq!(budget.used(), 40);
        assert!(b.grow_to(100));
    }

    #[test]
    fn a_part_never_shrinks_by_growing() {
        let budget = Budget::new(100);
        let mut part = Reservation::new(&budget);
        assert!(part.grow_to(50) && part.grow_to(10));
        assert_eq!(budget.used(), 50);
        part.release();
        assert_eq!(budget.used(), 0);
    }
}

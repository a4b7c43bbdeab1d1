//! Counts a producer's records in flight, and tells which of them had a batch to themselves.

use std::sync::atomic::{AtomicU64, Ordering};

/// Records in flight (the low half), and records ever queued (the high half, which wraps). One atomic holds both: a
/// record that found the queue empty must also be the next one counted.
#[derive(Debug, Default)]
pub(super) struct InFlight(AtomicU64);

/// One record in flight.
#[derive(Debug)]
pub(super) struct Ticket {
    /// The record's number, if no other was in flight when it was queued.
    first: Option<u64>,
}

impl InFlight {
    /// Counts a record that is about to be queued.
    pub(super) fn enter(&self) -> Ticket {
        let before = self.0.fetch_add(QUEUED_AND_IN_FLIGHT, Ordering::Relaxed);
        let was_empty = before.wrapping_shl(HALF) == 0;
        Ticket { first: was_empty.then_some(before.wrapping_add(QUEUED_AND_IN_FLIGHT) >> HALF) }
    }

    /// Uncounts a record that could not be queued.
    pub(super) fn revoke(&self) {
        self.0.fetch_sub(QUEUED_AND_IN_FLIGHT, Ordering::Relaxed);
    }

    /// Ends a record's flight. Returns whether it was alone the whole time.
    pub(super) fn leave(&self, ticket: &Ticket) -> bool {
        let before = self.0.fetch_sub(IN_FLIGHT, Ordering::Relaxed);
        // Other records of its batch would have been queued before the batch was answered.
        ticket.first == Some(before >> HALF)
    }
}

const HALF: u32 = 32;
const IN_FLIGHT: u64 = 1;
const QUEUED_AND_IN_FLIGHT: u64 = (1 << HALF) | IN_FLIGHT;

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    use super::*;

    #[test]
    fn record_is_alone_only_if_no_other_was_in_flight() {
        let in_flight = InFlight::default();
        for _ in 0..2 {
            let only = in_flight.enter();
            assert!(in_flight.leave(&only));
            let [first, second] = [in_flight.enter(), in_flight.enter()];
            assert!(!in_flight.leave(&first));
            let third = in_flight.enter();
            assert!(!in_flight.leave(&second) && !in_flight.leave(&third));
        }
        // A revoked record does not count.
        let only = in_flight.enter();
        in_flight.enter();
        in_flight.revoke();
        assert!(in_flight.leave(&only));
        // The count of queued records wraps.
        let in_flight = InFlight(AtomicU64::new(u64::from(u32::MAX) << HALF));
        let only = in_flight.enter();
        assert!(in_flight.leave(&only));
        assert!(in_flight.enter().first.is_some());
    }

    #[test]
    fn records_that_meet_in_flight_are_never_alone() {
        const THREADS: usize = 2;
        const ROUNDS: usize = 50_000;
        let (in_flight, arrived) = (InFlight::default(), AtomicUsize::new(0));
        // Spinning releases all threads within nanoseconds, unlike a barrier of the system.
        let meet = |time: usize| {
            arrived.fetch_add(1, Ordering::SeqCst);
            while arrived.load(Ordering::SeqCst) < time * THREADS {
                thread::yield_now();
            }
        };
        let write = || {
            let round = |round: usize| {
                meet(2 * round + 1);
                let ticket = in_flight.enter();
                meet(2 * round + 2);
                in_flight.leave(&ticket)
            };
            (0..ROUNDS).filter(|at| round(*at)).count()
        };
        let alone: usize = thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(write)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(alone, 0);
    }
}

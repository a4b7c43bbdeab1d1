//! A few places that many clients use in turns.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_channel::oneshot;

use crate::holder::{Account, Holder};
use crate::ledger::Ledger;
use crate::turns::{Ticket, Turns};

/// Places for pieces of work. Work without a place waits for its client's turn: see [`Turns`].
#[derive(Debug)]
pub struct Places {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    held: Held,
    waiting: Turns<oneshot::Sender<Place>>,
}

#[derive(Debug)]
struct Held {
    ledger: Ledger,
    /// Whether a holder can have no more than its share, so that newcomers find a free place.
    has_shares: bool,
}

/// One place. A drop gives it to the next in turn.
#[derive(Debug)]
pub struct Place {
    /// `None` once it was given on.
    places: Option<Arc<Places>>,
    holder: Holder,
}

impl Places {
    /// So many free places, for pieces of work that end soon: one client can have all of them.
    pub fn new(places: usize) -> Arc<Self> {
        Self::of(Ledger::new(places), false)
    }

    /// The places of this ledger, for pieces of work that can take long: each client can have its share.
    pub fn with_shares(ledger: Ledger) -> Arc<Self> {
        Self::of(ledger, true)
    }

    fn of(ledger: Ledger, has_shares: bool) -> Arc<Self> {
        let held = Held { ledger, has_shares };
        Arc::new(Self { state: Mutex::new(State { held, waiting: Turns::default() }) })
    }

    /// A place, once it is the holder's turn.
    ///
    /// # Cancel safety
    /// A drop leaves the queue.
    pub async fn acquire(self: &Arc<Self>, holder: Holder) -> Place {
        loop {
            let (ticket, turn) = {
                let mut state = self.state();
                // Nobody waits who could have it: the places that were given back went to them.
                if state.held.has_room(holder.accounts()) {
                    state.held.ledger.add(holder, 1);
                    return Place { places: Some(Arc::clone(self)), holder };
                }
                let (sender, turn) = oneshot::channel();
                (state.waiting.push(holder, 1, sender), turn)
            };
            let _waiting = Waiting { places: self, holder, ticket };
            // The sender is dropped without a place only together with the places.
            if let Ok(place) = turn.await {
                return place;
            }
        }
    }

    /// The number of those who wait.
    pub fn waiting(&self) -> usize {
        self.state().waiting.len()
    }

    /// Nothing that runs under the lock panics.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes back the place of a holder that has `left`, and counts one to the next in turn. One that was given back
    /// can make room for several.
    fn next(&mut self, left: Option<Holder>) -> Option<(Holder, oneshot::Sender<Place>)> {
        let Self { held, waiting } = self;
        left.into_iter().for_each(|holder| held.ledger.give_back(holder, 1));
        let (holder, next) = waiting.pop_where(|path| held.has_room(path.iter().copied()))?;
        held.ledger.add(holder, 1);
        Some((holder, next))
    }
}

impl Held {
    fn has_room(&self, accounts: impl IntoIterator<Item = Account>) -> bool {
        let Self { ledger, has_shares } = self;
        if *has_shares { ledger.has_room_on(accounts, 1) } else { ledger.used() < ledger.max() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(places) = self.places.take() else { return };
        let mut left = Some(self.holder);
        loop {
            // With what was given back, so that nobody who comes meanwhile is first.
            let next = places.state().next(left.take());
            let Some((holder, next)) = next else { return };
            if let Err(mut unclaimed) = next.send(Self { places: Some(Arc::clone(&places)), holder }) {
                // Its caller has just stopped waiting.
                unclaimed.places = None;
                left = Some(holder);
            }
        }
    }
}

/// Someone's place in the queue.
struct Waiting<'a> {
    places: &'a Places,
    holder: Holder,
    ticket: Ticket,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        drop(self.places.state().waiting.cancel(self.holder, self.ticket));
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::ledger::tests;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn holder(number: u8) -> Holder {
        tests::holder(0, number)
    }

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn newcomer_gets_the_next_place_but_one() {
        let places = Places::new(1);
        let mut greedy: Vec<_> = (0..10).map(|_| Box::pin(places.acquire(holder(1)))).collect();
        let Poll::Ready(first) = poll(greedy[0].as_mut()) else { panic!("a free place") };
        assert!(greedy[1..].iter_mut().all(|waiting| poll(waiting.as_mut()).is_pending()));
        let mut newcomer = pin!(places.acquire(holder(2)));
        assert!(poll(newcomer.as_mut()).is_pending());
        drop(first);
        let Poll::Ready(second) = poll(greedy[1].as_mut()) else { panic!("its turn") };
        drop(second);
        assert!(poll(newcomer.as_mut()).is_ready());
    }

    #[test]
    fn newcomer_finds_a_free_place_where_places_have_shares() {
        let places = Places::with_shares(Ledger::of_one_cluster(8));
        let mut greedy: Vec<_> = (0..10).map(|_| Box::pin(places.acquire(holder(1)))).collect();
        let mut held: Vec<_> = greedy.iter_mut().map(|turn| poll(turn.as_mut())).collect();
        assert_eq!(held.iter().filter(|turn| turn.is_ready()).count(), 6, "its share");
        let Poll::Ready(_newcomer) = poll(pin!(places.acquire(holder(2)))) else { panic!("a free place") };
        let mut late = Box::pin(places.acquire(holder(1)));
        assert!(poll(late.as_mut()).is_pending());
        // The first of those who wait has its share, and keeps no others waiting.
        let mut others: Vec<_> = (3..6).map(|number| Box::pin(places.acquire(holder(number)))).collect();
        let found: Vec<_> = others.iter_mut().map(|turn| poll(turn.as_mut())).collect();
        assert_eq!(found.iter().filter(|turn| turn.is_ready()).count(), 1);
        drop(held.swap_remove(0));
        assert!(poll(late.as_mut()).is_pending());
        let found: Vec<_> = others[1..].iter_mut().map(|turn| poll(turn.as_mut())).collect();
        assert_eq!(found.iter().filter(|turn| turn.is_ready()).count(), 1);
    }

    #[test]
    fn places_of_those_who_left_go_to_the_next() {
        let places = Places::new(1);
        let Poll::Ready(place) = poll(pin!(places.acquire(holder(1)))) else { panic!("a free place") };
        let (mut left, mut gone) = (Box::pin(places.acquire(holder(2))), Box::pin(places.acquire(holder(3))));
        let mut last = pin!(places.acquire(holder(4)));
        for waiting in [&mut left, &mut gone] {
            assert!(poll(waiting.as_mut()).is_pending());
        }
        assert!(poll(last.as_mut()).is_pending());
        drop(left);
        assert_eq!(places.waiting(), 2);
        drop(place);
        // It was given the place, and never looked.
        drop(gone);
        assert!(poll(last.as_mut()).is_ready());
        assert_eq!((places.waiting(), places.state().held.ledger.used()), (0, 0));
    }
}

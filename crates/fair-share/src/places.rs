//! A few places that many clients use in turns.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_channel::oneshot;

use crate::holder::Holder;
use crate::turns::{Ticket, Turns};

/// Places for pieces of work, each of which ends soon. Work without a place waits for its client's turn: see [`Turns`].
#[derive(Debug)]
pub struct Places {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: usize,
    waiting: Turns<oneshot::Sender<Place>>,
}

/// One place. A drop gives it to the next in turn.
#[derive(Debug)]
pub struct Place {
    /// `None` once it was given on.
    places: Option<Arc<Places>>,
}

impl Places {
    /// This many free places.
    pub fn new(places: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { free: places, waiting: Turns::default() }) })
    }

    /// A place, once it is the holder's turn.
    ///
    /// # Cancel safety
    /// A drop leaves the queue.
    pub async fn acquire(self: &Arc<Self>, holder: Holder) -> Place {
        loop {
            let (ticket, turn) = {
                let mut state = self.state();
                if let Some(free) = state.free.checked_sub(1) {
                    state.free = free;
                    return Place { places: Some(Arc::clone(self)) };
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

impl Drop for Place {
    fn drop(&mut self) {
        let Some(places) = self.places.take() else { return };
        loop {
            let next = {
                let mut state = places.state();
                let next = state.waiting.pop();
                if next.is_none() {
                    state.free = state.free.saturating_add(1);
                }
                next
            };
            let Some((_, next)) = next else { return };
            match next.send(Self { places: Some(Arc::clone(&places)) }) {
                Ok(()) => return,
                // Its caller has just stopped waiting.
                Err(mut unclaimed) => unclaimed.places = None,
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
    use std::net::IpAddr;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::Source;

    fn holder(number: u8) -> Holder {
        Holder { cluster: 0, source: Source::from(IpAddr::from([10, 0, 0, number])) }
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
        assert_eq!((places.waiting(), places.state().free), (0, 1));
    }
}

//! Lets callers with the same question share one request.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;
use sluicegate_fair_share::{Holder, Place, Places};
use tokio::select;
use tokio::sync::watch;

/// Requests that are in flight or wait for their turn.
///
/// `SingleFlight` of the shared log ends a request with its caller, and never gives a caller the answer to an older
/// request. Here answers do not age, and each caller waits for its own turn until the request is sent: no client waits
/// for the turn of another that has asked for the same before it.
pub(super) struct Flights<K, V> {
    /// Locked for a few statements and never across an await.
    state: Mutex<State<K, V>>,
    places: Arc<Places>,
}

struct State<K, V> {
    last: u64,
    flights: HashMap<K, Flight<V>>,
}

struct Flight<V> {
    /// Distinguishes it from others of its key.
    number: u64,
    answer: watch::Sender<Option<V>>,
    is_sent: bool,
    /// The number of callers that wait.
    waiting: usize,
}

impl<K: Clone + Eq + Hash + Send + 'static, V: Clone + Send + Sync + 'static> Flights<K, V> {
    /// With places for the requests in flight.
    pub(super) fn new(places: Arc<Places>) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { last: 0, flights: HashMap::new() }), places })
    }

    /// The answer that is `known`, or the answer to `request`, which this caller or another sends in its turn. None: the
    /// request has panicked, or the runtime ends.
    ///
    /// A request must make its answer known before it ends, and has its place until then.
    ///
    /// # Cancel safety
    /// A drop ends the wait, and leaves the queue. A request that was sent goes on.
    pub(super) async fn run<F: Future<Output = V> + Send + 'static>(
        self: &Arc<Self>,
        holder: Holder,
        key: &K,
        known: impl Fn() -> Option<V>,
        request: impl FnOnce() -> F,
    ) -> Option<V> {
        let mut waiting = match self.join(key, known) {
            Ok(known) => return Some(known),
            Err(waiting) => waiting,
        };
        let place = select! {
            biased;
            answer = waiting.answer() => return answer,
            place = self.places.acquire(holder) => place,
        };
        if let Some(in_flight) = self.begin(&waiting, place) {
            let request = request();
            tokio::spawn(async move { in_flight.end(request.await) });
        }
        waiting.answer().await
    }

    /// Waits for the flight of a key, which is made if there is none. `Ok`: the answer is known.
    fn join(self: &Arc<Self>, key: &K, known: impl Fn() -> Option<V>) -> Result<V, Waiting<K, V>> {
        let mut state = self.state.lock();
        // Under the lock: a flight is removed once its answer is known.
        if let Some(known) = known() {
            return Ok(known);
        }
        let State { last, flights } = &mut *state;
        let flight = flights.entry(key.clone()).or_insert_with(|| {
            *last = last.saturating_add(1);
            Flight { number: *last, answer: watch::Sender::new(None), is_sent: false, waiting: 0 }
        });
        flight.waiting = flight.waiting.saturating_add(1);
        let answer = flight.answer.subscribe();
        Err(Waiting { flights: Arc::clone(self), key: key.clone(), number: flight.number, answer })
    }

    /// The caller has its turn. None: the request is sent already.
    fn begin(self: &Arc<Self>, waiting: &Waiting<K, V>, place: Place) -> Option<InFlight<K, V>> {
        let mut state = self.state.lock();
        let flight = state.flights.get_mut(&waiting.key).filter(|flight| flight.number == waiting.number)?;
        if std::mem::replace(&mut flight.is_sent, true) {
            return None;
        }
        Some(InFlight { flights: Arc::clone(self), key: waiting.key.clone(), answer: None, _place: place })
    }
}

/// A caller that waits.
struct Waiting<K: Eq + Hash, V> {
    flights: Arc<Flights<K, V>>,
    key: K,
    number: u64,
    answer: watch::Receiver<Option<V>>,
}

impl<K: Eq + Hash, V: Clone> Waiting<K, V> {
    async fn answer(&mut self) -> Option<V> {
        self.answer.wait_for(Option::is_some).await.ok()?.clone()
    }
}

impl<K: Eq + Hash, V> Drop for Waiting<K, V> {
    fn drop(&mut self) {
        let mut state = self.flights.state.lock();
        let Some(flight) = state.flights.get_mut(&self.key).filter(|flight| flight.number == self.number)
        else {
            return;
        };
        flight.waiting = flight.waiting.saturating_sub(1);
        if flight.waiting == 0 && !flight.is_sent {
            state.flights.remove(&self.key);
        }
    }
}

/// A request that was sent. A drop ends the flight, with the answer if there is one.
struct InFlight<K: Eq + Hash, V> {
    flights: Arc<Flights<K, V>>,
    key: K,
    answer: Option<V>,
    _place: Place,
}

impl<K: Eq + Hash, V> InFlight<K, V> {
    fn end(mut self, answer: V) {
        self.answer = Some(answer);
    }
}

impl<K: Eq + Hash, V> Drop for InFlight<K, V> {
    fn drop(&mut self) {
        let flight = self.flights.state.lock().flights.remove(&self.key);
        if let Some(flight) = flight {
            flight.answer.send_replace(self.answer.take());
        }
    }
}

//! Lets identical calls share a request. No call shares a request that was sent before the call began.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::timeout;

/// Requests in flight, and the callers that wait for their answers.
///
/// If an identical request is in flight, a caller waits for it to end: the request can be older than something that the
/// caller knows, such as its own acknowledged write. One of the waiting callers then sends the next request for all of
/// them.
#[derive(Debug)]
pub struct SingleFlight<K: Ord, V> {
    /// Locked for a few statements and never across an await. Each of them leaves the state valid.
    state: Mutex<State<K, V>>,
}

#[derive(Debug)]
struct State<K, V> {
    /// Numbers calls and requests in the order in which they began.
    last: u64,
    under_way: BTreeMap<K, Flight<V>>,
}

#[derive(Debug)]
struct Flight<V> {
    number: u64,
    answer: watch::Receiver<Option<V>>,
}

/// The next thing for a caller to do.
enum Turn<V> {
    /// Send the request, and its answer here.
    Send(watch::Sender<Option<V>>),
    /// Wait for this request, and use its answer if the request began after the call.
    Wait(watch::Receiver<Option<V>>, IsAnswer),
}

#[derive(PartialEq)]
enum IsAnswer {
    Yes,
    No,
}

impl<K: Ord, V> Default for SingleFlight<K, V> {
    fn default() -> Self {
        Self { state: Mutex::new(State { last: 0, under_way: BTreeMap::new() }) }
    }
}

impl<K: Ord + Clone, V: Clone> SingleFlight<K, V> {
    /// The answer that is `known`, the answer to a request of another caller, or the answer to `request`, whichever is
    /// first. The request is made in memory of its own once it is sent: futures of many layers would carry its size.
    ///
    /// A request in flight for a lower key that is `near` may make the answer known: the call waits for it, but only
    /// once.
    ///
    /// # Cancel safety
    /// Dropping the call lets another caller send the request.
    pub async fn run<F: Future<Output = V>>(
        &self,
        key: K,
        near: impl Fn(&K) -> bool,
        known: impl Fn() -> Option<V>,
        request: impl FnOnce() -> F,
    ) -> V {
        let asked = self.state.lock().count();
        let mut look_near = true;
        loop {
            if let Some(known) = known() {
                return known;
            }
            let turn = self.state.lock().turn(&key, asked, |other| look_near && near(other));
            match turn {
                Turn::Send(answered) => {
                    let in_flight = InFlightGuard { all: self, key: &key };
                    let answer = Box::pin(request()).await;
                    // First: callers that wake up must not wait for this request again.
                    drop(in_flight);
                    answered.send_replace(Some(answer.clone()));
                    return answer;
                }
                Turn::Wait(mut answer, is_answer) => {
                    if let Ok(answer) = answer.wait_for(Option::is_some).await
                        && is_answer == IsAnswer::Yes
                        && let Some(answer) = &*answer
                    {
                        return answer.clone();
                    }
                    look_near = false;
                }
            }
        }
    }
}

impl<K: Ord + Clone, V: Clone> SingleFlight<K, V> {
    /// The same; `None` if the requests of others take longer than `patience`. They can be given up, one after the
    /// other. A request of its own is never cut short here, as others wait for it.
    ///
    /// # Cancel safety
    /// Dropping the call lets another caller send the request.
    pub async fn run_within<F: Future<Output = V>>(
        &self,
        patience: Duration,
        key: K,
        request: impl FnOnce() -> F,
    ) -> Option<V> {
        let sends = AtomicBool::new(false);
        let request = || {
            sends.store(true, Ordering::Relaxed);
            request()
        };
        let mut call = pin!(self.run(key, |_| false, || None, request));
        match timeout(patience, &mut call).await {
            Ok(answer) => Some(answer),
            Err(_) if sends.load(Ordering::Relaxed) => Some(call.await),
            Err(_) => None,
        }
    }
}

impl<K: Ord + Clone, V> State<K, V> {
    fn count(&mut self) -> u64 {
        self.last = self.last.saturating_add(1);
        self.last
    }

    fn turn(&mut self, key: &K, asked: u64, near: impl Fn(&K) -> bool) -> Turn<V> {
        if let Some((found, flight)) = self.under_way.range(..=key).next_back()
            && (found == key || near(found))
        {
            let is_answer = if found == key && flight.number > asked { IsAnswer::Yes } else { IsAnswer::No };
            return Turn::Wait(flight.answer.clone(), is_answer);
        }
        let (answered, answer) = watch::channel(None);
        let number = self.count();
        self.under_way.insert(key.clone(), Flight { number, answer });
        Turn::Send(answered)
    }
}

/// Removes a request from those in flight when it is answered or dropped.
struct InFlightGuard<'a, K: Ord, V> {
    all: &'a SingleFlight<K, V>,
    key: &'a K,
}

impl<K: Ord, V> Drop for InFlightGuard<'_, K, V> {
    fn drop(&mut self) {
        self.all.state.lock().under_way.remove(self.key);
    }
}

#[cfg(test)]
mod tests;

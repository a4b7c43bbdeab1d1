//! Lets calls for different keys share requests, each for everything that waits.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use sluicegate_fair_share::{Holder, Ledger, Permit, Permits, Source};
use tokio::sync::{Mutex, MutexGuard, Notify};
use tokio::time::timeout;

use crate::lock::Lock;

/// The keys that wait for the next request, and the callers that wait for their values.
///
/// No caller gets the answer to a request that was sent before it asked. One caller sends the request for all that wait, so a
/// newcomer waits for one request besides its own, or for [`TURN`] if that takes longer, whatever others do. The keys that wait are bounded, and shared fairly: a
/// source above its share gets the rest with later requests.
pub(crate) struct Batches<K, V> {
    waiting: Lock<BTreeMap<K, Inboxes<K, V>>>,
    permits: Arc<Permits>,
    /// Locked during a request, for [`TURN`] at most.
    turn: Mutex<()>,
    /// Notified after each answer: there is room for callers that have none.
    answered: Notify,
}

/// The calls that wait for the same key.
type Inboxes<K, V> = Vec<Arc<Inbox<K, V>>>;

/// The keys of one call that wait together, and their values.
struct Inbox<K, V> {
    len: usize,
    values: Lock<Vec<(K, V)>>,
    /// One for each key, until all have values.
    permit: Lock<Option<Permit>>,
    /// Notified when all have values.
    filled: Notify,
}

/// Keys whose request is under way. A drop lets others request those without an answer.
struct Batch<'a, K: Ord, V> {
    batches: &'a Batches<K, V>,
    keys: Vec<K>,
    inboxes: Vec<Inboxes<K, V>>,
}

impl<K: Ord + Clone, V> Batches<K, V> {
    /// At most `max_waiting` keys wait, each counted once for each caller.
    pub(crate) fn new(max_waiting: usize) -> Self {
        let permits = Permits::new(Ledger::of_one_cluster(max_waiting));
        Self { waiting: Lock::default(), permits, turn: Mutex::new(()), answered: Notify::new() }
    }

    /// The value of each key, from requests that are sent after the call. `send` performs a request for some keys, and gives what
    /// tells the value of each.
    ///
    /// # Cancel safety
    /// Dropping the call lets another caller send the request.
    pub(crate) async fn ask<F, A>(
        &self,
        source: Source,
        mut keys: Vec<K>,
        send: impl Fn(Vec<K>) -> F,
    ) -> Vec<(K, V)>
    where
        F: Future<Output = A>,
        A: Fn(&K) -> V,
    {
        let mut values = Vec::with_capacity(keys.len());
        while !keys.is_empty() {
            let mut answered = pin!(self.answered.notified());
            answered.as_mut().enable();
            match self.enter(source, &mut keys) {
                Some(inbox) => loop {
                    tokio::select! {
                        biased;
                        () = inbox.filled.notified() => break values.append(&mut inbox.values.lock()),
                        turn = self.turn.lock() => self.request(turn, &send).await,
                    }
                },
                None => tokio::select! {
                    biased;
                    () = answered => {}
                    // Those who have the room may be gone.
                    turn = self.turn.lock() => self.request(turn, &send).await,
                },
            }
        }
        values
    }

    /// Lets as many of `keys` wait as the source has room for.
    fn enter(&self, source: Source, keys: &mut Vec<K>) -> Option<Arc<Inbox<K, V>>> {
        let holder = Holder { source, ..Holder::default() };
        let permit = self.permits.acquire_up_to(holder, keys.len())?;
        let entered = keys.split_off(keys.len().saturating_sub(permit.amount()));
        let inbox = Arc::new(Inbox {
            len: entered.len(),
            values: Lock::default(),
            permit: Lock::new(Some(permit)),
            filled: Notify::new(),
        });
        let mut waiting = self.waiting.lock();
        for key in entered {
            waiting.entry(key).or_default().push(Arc::clone(&inbox));
        }
        Some(inbox)
    }

    /// Requests everything that waits.
    async fn request<F, A>(&self, turn: MutexGuard<'_, ()>, send: &impl Fn(Vec<K>) -> F)
    where
        F: Future<Output = A>,
        A: Fn(&K) -> V,
    {
        if let Some(batch) = self.next() {
            let mut answer = pin!(send(batch.keys.clone()));
            let answered = timeout(TURN, &mut answer).await;
            drop(turn);
            let value_of = match answered {
                Ok(value_of) => value_of,
                Err(_) => answer.await,
            };
            batch.answer(value_of);
            self.answered.notify_waiters();
        }
    }

    /// Everything that waits, but for callers that left.
    fn next(&self) -> Option<Batch<'_, K, V>> {
        let mut waiting = std::mem::take(&mut *self.waiting.lock());
        waiting.retain(|_, inboxes| inboxes.iter().any(|inbox| inbox.is_awaited()));
        let (keys, inboxes): (Vec<K>, Vec<_>) = waiting.into_iter().unzip();
        (!keys.is_empty()).then_some(Batch { batches: self, keys, inboxes })
    }
}

impl<K: Ord + Clone, V> Batch<'_, K, V> {
    fn answer(mut self, value_of: impl Fn(&K) -> V) {
        for (key, inboxes) in self.keys.drain(..).zip(self.inboxes.drain(..)) {
            for inbox in inboxes {
                let mut values = inbox.values.lock();
                values.push((key.clone(), value_of(&key)));
                if values.len() >= inbox.len {
                    // First: it can ask again at once.
                    inbox.permit.lock().take();
                    inbox.filled.notify_one();
                }
            }
        }
    }
}

impl<K: Ord, V> Drop for Batch<'_, K, V> {
    fn drop(&mut self) {
        let mut waiting = self.batches.waiting.lock();
        for (key, inboxes) in self.keys.drain(..).zip(self.inboxes.drain(..)) {
            waiting.entry(key).or_default().extend(inboxes);
        }
    }
}

impl<K, V> Inbox<K, V> {
    /// Whether its caller still waits, who has a reference besides those of the keys.
    fn is_awaited(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) > self.len
    }
}

/// How long a request that is not answered keeps the next from being sent.
const TURN: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;

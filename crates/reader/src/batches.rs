//! Lets calls for different keys share requests, each for everything that waits.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use sluicegate_fair_share::{Holder, Ledger, Permit, Permits, Source};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::lock::Lock;

/// The keys that wait for the next request, and the callers that wait for their values.
///
/// No caller gets the answer to a request that was sent before it asked. Requests run on tasks of their own, so none waits for a
/// caller. A newcomer waits for one request besides its own, or for [`TURN`] if that takes longer. The keys that wait are bounded,
/// and shared fairly: a source above its share gets the rest with later requests.
pub(crate) struct Batches<K, V> {
    state: Lock<State<K, V>>,
    permits: Arc<Permits>,
    /// Whether two keys, the one after the other in their order, cannot be in the same request.
    conflict: fn(&K, &K) -> bool,
    /// Notified when there is room for callers that have none.
    freed: Notify,
}

struct State<K, V> {
    waiting: BTreeMap<K, Inboxes<K, V>>,
    /// Whether a task sends requests for what waits.
    is_driven: bool,
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

/// Keys whose request is under way.
struct Batch<K, V> {
    keys: Vec<K>,
    inboxes: Vec<Inboxes<K, V>>,
}

impl<K, V> Batches<K, V>
where
    K: Ord + Clone + Send + 'static,
    V: Send + 'static,
{
    /// At most `max_waiting` keys wait, each counted once for each caller.
    pub(crate) fn new(max_waiting: usize, conflict: fn(&K, &K) -> bool) -> Arc<Self> {
        let state = State { waiting: BTreeMap::new(), is_driven: false };
        let permits = Permits::new(Ledger::of_one_cluster(max_waiting));
        Arc::new(Self { state: Lock::new(state), permits, conflict, freed: Notify::new() })
    }

    /// The value of each key, from requests that are sent after the call. `send` performs a request for some keys, and gives what
    /// tells the value of each. It is the same for all callers.
    ///
    /// # Cancel safety
    /// A drop has no effect on other callers.
    pub(crate) async fn ask<F, A>(
        self: &Arc<Self>,
        source: Source,
        mut keys: Vec<K>,
        send: impl Fn(Vec<K>) -> F + Clone + Send + Sync + 'static,
    ) -> Vec<(K, V)>
    where
        F: Future<Output = A> + Send,
        A: Fn(&K) -> V + Send,
    {
        let mut values = Vec::with_capacity(keys.len());
        while !keys.is_empty() {
            let mut freed = pin!(self.freed.notified());
            freed.as_mut().enable();
            let inbox = self.enter(source, &mut keys);
            self.drive(&send);
            match inbox {
                Some(inbox) => {
                    inbox.filled.notified().await;
                    values.append(&mut inbox.values.lock());
                }
                None => freed.await,
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
        let mut state = self.state.lock();
        for key in entered {
            state.waiting.entry(key).or_default().push(Arc::clone(&inbox));
        }
        Some(inbox)
    }

    /// Sends requests until nothing waits, unless another caller's task does.
    fn drive<F, A>(self: &Arc<Self>, send: &(impl Fn(Vec<K>) -> F + Clone + Send + Sync + 'static))
    where
        F: Future<Output = A> + Send,
        A: Fn(&K) -> V + Send,
    {
        if std::mem::replace(&mut self.state.lock().is_driven, true) {
            return;
        }
        let (batches, send) = (Arc::clone(self), send.clone());
        tokio::spawn(async move {
            while let Some(batch) = batches.next() {
                let (batches, send) = (Arc::clone(&batches), send.clone());
                let request = tokio::spawn(async move {
                    let value_of = send(batch.keys.clone()).await;
                    batch.answer(value_of);
                    batches.freed.notify_waiters();
                });
                // Late or not, the next can be sent.
                let _ = timeout(TURN, request).await;
            }
        });
    }

    /// Everything that waits and can be in one request, but for callers that left. If there is nothing, another task has to be
    /// started for what comes.
    fn next(&self) -> Option<Batch<K, V>> {
        let mut state = self.state.lock();
        let State { waiting, is_driven } = &mut *state;
        let before = waiting.len();
        waiting.retain(|_, inboxes| inboxes.iter().any(|inbox| inbox.is_awaited()));
        if waiting.len() < before {
            self.freed.notify_waiters();
        }
        let mut batch = Batch { keys: Vec::new(), inboxes: Vec::new() };
        let mut left = BTreeMap::new();
        for (key, inboxes) in std::mem::take(waiting) {
            if batch.keys.last().is_some_and(|last| (self.conflict)(last, &key)) {
                left.insert(key, inboxes);
            } else {
                batch.keys.push(key);
                batch.inboxes.push(inboxes);
            }
        }
        *waiting = left;
        *is_driven = !batch.keys.is_empty();
        is_driven.then_some(batch)
    }
}

impl<K: Clone, V> Batch<K, V> {
    fn answer(self, value_of: impl Fn(&K) -> V) {
        for (key, inboxes) in self.keys.into_iter().zip(self.inboxes) {
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

impl<K, V> Inbox<K, V> {
    /// Whether its caller still waits, who has a reference besides those of the keys without a value.
    fn is_awaited(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) > self.len.saturating_sub(self.values.lock().len())
    }
}

/// How long a request that is not answered keeps the next from being sent.
const TURN: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;

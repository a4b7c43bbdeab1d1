//! Lets calls for different keys share requests, each for everything that waits.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use sluicegate_fair_share::{ClientKey, Ledger, Permit, Permits};
use tokio::sync::Notify;
use tokio::time::timeout;

use parking_lot::Mutex;

/// The keys that wait for the next request, and the callers that wait for their values.
///
/// No caller gets the answer to a request that was sent before it asked. Requests run on tasks of their own, so none
/// waits for a caller. A newcomer waits for one request besides its own, or for [`TURN`] if that takes longer. The keys
/// that wait are bounded, and shared fairly: a source above its share gets the rest with later requests. So does a
/// source with many keys that conflict: of those, [`LAYERS`] are requested at a time, one of each site first.
pub(crate) struct Batches<K, V> {
    state: Mutex<State<K, V>>,
    permits: Arc<Permits>,
    /// Whether two keys, one after the other in their order, cannot be in the same request.
    conflict: fn(&K, &K) -> bool,
    /// Whether keys without a conflict are spread over [`LAYERS`] requests, too.
    is_spread: bool,
    /// Notified when there is room for callers that have none.
    freed: Notify,
}

struct State<K, V> {
    waiting: BTreeMap<K, Inboxes<K, V>>,
    /// Whether a task sends requests for what waits.
    is_driven: bool,
    /// The number of the last call.
    last: u64,
}

/// The calls that wait for the same key.
type Inboxes<K, V> = Vec<Arc<Inbox<K, V>>>;

/// The keys of one call that wait together, and their values.
struct Inbox<K, V> {
    source: ClientKey,
    /// Greater than those of earlier calls.
    number: u64,
    len: usize,
    values: Mutex<Values<K, V>>,
    /// One for each key, until all have values.
    permit: Mutex<Option<Permit>>,
    /// Notified of each value.
    filled: Notify,
}

struct Values<K, V> {
    /// So far.
    arrived: usize,
    /// Values that the caller has not taken yet.
    untaken: Vec<(K, V)>,
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
        Arc::new(Self::with(max_waiting, conflict, false))
    }

    /// The same, with [`LAYERS`] requests at a time for what waits: a key that makes its request fail fails few others.
    pub(crate) fn spread(max_waiting: usize, conflict: fn(&K, &K) -> bool) -> Arc<Self> {
        Arc::new(Self::with(max_waiting, conflict, true))
    }

    fn with(max_waiting: usize, conflict: fn(&K, &K) -> bool, is_spread: bool) -> Self {
        let state = State { waiting: BTreeMap::new(), is_driven: false, last: 0 };
        let permits = Permits::new(Ledger::of_one_cluster(max_waiting));
        Self { state: Mutex::new(state), permits, conflict, is_spread, freed: Notify::new() }
    }

    /// Adds the value of each key to `values`, from requests that are sent after the call. `send` performs a request
    /// for some keys, and gives what tells the value of each. It is the same for all callers.
    ///
    /// # Cancel safety
    /// A drop leaves the values that came, and has no effect on other callers.
    pub(crate) async fn ask<F, A>(
        self: &Arc<Self>,
        source: ClientKey,
        mut keys: Vec<K>,
        send: impl Fn(Vec<K>) -> F + Clone + Send + Sync + 'static,
        values: &mut Vec<(K, V)>,
    ) where
        F: Future<Output = A> + Send,
        A: Fn(&K) -> V + Send,
    {
        while !keys.is_empty() {
            let mut freed = pin!(self.freed.notified());
            freed.as_mut().enable();
            let inbox = self.enter(source, &mut keys);
            self.drive(&send);
            match inbox {
                Some(inbox) => inbox.take(values).await,
                None => freed.await,
            }
        }
    }

    /// Lets as many of `keys` wait as the source has room for.
    fn enter(&self, source: ClientKey, keys: &mut Vec<K>) -> Option<Arc<Inbox<K, V>>> {
        let permit = self.permits.acquire_up_to(source.into(), keys.len())?;
        let entered = keys.split_off(keys.len().saturating_sub(permit.amount()));
        let mut state = self.state.lock();
        state.last = state.last.saturating_add(1);
        let inbox = Arc::new(Inbox {
            source,
            number: state.last,
            len: entered.len(),
            values: Mutex::new(Values { arrived: 0, untaken: Vec::new() }),
            permit: Mutex::new(Some(permit)),
            filled: Notify::new(),
        });
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
            while let Some(layers) = batches.next() {
                let request = |batch: Batch<K, V>| {
                    let (batches, send) = (Arc::clone(&batches), send.clone());
                    tokio::spawn(async move {
                        let value_of = send(batch.keys.clone()).await;
                        batch.answer(value_of);
                        batches.freed.notify_waiters();
                    })
                };
                // Late or not, the next can be sent.
                let _ = timeout(TURN, join_all(layers.into_iter().map(request))).await;
            }
        });
    }

    /// Everything that waits, but for callers that left, and for keys that conflict with [`LAYERS`] others: a request
    /// for those without a conflict, unless they are spread, and more for the rest. If there is nothing, another task
    /// has to be started for what comes.
    fn next(&self) -> Option<Vec<Batch<K, V>>> {
        let mut state = self.state.lock();
        let State { waiting, is_driven, .. } = &mut *state;
        let before = waiting.len();
        waiting.retain(|_, inboxes| inboxes.iter().any(|inbox| inbox.is_awaited()));
        if waiting.len() < before {
            self.freed.notify_waiters();
        }
        let mut layers: Vec<Batch<K, V>> = Vec::new();
        let mut spread = 0_usize;
        let all: Vec<(K, Inboxes<K, V>)> = std::mem::take(waiting).into_iter().collect();
        let mut group = Vec::new();
        let mut all = all.into_iter().peekable();
        while let Some(entry) = all.next() {
            let is_last = all.peek().is_none_or(|(next, _)| !(self.conflict)(&entry.0, next));
            group.push(entry);
            if is_last {
                let mut ordered = in_turns(std::mem::take(&mut group)).into_iter();
                for (number, (key, inboxes)) in ordered.by_ref().take(LAYERS).enumerate() {
                    let layer = if self.is_spread { spread } else { number };
                    spread = spread.wrapping_add(1) % LAYERS;
                    if layers.len() <= layer {
                        layers.push(Batch { keys: Vec::new(), inboxes: Vec::new() });
                    }
                    if let Some(batch) = layers.get_mut(layer) {
                        batch.keys.push(key);
                        batch.inboxes.push(inboxes);
                    }
                }
                waiting.extend(ordered);
            }
        }
        *is_driven = !layers.is_empty();
        is_driven.then_some(layers)
    }
}

/// Keys that conflict, the first of each site first, and those of a site by age.
fn in_turns<K, V>(group: Vec<(K, Inboxes<K, V>)>) -> Vec<(K, Inboxes<K, V>)> {
    let oldest = |inboxes: &Inboxes<K, V>| {
        let awaited = inboxes.iter().filter(|inbox| inbox.is_awaited());
        awaited.map(|inbox| (inbox.number, inbox.source)).min().unwrap_or((u64::MAX, ClientKey::UNKNOWN))
    };
    let mut group: Vec<_> =
        group.into_iter().map(|(key, inboxes)| (oldest(&inboxes), key, inboxes)).collect();
    group.sort_by_key(|((number, _), ..)| *number);
    let mut turns: BTreeMap<ClientKey, usize> = BTreeMap::new();
    let mut ordered: Vec<_> = group
        .into_iter()
        .map(|((_, source), key, inboxes)| {
            let turn = turns.entry(source.site()).or_default();
            *turn = turn.saturating_add(1);
            (*turn, key, inboxes)
        })
        .collect();
    ordered.sort_by_key(|(turn, ..)| *turn);
    ordered.into_iter().map(|(_, key, inboxes)| (key, inboxes)).collect()
}

impl<K: Clone, V> Batch<K, V> {
    fn answer(self, value_of: impl Fn(&K) -> V) {
        for (key, inboxes) in self.keys.into_iter().zip(self.inboxes) {
            for inbox in inboxes {
                let mut values = inbox.values.lock();
                values.arrived = values.arrived.saturating_add(1);
                values.untaken.push((key.clone(), value_of(&key)));
                if values.arrived >= inbox.len {
                    // First: it can ask again at once.
                    inbox.permit.lock().take();
                }
                inbox.filled.notify_one();
            }
        }
    }
}

impl<K, V> Inbox<K, V> {
    /// Takes values as they come, until all have come.
    async fn take(&self, values: &mut Vec<(K, V)>) {
        loop {
            let all = {
                let mut mine = self.values.lock();
                values.append(&mut mine.untaken);
                mine.arrived >= self.len
            };
            if all {
                return;
            }
            self.filled.notified().await;
        }
    }

    /// Whether its caller still waits, who has a reference besides those of the keys without a value.
    fn is_awaited(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) > self.len.saturating_sub(self.values.lock().arrived)
    }
}

/// The time for which an unanswered request keeps the next one from being sent.
const TURN: Duration = Duration::from_millis(100);

/// Requests at the same time for keys that conflict, or are spread.
const LAYERS: usize = 4;

#[cfg(test)]
mod tests;

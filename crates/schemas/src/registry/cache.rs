//! A cache that is bounded in bytes.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use tokio::time::Instant;

/// Values by key. If they have too many bytes, the least recently used are dropped.
pub(super) struct Cache<K, V> {
    max_bytes: usize,
    /// The sum over all values: at most `max_bytes`.
    bytes: usize,
    values: HashMap<K, Entry<V>>,
    /// All keys, by the number of their last use.
    order: BTreeMap<u64, K>,
    last_use: u64,
}

struct Entry<V> {
    value: V,
    bytes: usize,
    /// None: it is valid for good.
    until: Option<Instant>,
    used: u64,
}

impl<K: Clone + Eq + Hash, V: Clone> Cache<K, V> {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { max_bytes, bytes: 0, values: HashMap::new(), order: BTreeMap::new(), last_use: 0 }
    }

    /// The value of a key, which is used now.
    pub(super) fn get(&mut self, key: &K) -> Option<V> {
        let number = self.next_use();
        let entry = self.values.get_mut(key)?;
        if entry.until.is_some_and(|until| until <= Instant::now()) {
            self.remove(key);
            return None;
        }
        let value = entry.value.clone();
        let earlier = std::mem::replace(&mut entry.used, number);
        if let Some(key) = self.order.remove(&earlier) {
            self.order.insert(number, key);
        }
        Some(value)
    }

    /// Sets the value of a key, which counts as so many bytes, unless they are more than all can have.
    pub(super) fn insert(&mut self, key: K, value: V, bytes: usize, until: Option<Instant>) {
        self.remove(&key);
        if bytes > self.max_bytes {
            return;
        }
        let used = self.next_use();
        self.bytes = self.bytes.saturating_add(bytes);
        self.order.insert(used, key.clone());
        self.values.insert(key, Entry { value, bytes, until, used });
        while self.bytes > self.max_bytes {
            let Some((_, oldest)) = self.order.pop_first() else { return };
            self.remove(&oldest);
        }
    }

    /// Drops the value of a key.
    pub(super) fn remove(&mut self, key: &K) {
        if let Some(entry) = self.values.remove(key) {
            self.order.remove(&entry.used);
            self.bytes = self.bytes.saturating_sub(entry.bytes);
        }
    }

    fn next_use(&mut self) -> u64 {
        self.last_use = self.last_use.saturating_add(1);
        self.last_use
    }
}

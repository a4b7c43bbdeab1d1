//! Logs of one topic, which a test writes, breaks and mends.

use std::sync::Arc;

use sluicegate_backend::{CommandError, System};

pub use super::PARTITIONS;
use super::cluster;
use super::script::{Script, State};
use crate::cluster::{Cluster, Rates};

/// The logs. Clones are the same.
#[derive(Debug, Clone)]
pub struct Logs(Arc<Script>);

impl Default for Logs {
    fn default() -> Self {
        Self(Arc::new(Script { has_logs: true, ..Script::default() }))
    }
}

impl Logs {
    /// A cluster of Kafka with these logs.
    pub fn cluster(&self) -> Arc<Cluster> {
        self.cluster_of(System::Kafka)
    }

    /// A cluster of this system with these logs.
    pub fn cluster_of(&self, system: System) -> Arc<Cluster> {
        self.cluster_with(system, 1 << 30)
    }

    /// A cluster whose filters and reads can leave out so many bytes a second.
    pub fn cluster_with(&self, system: System, scanned: usize) -> Arc<Cluster> {
        let rates = Rates::new(1_000_000, scanned, 1_000_000, 1_000);
        cluster(system, Arc::clone(&self.0) as _, 1 << 20, None, rates)
    }

    /// Parts of the cluster.
    pub fn backend(&self) -> &Script {
        &self.0
    }

    /// Writes so many records.
    pub fn append(&self, partition: i32, count: usize) {
        self.change(|state| state.logs.entry(partition).or_default().1 += count as i64);
    }

    /// Deletes the records before an offset.
    pub fn delete_before(&self, partition: i32, offset: i64) {
        self.change(|state| state.logs.entry(partition).or_default().0 = offset);
    }

    /// The offset of the first record.
    pub fn start(&self, partition: i32) -> i64 {
        self.0.state().ends(partition).start
    }

    /// The offset after the last record.
    pub fn end(&self, partition: i32) -> i64 {
        self.0.state().ends(partition).end
    }

    /// Lets reads of this partition fail.
    pub fn break_with(&self, partition: i32, error: CommandError) {
        self.change(|state| drop(state.errors.insert(partition, error)));
    }

    /// Lets look-ups of offsets never end.
    pub fn silence_ends(&self) {
        self.change(|state| state.are_ends_silent = true);
    }

    /// Makes the topic another one. Until it is asked for, `known` is known.
    pub fn recreate(&self, topic_id: u128, known: Option<u128>) {
        self.change(|state| (state.topic_id, state.outdated_id) = (Some(topic_id), known));
    }

    /// Gives each record a key, by its offset.
    pub fn set_keys(&self, key: fn(i64) -> &'static str) {
        self.change(|state| state.key = Some(key));
    }

    /// Gives each record a value, by its offset.
    pub fn set_values(&self, value: fn(i64) -> &'static str) {
        self.change(|state| state.value = Some(value));
    }

    /// Adds partitions to the topic.
    pub fn add_partitions(&self, count: i32) {
        self.change(|state| state.added += count);
    }

    /// Ends all failures.
    pub fn mend(&self) {
        self.change(|state| (state.errors, state.offsets_refusal) = Default::default());
    }

    /// Whether reads find what was read before.
    pub fn keep(&self, keeps: bool) {
        self.change(|state| state.keeps = keeps);
    }

    /// A new leader, which has lost the records from `kept` on, if that is set.
    pub fn elect(&self, kept: Option<i64>) {
        self.change(|state| (state.epoch, state.kept) = (state.epoch + 1, kept));
    }

    /// Lets another leader lose the records of a partition from `end` on.
    pub fn truncate(&self, partition: i32, end: i64) {
        self.change(|state| {
            let log = state.logs.entry(partition).or_default();
            *log = (log.0.min(end), log.1.min(end));
        });
        self.elect(Some(end));
    }

    /// Changes anything else.
    pub(crate) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.state());
        self.0.changed.notify_waiters();
    }
}

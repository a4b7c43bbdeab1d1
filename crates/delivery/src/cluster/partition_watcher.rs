//! Notices partitions that are added to a topic. One task asks for each topic, for all that watch it.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use sluicegate_fair_share::ClientKey;
use tokio::sync::watch;
use tokio::time::sleep;

use super::Cluster;

/// The partitions of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partitions {
    /// Distinguishes the topic from others of the same name; None: it is not known.
    pub topic_id: Option<u128>,
    /// Their numbers.
    pub numbers: Arc<[i32]>,
}

/// The topics that are watched.
#[derive(Debug, Default)]
pub(super) struct PartitionWatcher {
    /// An entry ends with its task.
    topics: Mutex<HashMap<Arc<str>, watch::Sender<Partitions>>>,
}

impl Cluster {
    /// Watches the partitions of a topic, of which the caller knows `known`. They are asked for every [`INTERVAL`] as
    /// long as somebody watches.
    pub(crate) fn watch_partitions(
        self: &Arc<Self>,
        topic: &Arc<str>,
        known: Partitions,
    ) -> watch::Receiver<Partitions> {
        let mut topics = self.partitions.topics.lock();
        if let Some(partitions) = topics.get(topic) {
            let mut watched = partitions.subscribe();
            // The caller can know more or less than the others.
            watched.mark_changed();
            return watched;
        }
        let (partitions, watched) = watch::channel(known);
        topics.insert(Arc::clone(topic), partitions);
        tokio::spawn(ask(Arc::downgrade(self), Arc::clone(topic)));
        watched
    }
}

impl PartitionWatcher {
    /// Ends a topic that nobody watches.
    fn is_over(&self, topic: &str) -> bool {
        let mut topics = self.topics.lock();
        let is_over = topics.get(topic).is_none_or(watch::Sender::is_closed);
        if is_over {
            topics.remove(topic);
        }
        is_over
    }

    fn set(&self, topic: &str, now: Partitions) {
        if let Some(partitions) = self.topics.lock().get(topic) {
            partitions.send_if_modified(|known| {
                let is_new = *known != now;
                *known = now;
                is_new
            });
        }
    }
}

/// Asks for a topic's partitions until nobody watches.
async fn ask(cluster: Weak<Cluster>, topic: Arc<str>) {
    loop {
        sleep(INTERVAL).await;
        let Some(cluster) = cluster.upgrade() else { return };
        if cluster.partitions.is_over(&topic) {
            return;
        }
        // An error is told by the reads.
        if let Ok(description) = cluster.backend().partitions(ClientKey::default(), &topic).await {
            let numbers = description.partitions.iter().map(|described| described.partition).collect();
            cluster.partitions.set(&topic, Partitions { topic_id: description.topic_id, numbers });
        }
    }
}

/// The time until new partitions are noticed.
const INTERVAL: Duration = Duration::from_secs(5);

//! Consumers of a cluster: members of groups that read for clients which have no session, as REST proxies have them.
//!
//! - here: the consumers at this bridge by group and instance, their limits, and their end
//! - `consumer`: one consumer, its membership; `subscription` and `commits` below it
//! - `poll`: the records since the last poll, through the door as for every read
//! - `positions`: its positions as values, and what the client surely has
//! - `settings`: what its group keeps for the bridge that takes it over; `pattern`: patterns of topics
//!
//! A consumer lives at one bridge. Its name, settings and commits are in its group, so another bridge takes it over when
//! it gets a request for it: it joins with the same name, by which the group fences the one here.

mod consumer;
mod error;
mod pattern;
mod poll;
mod positions;
mod settings;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use sluicegate_backend::groups::{Ended, Member};
use sluicegate_backend::{CommandError, Fault};
use sluicegate_fair_share::{Holder, Ledger, Permit, Permits};
use sluicegate_protocol::error_code::INVALID_REQUEST;
use sluicegate_telemetry::metrics::SessionEnd;
use tokio::runtime::Handle;
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

pub use self::consumer::{Consumer, LogEnd, MAX_LOGS, MAX_TOPICS, Subscribed};
pub use self::error::ConsumerError;
pub use self::pattern::MAX_PATTERN;
pub use self::poll::{Polled, Receipt};
pub use self::settings::{ConsumerSettings, NewConsumer, Reset};

pub(crate) use self::consumer::{Held, Shown, membership, not_assigned};
pub(crate) use self::settings::Stored;
use crate::cluster::Cluster;

/// The consumers of a cluster at this bridge.
pub(crate) struct Consumers {
    limits: ConsumerLimits,
    open: Mutex<Open>,
    /// Held while they are stopped.
    stopping: tokio::sync::Mutex<()>,
    /// Members that leave their groups.
    leaving: TaskTracker,
}

#[derive(Default)]
struct Open {
    /// By group and instance.
    consumers: BTreeMap<Key, Arc<Consumer>>,
    /// Whether a task looks after them.
    is_swept: bool,
}

type Key = (Arc<str>, Arc<str>);

/// The limits of the consumers of all clusters. Clones share them.
#[derive(Debug, Clone)]
pub struct ConsumerLimits {
    permits: Arc<Permits>,
    idle_millis: Arc<AtomicU64>,
}

impl ConsumerLimits {
    /// So many consumers, which end after they were not used for so long.
    pub fn new(max: usize, idle_timeout: Duration) -> Self {
        let limits = Self { permits: Permits::new(Ledger::new(max)), idle_millis: Arc::default() };
        limits.set(max, idle_timeout);
        limits
    }

    /// Changes the limits. Consumers above them stay.
    pub fn set(&self, max: usize, idle_timeout: Duration) {
        self.permits.set_max(max);
        let millis = u64::try_from(idle_timeout.as_millis()).unwrap_or(u64::MAX);
        self.idle_millis.store(millis, Ordering::Relaxed);
    }

    /// Changes whether there are several clusters.
    pub fn set_has_clusters(&self, has_clusters: bool) {
        self.permits.set_has_clusters(has_clusters);
    }

    /// A place for one more consumer of a client.
    ///
    /// # Errors
    /// Others have all places, or the client its share.
    pub(crate) fn acquire(&self, holder: Holder) -> Result<Permit, ConsumerError> {
        let permit = self.permits.try_acquire(holder, 1);
        permit.ok_or_else(|| ConsumerError::Limit { max: self.permits.max() })
    }

    pub(crate) fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.idle_millis.load(Ordering::Relaxed))
    }
}

impl Consumers {
    pub(crate) fn new(limits: ConsumerLimits) -> Self {
        Self {
            limits,
            open: Mutex::default(),
            stopping: tokio::sync::Mutex::default(),
            leaving: TaskTracker::new(),
        }
    }

    pub(crate) fn limits(&self) -> &ConsumerLimits {
        &self.limits
    }

    /// The consumer of this name, as the group knows it now; None: its membership has ended.
    ///
    /// # Errors
    /// The cluster has refused the membership, which is told once.
    pub(crate) async fn confirmed(
        &self,
        group: &str,
        instance: &str,
    ) -> Result<Option<Arc<Consumer>>, ConsumerError> {
        let key = (Arc::from(group), Arc::from(instance));
        let Some(consumer) = self.open.lock().consumers.get(&key).cloned() else { return Ok(None) };
        consumer.confirm().await;
        let Some(ended) = consumer.ended() else { return Ok(Some(consumer)) };
        self.remove(&consumer);
        match ended {
            Ended::Refused(error) => Err(error.into()),
            Ended::Left | Ended::Fenced => Ok(None),
        }
    }

    /// Whether there is a consumer of this name, whose membership has not ended.
    pub(crate) fn has(&self, group: &str, instance: &str) -> bool {
        let key = (Arc::from(group), Arc::from(instance));
        self.open.lock().consumers.get(&key).is_some_and(|consumer| consumer.ended().is_none())
    }

    /// Removes the consumer, unless another one has its name by now.
    pub(crate) fn remove(&self, consumer: &Arc<Consumer>) {
        let key = (Arc::clone(&consumer.group), Arc::clone(&consumer.instance));
        let mut open = self.open.lock();
        if open.consumers.get(&key).is_some_and(|known| Arc::ptr_eq(known, consumer)) {
            open.consumers.remove(&key);
        }
    }

    fn all(&self) -> Vec<Arc<Consumer>> {
        self.open.lock().consumers.values().cloned().collect()
    }

    /// Lets a member leave its group, which nobody waits for but the end of the bridge.
    pub(crate) fn leave(&self, member: Arc<dyn Member>) {
        if let Ok(runtime) = Handle::try_current() {
            self.leaving.spawn_on(async move { member.leave().await }, &runtime);
        }
    }

    /// Stops all of them: what clients have is committed, and nobody leaves, because another bridge takes them over. Waits
    /// for members that leave.
    ///
    /// # Cancel safety
    /// A drop can leave some without a commit.
    pub(crate) async fn stop(&self) {
        let _one = self.stopping.lock().await;
        let consumers = std::mem::take(&mut self.open.lock().consumers);
        join_all(consumers.values().map(|consumer| async {
            consumer.settle().await;
            consumer.stop().await;
        }))
        .await;
        self.leaving.close();
        self.leaving.wait().await;
    }
}

impl Cluster {
    /// Adds a consumer that joins its group, unless there is one of its name by now: that one is given.
    ///
    /// # Errors
    /// The bridge drains, or the cluster has no groups.
    pub(crate) fn add_consumer(
        self: &Arc<Self>,
        key: Key,
        make: impl FnOnce() -> Result<Consumer, ConsumerError>,
    ) -> Result<Added, ConsumerError> {
        let mut open = self.consumers.open.lock();
        if self.drain.has_begun() {
            return Err(draining().into());
        }
        if let Some(known) = open.consumers.get(&key) {
            return Ok(Added::Known(Arc::clone(known)));
        }
        let consumer = Arc::new(make()?);
        open.consumers.insert(key, Arc::clone(&consumer));
        if !std::mem::replace(&mut open.is_swept, true) {
            tokio::spawn(Arc::clone(self).sweep());
        }
        Ok(Added::New(consumer))
    }

    /// Looks after consumers until there are none. They keep their cluster in use meanwhile.
    async fn sweep(self: Arc<Self>) {
        loop {
            tokio::select! {
                biased;
                () = self.drain.begun() => return self.consumers.stop().await,
                () = sleep(SWEEP) => {}
            }
            let idle_timeout = self.consumers.limits.idle_timeout();
            for consumer in self.consumers.all() {
                // A refusal waits for the next request, which it is told to.
                let is_over = consumer.ended().is_some_and(|ended| !matches!(ended, Ended::Refused(_)));
                let is_idle = consumer.is_idle(idle_timeout);
                let ended = consumer.listed().ended();
                let is_replaced = !Arc::ptr_eq(&consumer.backend, &self.backend());
                if !(is_over || is_idle || ended.is_some() || is_replaced) {
                    consumer.auto_commit();
                    continue;
                }
                self.consumers.remove(&consumer);
                if let Some(reason) = ended.or(is_idle.then_some(SessionEnd::Silent)) {
                    consumer.listed().log_end(reason);
                }
                tokio::spawn(async move {
                    match () {
                        () if is_over => {}
                        () if is_replaced => consumer.stop().await,
                        () => consumer.leave().await,
                    }
                });
            }
            let mut open = self.consumers.open.lock();
            if open.consumers.is_empty() {
                open.is_swept = false;
                return;
            }
        }
    }
}

/// A consumer that was asked for.
pub(crate) enum Added {
    New(Arc<Consumer>),
    Known(Arc<Consumer>),
}

/// The error of a command for a group on a cluster without groups.
pub(crate) fn no_groups() -> CommandError {
    CommandError::new(Fault::Invalid, INVALID_REQUEST, "this cluster has no groups of consumers")
}

pub(crate) fn draining() -> CommandError {
    CommandError::new(Fault::Transient, 0, "the bridge is shutting down, try again").with_retry()
}

/// The time between two looks at all consumers of a cluster.
const SWEEP: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;

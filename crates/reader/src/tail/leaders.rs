//! Looks now and then whether callers wait at the right brokers: one that says nothing new may not lead the log any more,
//! or be a replica that gets nothing.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use sluicegate_fair_share::ClientKey;
use sluicegate_shared_log::{Event, LogKey};
use tokio::time::{Instant, sleep};

use super::{TailKey, Tails};
use crate::attempt::nearest;
use crate::brokers::Brokers;
use crate::clock::after;
use crate::topic_partition::TopicPartition;

/// The place of callers that wait for records of a log, and the epoch of its leader.
pub(crate) type Waiting = (TailKey, LogKey, i32);

/// Where callers wait for records of a log. `None` if its leader is not known now.
pub(crate) fn place(brokers: &Brokers, target: TopicPartition<'_>, committed: bool) -> Option<Waiting> {
    let leader = brokers.known_leader(target)?;
    let (role, address) = nearest(&leader);
    let key = TailKey { address, role, committed };
    Some((key, leader.log_version().key(target, committed), leader.epoch))
}

/// Lets callers read again whose logs are read elsewhere by now, until there are none.
pub(super) async fn look(tails: Weak<Tails>) {
    loop {
        sleep(INTERVAL).await;
        let Some(all) = tails.upgrade() else { return };
        let (brokers, waiting) = (Arc::clone(&all.brokers), all.all_waiting());
        drop(all);
        if waiting.is_empty() {
            return;
        }
        let topics: BTreeSet<&str> = waiting.iter().map(|(_, log)| &*log.topic).collect();
        let deadline = after(Instant::now(), brokers.config().request_timeout);
        brokers.refresh_topics(ClientKey::default(), topics, FRESH, deadline).await;
        let Some(tails) = tails.upgrade() else { return };
        for (key, log) in &waiting {
            let target = TopicPartition::parse(&log.topic, log.partition).ok();
            let place = target.and_then(|target| place(&brokers, target, log.committed));
            if place.is_none_or(|(now, of, _)| (&now, &of) != (key, log)) {
                tails.notify(key, log, Event::Read);
            }
        }
    }
}

impl Tails {
    /// The logs that callers wait for, in order. Without any, the lookout ends.
    fn all_waiting(&self) -> Vec<(TailKey, LogKey)> {
        let tails = self.by_key.lock();
        let mut waiting = Vec::new();
        for (key, tail) in tails.iter() {
            waiting.extend(tail.logs.keys().map(|log| (key.clone(), log.clone())));
        }
        self.has_lookout.store(!waiting.is_empty(), Ordering::Relaxed);
        // A simulated run repeats itself.
        waiting.sort_unstable();
        waiting
    }
}

/// The time between two looks.
const INTERVAL: Duration = Duration::from_secs(10);

/// Metadata of this age is new enough.
const FRESH: Duration = Duration::from_secs(5);

//! Looks now and then whether callers wait at the right brokers: one that says nothing new may not lead the log any more,
//! or be a replica that gets nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use sluicegate_fair_share::ClientKey;
use sluicegate_shared_log::{Event, LogKey};
use tokio::time::sleep;

use super::long_polls::LongPollRequest;
use super::{TailKey, Tails};
use crate::attempt::{Role, nearest};
use crate::backoff::in_future;
use crate::brokers::Brokers;
use crate::topic_partition::TopicPartition;

/// The place of callers that wait for records of a log, and the epoch of its leader.
pub(crate) type Waiting = (TailKey, LogKey, i32);

/// A log, and the lowest offset at which callers wait for it.
type Place = (LogKey, i64);

/// Where callers wait for records of a log. `None` if its leader is not known now.
pub(crate) fn place(brokers: &Brokers, target: TopicPartition<'_>, committed: bool) -> Option<Waiting> {
    let leader = brokers.known_leader(target)?;
    let (role, address) = nearest(&leader);
    let key = TailKey { address, role, committed };
    Some((key, target.key(leader.topic_id, committed), leader.epoch))
}

/// Wakes callers whose logs are read elsewhere by now. Ends when nobody waits.
pub(super) async fn look(tails: Weak<Tails>) {
    loop {
        sleep(INTERVAL).await;
        let Some(all) = tails.upgrade() else { return };
        let (brokers, waiting) = (Arc::clone(&all.brokers), all.all_waiting());
        drop(all);
        if waiting.is_empty() {
            return;
        }
        let fresh = FRESH.min(brokers.config().metadata_max_age);
        for (key, logs) in &waiting {
            // Other clients have their turn between them, and the metadata of so many topics is kept.
            for logs in logs.chunks(AT_ONCE) {
                let topics: BTreeSet<&str> = logs.iter().map(|(log, _)| &*log.topic).collect();
                let deadline = in_future(brokers.config().request_timeout);
                brokers.refresh_topics(ClientKey::default(), topics, fresh, deadline).await;
                if key.role == Role::Replica {
                    ask_for_replicas(&tails, &brokers, logs).await;
                }
                let Some(all) = tails.upgrade() else { return };
                for (log, _) in logs {
                    if place_of(&brokers, log).is_none_or(|(now, of, _)| (&now, &of) != (key, log)) {
                        all.notify(key, log, Event::Read);
                    }
                }
            }
        }
    }
}

/// Learns the preferred replicas of logs, which new metadata has made unknown, from their leaders.
async fn ask_for_replicas(tails: &Weak<Tails>, brokers: &Brokers, logs: &[Place]) {
    let mut by_leader: BTreeMap<TailKey, (Vec<Place>, Vec<i32>)> = BTreeMap::new();
    for (log, offset) in logs {
        if let Some((key, of, epoch)) = place_of(brokers, log)
            && key.role == Role::Leader
            && of == *log
        {
            let (logs, epochs) = by_leader.entry(key).or_default();
            logs.push((of, *offset));
            epochs.push(epoch);
        }
    }
    for (key, (logs, epochs)) in by_leader {
        let request = LongPollRequest { number: 0, logs, wait: Duration::ZERO, interval: Duration::ZERO };
        let Some(all) = tails.upgrade() else { return };
        let fetch = all.request(&key, &request, &epochs);
        drop(all);
        let Ok(answers) = brokers.at(&key.address).call_on_dedicated(&fetch).await else { continue };
        for ((log, _), answer) in request.logs.iter().zip(answers) {
            if let Some(node) = answer.preferred_read_replica
                && let Some(target) = TopicPartition::of(log)
            {
                brokers.redirected(target, key.role, node);
            }
        }
    }
}

fn place_of(brokers: &Brokers, log: &LogKey) -> Option<Waiting> {
    place(brokers, TopicPartition::of(log)?, log.committed)
}

impl Tails {
    /// The logs that callers wait for, in order. Without any, the lookout ends.
    fn all_waiting(&self) -> BTreeMap<TailKey, Vec<Place>> {
        let mut waiting = BTreeMap::new();
        let tails = self.by_key.lock();
        for (key, tail) in tails.iter().filter(|(_, tail)| !tail.logs.is_empty()) {
            let place = |log: &LogKey| Some((log.clone(), tail.long_polls.lowest(log)?));
            waiting.insert(key.clone(), tail.logs.keys().filter_map(place).collect());
        }
        self.has_lookout.store(!waiting.is_empty(), Ordering::Relaxed);
        drop(tails);
        // A simulated run repeats itself.
        waiting.values_mut().for_each(|logs: &mut Vec<Place>| logs.sort_unstable());
        waiting
    }
}

/// The time between two looks.
const INTERVAL: Duration = Duration::from_secs(10);

/// Metadata of this age is new enough.
const FRESH: Duration = Duration::from_secs(5);

/// Logs that are looked at without a pause.
const AT_ONCE: usize = 1_000;

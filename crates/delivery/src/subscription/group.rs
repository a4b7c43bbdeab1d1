//! The logs of a subscription that is a member of a group: the group gives and takes them.

use std::sync::Arc;
use std::time::SystemTime;

use futures_util::stream::FuturesUnordered;
use sluicegate_backend::CommandError;
use sluicegate_backend::groups::{Commit, GroupLog};

use super::Subscription;
use super::begin::{Begun, begin, retry};
use crate::cluster::Cluster;
use crate::cursor::Cursor;
use crate::cursors::Cursors;
use crate::grant::Held;
use crate::item::{Item, Place};
use crate::membership::{Change, GroupMember, Membership, share};
use crate::subscribe::{Subscribe, SubscribedTopic};

impl Subscription {
    /// The member, for commits; None: it is none.
    pub fn member(&self) -> Option<&GroupMember> {
        self.membership.as_deref().map(Membership::member)
    }

    /// Waits, while the client has no room for records, until there is something else to tell.
    ///
    /// # Cancel safety
    /// A drop has no effect.
    pub async fn attend(&mut self) {
        loop {
            self.ready(1).await;
            if self.has_items() {
                return;
            }
            // Records must not wait in memory for the client.
            self.put_back();
            tokio::select! {
                biased;
                () = regrouped(self.membership.as_deref()) => {}
                error = idle(self.membership.as_deref()) => return self.leave(error),
            }
        }
    }

    /// Waits until records have waited for the client for too long. Never, unless it is a member of a group.
    ///
    /// # Cancel safety
    /// A drop ends the wait.
    pub fn idle(&self) -> impl Future<Output = CommandError> + use<> {
        idle(self.membership.as_deref())
    }

    /// Leaves the group, and ends with this error.
    pub fn leave(&mut self, error: CommandError) {
        self.revoke();
        self.end(error);
        self.membership = None;
    }

    /// Follows the group: logs that it takes are read no more, and those that it gives are read from its commits on.
    pub(super) fn follow_group(&mut self) {
        let Some(change) = self.membership.as_deref_mut().and_then(Membership::change) else { return };
        self.revoke();
        let Some(membership) = &mut self.membership else { return };
        match change {
            Change::Revoked(None) => {}
            Change::Revoked(Some(error)) => {
                if membership.tells_outage() {
                    let place = place(membership.subscribe());
                    let outage = Item::Retrying { place, error, since: SystemTime::now() };
                    self.cursors.client.items.push_back(outage);
                }
            }
            Change::Assigned(number, logs) => {
                let (subscribe, group) = (membership.subscribe().clone(), membership.member().clone());
                let (cluster, held) = (Arc::clone(&self.cluster), Arc::clone(&self.held));
                self.restart = Some(retry(move |_| {
                    let (cluster, held) = (Arc::clone(&cluster), Arc::clone(&held));
                    begin_share(cluster, subscribe.clone(), group.clone(), (number, Arc::clone(&logs)), held)
                }));
            }
            Change::Ended(error) => self.leave(error),
        }
    }

    /// Ends the share: nothing of its logs is told from now on.
    fn revoke(&mut self) {
        let Some(membership) = &mut self.membership else { return };
        let items = membership.revoke(std::mem::take(&mut self.cursors.client.items));
        self.cursors = cursors(&self.cluster, membership.subscribe());
        self.cursors.client.items = items;
        (self.restart, self.waits) = (None, FuturesUnordered::new());
        self.progress.clear();
    }
}

impl Begun {
    /// A subscription without logs, which tells its topics.
    pub(super) fn of_member(cluster: &Cluster, subscribe: &Subscribe) -> Self {
        let mut cursors = cursors(cluster, subscribe);
        let topic = |topic: &Arc<str>| SubscribedTopic {
            topic: Arc::clone(topic),
            topic_id: None,
            partitions: Vec::new(),
        };
        let topics = subscribe.sources.iter().map(|source| topic(&source.topic)).collect();
        cursors.client.items.push_back(Item::Subscribed(topics));
        Self { cursors, waits: FuturesUnordered::new(), snapshot: None }
    }
}

/// Finds where the logs of a share begin, and tells them as such.
async fn begin_share(
    cluster: Arc<Cluster>,
    subscribe: Subscribe,
    member: GroupMember,
    (assignment, logs): (u64, Arc<[GroupLog]>),
    held: Arc<Held>,
) -> Result<Begun, CommandError> {
    let (subscribe, without) = share(&cluster, &subscribe, member.group(), &logs).await?;
    let mut begun = begin(cluster, subscribe, held, false).await?;
    let places = begun.cursors.all().iter().map(Cursor::place);
    let places = places.map(|place| ((place.topic, place.partition), place.offset));
    let begins = places.filter(|(log, offset)| *offset >= 0 && without.contains(log));
    let begins = begins.map(|(log, offset)| Commit { log, offset, metadata: Arc::from("") });
    member.begin(assignment, begins.collect()).await?;
    for item in &mut begun.cursors.client.items {
        if let Item::Subscribed(topics) = item {
            *item = Item::Assigned { assignment, topics: std::mem::take(topics) };
        }
    }
    Ok(begun)
}

/// Cursors without logs.
fn cursors(cluster: &Cluster, subscribe: &Subscribe) -> Cursors {
    let subscribe = Subscribe { sources: Vec::new(), ..subscribe.clone() };
    Cursors::new(subscribe, cluster.system, Arc::clone(&cluster.selections))
}

/// A place for what is about all of the topics.
pub(super) fn place(subscribe: &Subscribe) -> Place {
    let topic = subscribe.sources.first().map_or_else(|| Arc::from(""), |source| Arc::clone(&source.topic));
    Place { topic, partition: 0, offset: 0 }
}

/// Waits for a change of the membership. Never without one.
pub(super) fn regrouped(membership: Option<&Membership>) -> impl Future<Output = ()> + use<> {
    let changed = membership.map(Membership::changed);
    async {
        match changed {
            Some(changed) => changed.await,
            None => std::future::pending().await,
        }
    }
}

fn idle(membership: Option<&Membership>) -> impl Future<Output = CommandError> + use<> {
    let idle = membership.map(Membership::idle);
    async {
        match idle {
            Some(idle) => idle.await,
            None => std::future::pending().await,
        }
    }
}

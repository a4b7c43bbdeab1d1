//! Groups of consumers: members of ours speak Kafka's classic protocol, with which they share groups with clients of any
//! kind (KIP-62, KIP-345).
//!
//! - here: [`Kafka`] as [`Groups`]
//! - `member`: a member's task; `membership`: what it does when, as a value
//! - `assignors`: the shares of all members, if ours leads
//! - `note`: settings for the bridge that takes a member over; `recent`: those of groups that rebalance

mod assignors;
mod member;
mod membership;
mod note;
mod recent;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use sluicegate_backend::groups::{Commit, GroupLog, Groups, Member, Membership};
use sluicegate_backend::{CommandError, CommandFuture, Fault};
use sluicegate_fair_share::ClientKey;
use sluicegate_reader::{Described, GroupMember, GroupOffset, ReadError, Reader, Subscription};
use tokio::time::{Instant, sleep};

use self::member::GroupMembership;
use self::membership::{FENCED_INSTANCE_ID, REBALANCE_IN_PROGRESS, UNKNOWN_MEMBER_ID};
use self::note::Note;
pub(crate) use self::recent::Recent;
use super::incidents::Incidents;
use super::{Kafka, error};

/// Requests about groups.
#[derive(Clone)]
struct Calls {
    reader: Reader,
    incidents: Arc<Incidents>,
}

impl Calls {
    fn failed(&self, error: &ReadError) -> CommandError {
        error::of_read(error, self.incidents.of_group(error))
    }
}

impl Groups for Kafka {
    fn join(&self, source: ClientKey, membership: Membership) -> Arc<dyn Member> {
        Arc::new(GroupMembership::join(self.calls(), source, membership))
    }

    fn find<'a>(
        &'a self,
        _source: ClientKey,
        group: &'a str,
        instance: &'a str,
    ) -> CommandFuture<'a, Option<Membership>> {
        async move {
            let (calls, began, deadline) = (self.calls(), Instant::now(), deadline());
            let ours = |told| told_of(group, instance, told).map(Some);
            let mut has_waited = false;
            loop {
                let described = match calls.reader.describe_member(group, instance, deadline).await {
                    // The time was over while it was asked again.
                    Err(_) if has_waited && Instant::now() >= deadline => return Err(rebalances(group)),
                    described => described,
                };
                match described.map_err(|error| calls.failed(&error))? {
                    Described::Missing => return Ok(None),
                    Described::Subscribed(told) => return ours(told),
                    Described::Stable(members) => {
                        let told = members.iter().find(|(name, _)| name == instance);
                        let told = told.map(|(_, told)| told.clone());
                        if !self.recent.is_new(group) {
                            let ours =
                                |(name, told): &(String, Subscription)| membership(group, name, told.clone());
                            self.recent.saw(group, members.iter().filter_map(ours).collect());
                        }
                        return told.map_or(Ok(None), ours);
                    }
                    // Only a group that is stable tells. It may wait for this very member, whose bridge is gone.
                    Described::Rebalances => {
                        let is_slow = began.elapsed() >= LIVELY;
                        if is_slow && let Some(found) = self.recent.get(group, instance) {
                            return Ok(Some(found));
                        }
                        if Instant::now() >= deadline {
                            return Err(rebalances(group));
                        }
                        has_waited = true;
                        sleep(PAUSE).await;
                    }
                }
            }
        }
        .boxed()
    }

    fn committed<'a>(
        &'a self,
        _source: ClientKey,
        group: &'a str,
        logs: &'a [GroupLog],
    ) -> CommandFuture<'a, Vec<Result<Option<Commit>, CommandError>>> {
        async move {
            let calls = self.calls();
            let committed = calls.reader.committed_offsets(group, logs, deadline()).await;
            let committed = committed.map_err(|error| calls.failed(&error))?;
            let result = |of: Result<Option<GroupOffset>, ReadError>| {
                of.map(|of| of.map(commit)).map_err(|error| calls.failed(&error))
            };
            Ok(committed.into_iter().map(result).collect())
        }
        .boxed()
    }

    fn commit<'a>(
        &'a self,
        _source: ClientKey,
        group: &'a str,
        commits: &'a [Commit],
    ) -> CommandFuture<'a, Vec<Result<(), CommandError>>> {
        async move {
            let calls = self.calls();
            let offsets: Vec<_> = commits.iter().map(offset).collect();
            let nobody = GroupMember::new(group.into(), None);
            match calls.reader.commit_offsets(&nobody, &offsets, deadline()).await {
                Ok(results) => {
                    Ok(results.into_iter().map(|of| of.map_err(|error| calls.failed(&error))).collect())
                }
                Err(error) if error.code() == UNKNOWN_MEMBER_ID => {
                    let text = format!("group {group} has members, and takes commits from them alone");
                    Err(CommandError::new(Fault::Rejected, UNKNOWN_MEMBER_ID.into(), text))
                }
                Err(error) => Err(calls.failed(&error)),
            }
        }
        .boxed()
    }
}

impl Kafka {
    fn calls(&self) -> Calls {
        Calls { reader: self.reader.clone(), incidents: Arc::clone(&self.incidents) }
    }
}

/// `None`: that of a member of another program.
fn membership(group: &str, instance: &str, told: Subscription) -> Option<Membership> {
    let Subscription { mut topics, rack } = told;
    let Note { session_timeout, settings, .. } = Note::decode(&rack?)?;
    topics.sort_unstable();
    let (group, instance, topics) = (group.into(), Some(instance.into()), topics.into());
    Some(Membership { group, instance, topics, settings, session_timeout })
}

/// # Errors
/// It is that of a member of another program.
fn told_of(group: &str, instance: &str, told: Subscription) -> Result<Membership, CommandError> {
    membership(group, instance, told).ok_or_else(|| {
        let text = format!("instance {instance} of group {group} is a member that no bridge has made");
        CommandError::new(Fault::Rejected, FENCED_INSTANCE_ID.into(), text)
    })
}

fn rebalances(group: &str) -> CommandError {
    let text = format!("group {group} rebalances");
    CommandError::new(Fault::Transient, REBALANCE_IN_PROGRESS.into(), text).with_retry()
}

fn offset(Commit { log: (topic, partition), offset, metadata }: &Commit) -> GroupOffset {
    let (topic, metadata) = (Arc::clone(topic), Arc::clone(metadata));
    GroupOffset { topic, partition: *partition, offset: *offset, metadata }
}

fn commit(GroupOffset { topic, partition, offset, metadata }: GroupOffset) -> Commit {
    Commit { log: (topic, partition), offset, metadata }
}

fn deadline() -> Instant {
    Instant::now().checked_add(PATIENCE).unwrap_or_else(Instant::now)
}

/// The time for a request about a group, with the search for its coordinator.
const PATIENCE: Duration = Duration::from_secs(10);

/// The time that a rebalance takes if all members are there: they learn of it within 3 s.
const LIVELY: Duration = Duration::from_secs(4);

/// The time between two questions to a group that rebalances.
const PAUSE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn members_of_ours_are_told_from_others() {
        let settings = Bytes::from_static(b"settings");
        let note = Note { number: 7, session_timeout: Duration::from_secs(6), settings: settings.clone() };
        let told = |rack: Option<&str>| Subscription {
            topics: vec!["u".into(), "t".into()],
            rack: rack.map(Arc::from),
        };
        let found = membership("g", "i", told(Some(&note.encode()))).expect("one of ours");
        assert_eq!((&*found.group, found.instance.as_deref()), ("g", Some("i")));
        assert_eq!(*found.topics, ["t".into(), "u".into()]);
        assert_eq!((found.settings, found.session_timeout), (settings, Duration::from_secs(6)));
        for foreign in [
            None,
            Some("rack"),
            Some("sluicegate-1:7:6000"),
            Some("sluicegate-1:7:6000:="),
            Some("sluicegate-2:7:6000:"),
        ] {
            assert_eq!(membership("g", "i", told(foreign)), None, "{foreign:?}");
        }
    }
}

//! Consumers in groups: the client needs the right to the group, and to each topic that it reads there.

use std::sync::Arc;

use sluicegate_backend::groups::{Commit, GroupLog, Membership};
use sluicegate_backend::{CommandError, Fault};
use sluicegate_protocol::error_code::{GROUP_AUTHORIZATION_FAILED, INVALID_REQUEST};
use sluicegate_rights::name::{CHARACTERS, is_topic};
use sluicegate_telemetry::metrics::Kind;
use tokio::sync::OwnedSemaphorePermit;

use super::Grant;
use crate::cluster::{CONSUME, Cluster, escape_for_message};
use crate::consumers::{
    Added, Consumer, ConsumerError, Held, NewConsumer, Shown, Stored, draining, membership, no_groups,
};
use crate::lag::Progress;
use crate::membership::{GroupMember, Membership as GroupMembership};
use crate::subscribe::Subscribe;
use crate::{ClientKind, OpenClients};

impl Grant {
    /// Creates a consumer, which joins its group.
    ///
    /// # Errors
    /// The group has one of this name, here or at another bridge; a limit is reached; or the client cannot consume in
    /// the group.
    ///
    /// # Cancel safety
    /// After a drop, the consumer may have been created.
    pub async fn create_consumer(
        &self,
        group: &str,
        NewConsumer { instance, settings }: NewConsumer,
    ) -> Result<Arc<Consumer>, ConsumerError> {
        self.begin_consumer_command(group).await?;
        let name: Arc<str> = match &instance {
            Some(name) if !is_topic(name) => {
                let message = format!("name {}: expected {CHARACTERS}", escape_for_message(name));
                return Err(ConsumerError::Invalid(message));
            }
            Some(name) => name.as_str().into(),
            None => random_name(),
        };
        // Nobody has a random name. But a group that is asked before it rebalances for the newcomer tells who its members are,
        // which must be known if their bridge is gone.
        let is_here = self.cluster.consumers.has(group, &name);
        if is_here || self.find(group, &name).await?.is_some() {
            return Err(ConsumerError::Taken);
        }
        let stored = Stored::new(settings, None);
        let membership = membership(&Arc::from(group), &name, [].into(), &stored)?;
        match self.add_consumer(name, membership, stored)? {
            Added::New(consumer) => Ok(consumer),
            Added::Known(_) => Err(ConsumerError::Taken),
        }
    }

    /// The consumer of this name, here or taken over from another bridge: that one ends, and reading goes on from what
    /// the group has committed.
    ///
    /// # Errors
    /// There is none; a limit is reached; or the client cannot consume in the group.
    ///
    /// # Cancel safety
    /// After a drop, it may have been taken over.
    pub async fn consumer(&self, group: &str, instance: &str) -> Result<Arc<Consumer>, ConsumerError> {
        self.check_consume(group)?;
        if let Some(consumer) = self.cluster.consumers.confirmed(group, instance).await? {
            return Ok(consumer);
        }
        if !is_topic(instance) {
            return Err(ConsumerError::Unknown);
        }
        self.begin_consumer_command(group).await?;
        let found = self.find(group, instance).await?.ok_or(ConsumerError::Unknown)?;
        // Another program's member is not to be fenced.
        let stored = Stored::parse(&found.settings).ok_or(ConsumerError::Unknown)?;
        let name = Arc::from(instance);
        let membership = membership(&found.group, &name, found.topics, &stored)?;
        match self.add_consumer(name, membership, stored)? {
            Added::New(consumer) | Added::Known(consumer) => Ok(consumer),
        }
    }

    /// Ends a consumer: what its client surely has is committed, and it leaves its group.
    ///
    /// # Cancel safety
    /// It ends all the same.
    pub async fn delete_consumer(&self, consumer: &Arc<Consumer>) -> Result<(), ConsumerError> {
        self.begin_consumer_command(consumer.group()).await?;
        self.cluster.consumers.remove(consumer);
        consumer.leave().await;
        Ok(())
    }

    /// The last commit of a group in each of these logs; None: nothing.
    ///
    /// # Errors
    /// The whole command is refused. Each log has its own result.
    ///
    /// # Cancel safety
    /// A drop abandons the read.
    pub async fn committed(
        &self,
        group: &str,
        logs: &[GroupLog],
    ) -> Result<Vec<Result<Option<Commit>, CommandError>>, ConsumerError> {
        self.begin_consumer_command(group).await?;
        self.check_reads(logs.iter().map(|(topic, _)| &**topic))?;
        let backend = self.cluster.backend();
        let groups = backend.groups().ok_or_else(no_groups)?;
        Ok(groups.committed(self.client, group, logs).await?)
    }

    /// Commits positions for a group without a consumer. The group must have no members.
    ///
    /// # Errors
    /// The whole command is refused. Each commit has its own result.
    ///
    /// # Cancel safety
    /// The commits can be made all the same.
    pub async fn commit(
        &self,
        group: &str,
        commits: &[Commit],
    ) -> Result<Vec<Result<(), CommandError>>, ConsumerError> {
        self.begin_consumer_command(group).await?;
        self.check_reads(commits.iter().map(|commit| &*commit.log.0))?;
        let backend = self.cluster.backend();
        let groups = backend.groups().ok_or_else(no_groups)?;
        let results = groups.commit(self.client, group, commits).await?;
        self.metrics().consumers.committed(results.iter().filter(|result| result.is_ok()).count());
        Ok(results)
    }

    /// Commits positions for the group of a subscription. Those of logs that it does not have now are refused, and so are
    /// all with the number of an assignment that is not the current one.
    ///
    /// # Errors
    /// The whole command is refused. Each commit has its own result.
    ///
    /// # Cancel safety
    /// The commits can be made all the same.
    pub async fn commit_of(
        &self,
        member: &GroupMember,
        assignment: Option<u64>,
        commits: &[Commit],
    ) -> Result<Vec<Result<(), CommandError>>, CommandError> {
        self.begin_consumer_command(member.group()).await?;
        let topics = commits.iter().map(|commit| &*commit.log.0);
        if let Some(topic) = topics.clone().find(|topic| !is_topic(topic)) {
            let message = format!("topic {}: expected {CHARACTERS}", escape_for_message(topic));
            return Err(CommandError::new(Fault::Invalid, INVALID_REQUEST, message));
        }
        if let Some(Commit { offset, .. }) = commits.iter().find(|commit| commit.offset < 0) {
            let message = format!("offset {offset}: expected 0 or more");
            return Err(CommandError::new(Fault::Invalid, INVALID_REQUEST, message));
        }
        self.check_reads(topics)?;
        self.cluster.measured(Kind::Consume, member.commit(assignment, commits)).await
    }

    /// Joins a group for a subscription.
    ///
    /// # Errors
    /// The bridge drains, a limit is reached, or the cluster has no groups.
    pub(super) fn join(&self, group: &str, subscribe: Subscribe) -> Result<GroupMembership, CommandError> {
        if self.cluster.drain.has_begun() {
            return Err(draining());
        }
        let held = self.hold_consumer().map_err(|refused| match refused {
            ConsumerError::Command(error) => error,
            refused => CommandError::new(Fault::Transient, 0, refused.to_string()).with_retry(),
        })?;
        GroupMembership::join(&self.cluster, group, subscribe, held)
    }

    /// Checks that the client can consume in a group.
    ///
    /// # Errors
    /// It cannot.
    pub fn check_consume(&self, group: &str) -> Result<(), CommandError> {
        self.can_consume(group).inspect_err(|error| self.count_denied(Kind::Consume, error))
    }

    /// The same without counting anything.
    pub(super) fn can_consume(&self, group: &str) -> Result<(), CommandError> {
        if (1..=MAX_GROUP).contains(&group.len()) {
            self.standing.held().consumable().and_then(|groups| {
                let denied = || {
                    let group = escape_for_message(group);
                    let message = format!("the client may not consume in group {group} on this route");
                    CommandError::forbidden(GROUP_AUTHORIZATION_FAILED, message).lacking(CONSUME, None)
                };
                if groups.contains(group) { Ok(()) } else { Err(denied()) }
            })
        } else {
            let message = format!("the group's name has {} bytes: expected 1 to {MAX_GROUP}", group.len());
            Err(CommandError::new(Fault::Invalid, INVALID_REQUEST, message))
        }
    }

    /// Counts a command of a consumer, and checks that the client can consume in its group.
    pub(crate) async fn begin_consumer_command(&self, group: &str) -> Result<(), CommandError> {
        self.count_read(Kind::Consume).await?;
        self.check_consume(group)
    }

    /// Checks that the client can read topics.
    pub(crate) fn check_reads<'a>(
        &self,
        mut topics: impl Iterator<Item = &'a str>,
    ) -> Result<(), CommandError> {
        let checked = topics.try_for_each(|topic| self.check_read(topic));
        checked.inspect_err(|error| self.count_denied(Kind::Consume, error))
    }

    /// The names of the client's topics, as part of a command.
    pub(crate) async fn readable_topics(&self) -> Result<Vec<String>, CommandError> {
        let held = self.standing.held();
        self.topics_in(held.readable(None)?).await
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    async fn find(&self, group: &str, instance: &str) -> Result<Option<Membership>, CommandError> {
        let backend = self.cluster.backend();
        backend.groups().ok_or_else(no_groups)?.find(self.client, group, instance).await
    }

    /// Adds a consumer with this membership, counted to the client.
    fn add_consumer(
        &self,
        instance: Arc<str>,
        membership: Membership,
        stored: Stored,
    ) -> Result<Added, ConsumerError> {
        let held = self.hold_consumer()?;
        let metrics = self.metrics().consumers.clone();
        let key = (Arc::clone(&membership.group), Arc::clone(&instance));
        self.cluster.add_consumer(key.clone(), || {
            let backend = self.cluster.backend();
            let progress = Arc::new(Progress::new(0, Some((Arc::clone(&key.0), Arc::clone(&self.route)))));
            self.cluster.subscriptions.add(&progress);
            // The requests of a consumer are clients of their own.
            let grant = Self { activity: Arc::new(self.activity.beside()), ..self.clone() };
            grant.activity.subscribed(&progress);
            let listed = OpenClients::list(&self.cluster, ClientKind::Consumer, Some(key), grant);
            let held = (held, Shown { listed, progress });
            let consumer = Consumer::join(backend, self.client, membership, instance, stored, metrics, held);
            consumer.ok_or_else(|| no_groups().into())
        })
    }

    /// The places of one more consumer of the client.
    fn hold_consumer(&self) -> Result<Held, ConsumerError> {
        let permit = self.cluster.consumers.limits().acquire(self.holder())?;
        let place: Option<OwnedSemaphorePermit> =
            self.usage.as_ref().map(|usage| usage.consume()).transpose()?;
        Ok(Held { _permit: permit, _place: place, _open: self.metrics().consumers.open() })
    }
}

/// A name that no other consumer has.
fn random_name() -> Arc<str> {
    format!("sluicegate-{:032x}", fastrand::u128(..)).into()
}

/// The longest name of a group in bytes.
const MAX_GROUP: usize = 249;

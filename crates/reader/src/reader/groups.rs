//! Groups: their members, and the positions that they keep.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use sluicegate_fair_share::{ClientKey, Holder};
use sluicegate_shared_log::Log;
use tokio::time::Instant;

use super::Reader;
use crate::api::{
    ConsumerGroupDescribeRequest, DescribeGroupsRequest, FetchedOffset, GroupMember, GroupOffset,
    HeartbeatRequest, JoinGroupRequest, JoinedMember, LeaveGroupRequest, OffsetCommitRequest,
    OffsetFetchRequest, Subscription, SyncGroupRequest,
};
use crate::broker::Broker;
use crate::coordinator::GroupCall;
use crate::error::{ConnectionError, ErrorCode, ReadError};
use crate::topic_partition::TopicPartition;

/// How a member joins.
#[derive(Debug, Clone, Copy)]
pub struct Join<'a> {
    /// The member.
    pub member: &'a GroupMember,
    /// The time without a heartbeat after which the group gives its logs to others.
    pub session_timeout: Duration,
    /// The time that the group waits for a member to join the next generation.
    pub rebalance_timeout: Duration,
    /// The protocols by which it can share, the one that it likes most first.
    pub protocols: &'a [&'static str],
    /// An encoded [`Subscription`](crate::Subscription).
    pub subscription: &'a Bytes,
}

/// The coordinator's answer to a member that joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Joined {
    /// It must join again, with this id.
    WithId(Arc<str>),
    /// It is a member.
    Member {
        /// Its id.
        id: Arc<str>,
        /// The group's generation.
        generation: i32,
        /// The protocol by which the group shares.
        protocol: String,
        /// All members, if it is the leader.
        leads: Option<Vec<JoinedMember>>,
        /// Whether the leader must not assign anew.
        skips_assignment: bool,
    },
}

/// An instance of a group, as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Described {
    /// The group has no such member.
    Missing,
    /// The group rebalances, and does not tell what its member wants.
    Rebalances,
    /// The wishes of the member.
    Subscribed(Subscription),
    /// The same, and those of all instances of a group that is stable, by their names.
    Stable(Arc<[(String, Subscription)]>),
}

/// A group as DescribeGroups tells it; `None`: that request is not for it.
pub(super) type ToldGroup = Option<(String, Arc<[(String, Subscription)]>)>;

impl Reader {
    /// Joins a group. The coordinator holds the request until the group's other members have joined as well.
    ///
    /// # Errors
    /// [`ReadError`], before the deadline.
    ///
    /// # Cancel safety
    /// The coordinator may have made it a member all the same.
    pub async fn join_group(
        &self,
        source: ClientKey,
        join: Join<'_>,
        deadline: Instant,
    ) -> Result<Joined, ReadError> {
        let Join { member, session_timeout, rebalance_timeout, protocols, subscription } = join;
        let holder = self.holder(source);
        let request =
            &JoinGroupRequest { member, session_timeout, rebalance_timeout, protocols, subscription };
        let send = |broker: Arc<Broker>| async move {
            // Other members can have more time.
            let answer = broker.call_join(holder, request, rebalance_timeout.max(HELD)).await?;
            Ok(match answer.error {
                Some(ErrorCode(ResponseError::MemberIdRequired)) => Ok(Joined::WithId(answer.member_id)),
                Some(code) => Err(code),
                None => Ok(Joined::Member {
                    id: answer.member_id,
                    generation: answer.generation,
                    protocol: answer.protocol,
                    leads: answer.is_leader.then_some(answer.members),
                    skips_assignment: answer.skips_assignment,
                }),
            })
        };
        self.group_call(&member.group, deadline, true)?.run(send).await
    }

    /// The logs of a member, as an encoded [`Assignment`](crate::Assignment). The leader gives those of all members. The
    /// coordinator holds the request until the leader has given them.
    ///
    /// # Errors
    /// [`ReadError`], before the deadline.
    ///
    /// # Cancel safety
    /// The coordinator may have the assignments all the same.
    pub async fn sync_group(
        &self,
        source: ClientKey,
        member: &GroupMember,
        (protocol, assignments): (&str, &[(Arc<str>, Bytes)]),
        deadline: Instant,
    ) -> Result<Bytes, ReadError> {
        let holder = self.holder(source);
        let request = &SyncGroupRequest { member, protocol, assignments };
        let send = |broker: Arc<Broker>| async move {
            let wait = deadline.saturating_duration_since(Instant::now());
            let answer = broker.call_join(holder, request, wait).await?;
            Ok(answer.error.map_or(Ok(answer.assignment), Err))
        };
        self.group_call(&member.group, deadline, true)?.run(send).await
    }

    /// Tells the coordinator that a member is alive.
    ///
    /// # Errors
    /// [`ReadError`], before the deadline.
    ///
    /// # Cancel safety
    /// Dropping the call has no effect.
    pub async fn heartbeat(&self, member: &GroupMember, deadline: Instant) -> Result<(), ReadError> {
        let request = &HeartbeatRequest(member);
        let send = |broker: Arc<Broker>| async move { Ok(broker.call(request).await?.map_or(Ok(()), Err)) };
        self.group_call(&member.group, deadline, false)?.run(send).await
    }

    /// Removes a member from its group.
    ///
    /// # Errors
    /// [`ReadError`], before the deadline.
    ///
    /// # Cancel safety
    /// The member may have left all the same.
    pub async fn leave_group(&self, member: &GroupMember, deadline: Instant) -> Result<(), ReadError> {
        let request = &LeaveGroupRequest(member);
        let send = |broker: Arc<Broker>| async move { Ok(broker.call(request).await?.map_or(Ok(()), Err)) };
        self.group_call(&member.group, deadline, false)?.run(send).await
    }

    /// Keeps positions in a group: for a member of its generation, or for none if the group has no members. Gives a
    /// result for each.
    ///
    /// # Errors
    /// [`ReadError`] of the whole group, before the deadline.
    ///
    /// # Cancel safety
    /// The positions can be kept all the same.
    pub async fn commit_offsets(
        &self,
        member: &GroupMember,
        offsets: &[GroupOffset],
        deadline: Instant,
    ) -> Result<Vec<Result<(), ReadError>>, ReadError> {
        let call = self.group_call(&member.group, deadline, false)?;
        let checked: Vec<_> = offsets.iter().map(check_offset).collect();
        let valid: Vec<_> = valid(offsets, &checked);
        if valid.is_empty() {
            return Ok(checked);
        }
        let request = &OffsetCommitRequest { member, offsets: &valid };
        let send = |broker: Arc<Broker>| async move {
            let answer = broker.call(request).await?;
            // One that is about the group is the same for each partition.
            Ok(match answer.iter().flatten().find(|code| is_about_group(**code)) {
                Some(code) => Err(*code),
                None => Ok(answer),
            })
        };
        let answered = call.run(send).await?;
        let result = |(of, code): (&GroupOffset, Option<ErrorCode>)| {
            code.map_or(Ok(()), |code| Err(error_of(code, &of.topic, of.partition)))
        };
        Ok(merge(checked, valid.iter().zip(answered).map(result)))
    }

    /// The position that a group keeps of each log, in their order; `None`: none.
    ///
    /// # Errors
    /// [`ReadError`] of the whole group, before the deadline.
    ///
    /// # Cancel safety
    /// Dropping the call has no effect.
    pub async fn committed_offsets(
        &self,
        group: &str,
        logs: &[(Arc<str>, i32)],
        deadline: Instant,
    ) -> Result<Vec<Result<Option<GroupOffset>, ReadError>>, ReadError> {
        let call = self.group_call(group, deadline, false)?;
        let check = |(topic, partition): &(Arc<str>, i32)| {
            TopicPartition::parse(Log { topic, partition: *partition }).map(|_| None)
        };
        let checked: Vec<_> = logs.iter().map(check).collect();
        let valid = valid(logs, &checked);
        if valid.is_empty() {
            return Ok(checked);
        }
        let request = &OffsetFetchRequest { group, logs: &valid };
        let send = |broker: Arc<Broker>| async move {
            let answer = broker.call(request).await?;
            // A transaction is about to commit one: soon there is another answer.
            let unstable = Some(ErrorCode(ResponseError::UnstableOffsetCommit));
            let unstable = answer.offsets.iter().map(|of| of.error).find(|error| *error == unstable);
            Ok(answer.error.or(unstable.flatten()).map_or(Ok(answer.offsets), Err))
        };
        let answered = call.run(send).await?;
        let result = |((topic, partition), of): (&(Arc<str>, i32), FetchedOffset)| {
            let FetchedOffset { error, offset, metadata } = of;
            let kept = GroupOffset { topic: Arc::clone(topic), partition: *partition, offset, metadata };
            error.map_or(Ok((offset >= 0).then_some(kept)), |code| Err(error_of(code, topic, *partition)))
        };
        Ok(merge(checked, valid.iter().zip(answered).map(result)))
    }

    /// The wishes of the member of this instance.
    ///
    /// # Errors
    /// [`ReadError`], before the deadline.
    ///
    /// # Cancel safety
    /// Dropping the call has no effect.
    pub async fn describe_member(
        &self,
        group: &str,
        instance: &str,
        deadline: Instant,
    ) -> Result<Described, ReadError> {
        // The answer has all members, and is shared by all who take one of them over.
        let describe = || self.describe_group(group, deadline);
        let told = self.inner.groups.run(group.to_owned(), |_| false, || None, describe).await?;
        match told {
            Some((state, members)) if state == "Stable" => Ok(Described::Stable(members)),
            Some((_, members)) if members.iter().any(|(name, _)| name == instance) => {
                Ok(Described::Rebalances)
            }
            // As brokers tell of groups that DescribeGroups is not for.
            Some((state, _)) if state != "Dead" => Ok(Described::Missing),
            _ => self.describe_new_member(group, instance, deadline).await,
        }
    }

    async fn describe_group(&self, group: &str, deadline: Instant) -> Result<ToldGroup, ReadError> {
        let request = &DescribeGroupsRequest { group };
        let wishes = |(name, told): (String, Bytes)| (name, Subscription::decode(told).unwrap_or_default());
        let send = |broker: Arc<Broker>| async move {
            let answer = broker.call(request).await?;
            Ok(match answer.error {
                Some(ErrorCode(ResponseError::GroupIdNotFound)) => Ok(None),
                Some(code) => Err(code),
                None => Ok(Some((answer.state, answer.members.into_iter().map(wishes).collect()))),
            })
        };
        self.group_call(group, deadline, false)?.run(send).await
    }

    /// The same in a group that has members of KIP-848's protocol.
    async fn describe_new_member(
        &self,
        group: &str,
        instance: &str,
        deadline: Instant,
    ) -> Result<Described, ReadError> {
        let request = &ConsumerGroupDescribeRequest { group, instance };
        let send = |broker: Arc<Broker>| async move {
            let answer = match broker.call(request).await {
                // Brokers before Kafka 3.7 do not know such groups.
                Err(ConnectionError::Protocol { .. }) => return Ok(Ok(Described::Missing)),
                answer => answer?,
            };
            Ok(match (answer.error, answer.subscription) {
                (None, Some(subscription)) => Ok(Described::Subscribed(subscription)),
                (None, None)
                | (Some(ErrorCode(ResponseError::GroupIdNotFound | ResponseError::UnsupportedVersion)), _) => {
                    Ok(Described::Missing)
                }
                (Some(code), _) => Err(code),
            })
        };
        self.group_call(group, deadline, false)?.run(send).await
    }

    fn group_call<'a>(
        &'a self,
        group: &'a str,
        deadline: Instant,
        is_held: bool,
    ) -> Result<GroupCall<'a>, ReadError> {
        if group.is_empty() || group.len() > MAX_TEXT {
            let detail = format!("group name of {} bytes: expected 1 to {MAX_TEXT}", group.len());
            return Err(ReadError::Request { code: ErrorCode(ResponseError::InvalidGroupId), detail });
        }
        let (brokers, coordinators) = (&*self.inner.brokers, &self.inner.coordinators);
        Ok(GroupCall { brokers, coordinators, group, deadline, is_held })
    }

    pub(super) fn holder(&self, source: ClientKey) -> Holder {
        Holder { cluster: Arc::as_ptr(&self.inner.brokers).addr(), source }
    }
}

fn check_offset(of: &GroupOffset) -> Result<(), ReadError> {
    TopicPartition::parse(Log { topic: &of.topic, partition: of.partition })?;
    if of.metadata.len() > MAX_TEXT {
        let detail = format!("metadata of {} bytes: expected at most {MAX_TEXT}", of.metadata.len());
        return Err(ReadError::Request { code: ErrorCode(ResponseError::OffsetMetadataTooLarge), detail });
    }
    Ok(())
}

/// The ones that a broker can be asked about.
fn valid<T: Clone, U>(all: &[T], checked: &[Result<U, ReadError>]) -> Vec<T> {
    all.iter().zip(checked).filter(|(_, checked)| checked.is_ok()).map(|(one, _)| one.clone()).collect()
}

/// The results of those that were valid, in the places that they had.
fn merge<T>(
    checked: Vec<Result<T, ReadError>>,
    answered: impl IntoIterator<Item = Result<T, ReadError>>,
) -> Vec<Result<T, ReadError>> {
    let mut answered = answered.into_iter();
    checked
        .into_iter()
        .map(|checked| checked.and_then(|valid| answered.next().unwrap_or(Ok(valid))))
        .collect()
}

fn error_of(code: ErrorCode, topic: &str, partition: i32) -> ReadError {
    ReadError::Broker { code, detail: format!("partition {partition} of topic {topic}") }
}

fn is_about_group(code: ErrorCode) -> bool {
    matches!(
        code.0,
        ResponseError::CoordinatorLoadInProgress
            | ResponseError::CoordinatorNotAvailable
            | ResponseError::NotCoordinator
            | ResponseError::IllegalGeneration
            | ResponseError::InvalidGroupId
            | ResponseError::UnknownMemberId
            | ResponseError::RebalanceInProgress
            | ResponseError::GroupAuthorizationFailed
            | ResponseError::FencedInstanceId
            | ResponseError::GroupIdNotFound
            | ResponseError::StaleMemberEpoch
    )
}

/// The time after which a join is sent again, in case that the broker has lost it.
const HELD: Duration = Duration::from_secs(60);

/// The longest text that each version of a request can have, in bytes.
const MAX_TEXT: usize = 32_767;

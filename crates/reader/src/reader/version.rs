//! Tells whether the records of a log may have changed.

use std::time::Duration;

use sluicegate_fair_share::ClientKey;
use sluicegate_shared_log::{Log, Version};
use tokio::time::timeout;

use super::{Inner, Reader};
use crate::api::{ConfigAnswer, ConfigRequest, EpochEndAnswer, EpochEndRequest, Resource};
use crate::attempt::{Attempt, Reply};
use crate::backoff::in_future;
use crate::backoff::jitter;
use crate::broker_failures::BrokerFailures;
use crate::error::ReadError;
use crate::leader_call::{Recipient, leader_call};
use crate::metadata_cache::LastLeader;
use crate::topic_partition::TopicPartition;

impl Reader {
    /// Changes whenever the records of a log may have changed. `None` if its topic is not known; without a leader, or
    /// for a partition that the topic does not have, it has the topic's id only. It can be out of date, but is not
    /// forgotten because of its age: a caller could not tell then whether another leader was elected meanwhile.
    pub fn version(&self, log: Log<'_>) -> Option<Version> {
        self.inner.brokers.last_version(TopicPartition::parse(log).ok()?)
    }

    /// The version whose records can be given from memory. `None` if the metadata is too old to tell, or names no leader.
    pub fn fresh_version(&self, log: Log<'_>) -> Option<Version> {
        self.inner.brokers.known_version(TopicPartition::parse(log).ok()?)
    }

    /// The last leader of a partition, however old the metadata is; `None` if the partition is not known.
    pub fn last_leader(&self, log: Log<'_>) -> Option<LastLeader> {
        self.inner.brokers.last_leader(TopicPartition::parse(log).ok()?)
    }

    /// Requests the metadata of a topic, so that what is [known](Self::version) of it is not older than the call.
    ///
    /// # Errors
    /// [`ReadError`], within `socket.timeout.ms`.
    ///
    /// # Cancel safety
    /// Dropping the call has no effect.
    pub async fn refresh(&self, source: ClientKey, log: Log<'_>) -> Result<(), ReadError> {
        let target = TopicPartition::parse(log)?;
        let brokers = &self.inner.brokers;
        let deadline = in_future(brokers.config().request_timeout);
        brokers.topic(source, target, Duration::ZERO, deadline).await.map(drop)
    }

    /// The time for which a compacted topic keeps a record without value, as the leader of one of its partitions tells it
    /// now (`delete.retention.ms`), whatever its `cleanup.policy` is: that can be another one a moment later.
    ///
    /// # Errors
    /// [`ReadError`], within `socket.timeout.ms`: also if the cluster's user has no right to know.
    ///
    /// # Cancel safety
    /// Dropping the call has no effect.
    pub async fn tombstone_life(&self, source: ClientKey, topic: &str) -> Result<Duration, ReadError> {
        let told = self.topic_property(source, topic, "delete.retention.ms").await?;
        // A broker that does not tell promises nothing.
        Ok(Duration::from_millis(told.and_then(|value| value.parse().ok()).unwrap_or(0)))
    }

    /// Whether records of a topic keep their own times (`message.timestamp.type`), as a leader tells it now.
    ///
    /// # Errors
    /// As [`Reader::tombstone_life`].
    ///
    /// # Cancel safety
    /// Dropping the call has no effect.
    pub async fn keeps_times(&self, source: ClientKey, topic: &str) -> Result<bool, ReadError> {
        let told = self.topic_property(source, topic, "message.timestamp.type").await?;
        Ok(told.as_deref() == Some("CreateTime"))
    }

    async fn topic_property(
        &self,
        source: ClientKey,
        topic: &str,
        name: &'static str,
    ) -> Result<Option<String>, ReadError> {
        let brokers = &self.inner.brokers;
        let partition = brokers.led_partition(topic).unwrap_or_default();
        let target = TopicPartition::parse(Log { topic, partition })?;
        let send = |recipient: Recipient| async move {
            let request = ConfigRequest { resource: Resource::Topic(target.topic()), name: Some(name) };
            let ConfigAnswer { error, properties } = recipient.send(&request).await?;
            let value = properties.into_iter().next().map(|(_, value)| value);
            Ok(error.map_or(Reply::Success(value), Reply::Error))
        };
        let deadline = in_future(brokers.config().request_timeout);
        leader_call(brokers, source, Attempt::at_leader(target, deadline, jitter), send).await
    }

    /// The offset up to which the log has the records that it had when its leader was of this epoch; `None` if the
    /// leader does not know.
    ///
    /// # Errors
    /// [`ReadError`], within `socket.timeout.ms`.
    ///
    /// # Cancel safety
    /// Dropping the call has no effect.
    pub async fn end_of_epoch(
        &self,
        source: ClientKey,
        log: Log<'_>,
        epoch: i32,
    ) -> Result<Option<i64>, ReadError> {
        let target = TopicPartition::parse(log)?;
        let Log { topic, partition } = log;
        let Inner { brokers, epoch_ends, .. } = &*self.inner;
        let send = |recipient: Recipient| async move {
            let leader_epoch = recipient.call.leader_epoch;
            let request = EpochEndRequest { topic, partition, leader_epoch, epoch };
            let EpochEndAnswer { error, offset } = recipient.send(&request).await?;
            Ok(error.map_or(Reply::Success((offset >= 0).then_some(offset)), Reply::Error))
        };
        let request = || async {
            // From when it is sent: others can share the request.
            let deadline = in_future(brokers.config().request_timeout);
            leader_call(brokers, source, Attempt::at_leader(target, deadline, jitter), send).await
        };
        let answer = epoch_ends.run((topic.to_owned(), partition, epoch), |_| false, || None, request);
        timeout(brokers.config().request_timeout, answer)
            .await
            .unwrap_or_else(|_| Err(brokers.unreachable(BrokerFailures::default())))
    }
}

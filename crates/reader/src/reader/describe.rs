//! Descriptions of a cluster and of a topic's configuration.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sluicegate_fair_share::ClientKey;
use sluicegate_shared_log::{Log, SingleFlight};
use tokio::time::{Instant, timeout};

use super::{DESCRIPTION_AGE, Reader};
use crate::api::{ConfigAnswer, ConfigRequest, Resource};
use crate::attempt::{Attempt, Reply};
use crate::backoff::{in_future, jitter};
use crate::broker_failures::BrokerFailures;
use crate::error::ReadError;
use crate::leader_call::{Recipient, leader_call};
use crate::metadata_cache::ClusterMembers;
use crate::topic_partition::TopicPartition;

/// Names and values of a topic's properties, in Kafka's order.
pub type Properties = Arc<[(String, String)]>;

/// The properties of topics that were asked for lately.
#[derive(Default)]
pub(super) struct PropertyCache {
    requests: SingleFlight<String, Result<Properties, ReadError>>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    topics: HashMap<String, (Instant, Properties)>,
    /// Of all names and values. At most [`MAX_BYTES`].
    bytes: usize,
}

impl Kept {
    fn get(&self, topic: &str) -> Option<Properties> {
        let (at, properties) = self.topics.get(topic)?;
        (at.elapsed() < MAX_AGE).then(|| Arc::clone(properties))
    }

    /// Keeps properties that were asked for at `sent`. Without room for them, all others are dropped.
    fn put(&mut self, topic: &str, properties: &Properties, sent: Instant) {
        let bytes = |topic: &str, properties: &Properties| {
            let texts = properties.iter().map(|(name, value)| name.len().saturating_add(value.len()));
            texts.fold(topic.len().saturating_add(size_of_val(&**properties)), usize::saturating_add)
        };
        if let Some((_, old)) = self.topics.remove(topic) {
            self.bytes = self.bytes.saturating_sub(bytes(topic, &old));
        }
        let more = bytes(topic, properties);
        if self.bytes.saturating_add(more) > MAX_BYTES {
            *self = Self::default();
        }
        if more <= MAX_BYTES {
            self.bytes = self.bytes.saturating_add(more);
            self.topics.insert(topic.to_owned(), (sent, Arc::clone(properties)));
        }
    }
}

impl Reader {
    /// The cluster's id and the brokers that are there, cached for a second.
    ///
    /// # Errors
    /// [`ReadError`], within `socket.timeout.ms`.
    ///
    /// # Cancel safety
    /// Dropping the call has no effect.
    pub async fn members(&self, source: ClientKey) -> Result<ClusterMembers, ReadError> {
        let brokers = &self.inner.brokers;
        brokers.members(source, DESCRIPTION_AGE, in_future(brokers.config().request_timeout)).await
    }

    /// The same as [`Reader::properties`] if they are cached.
    pub fn known_properties(&self, topic: &str) -> Option<Properties> {
        self.inner.properties.kept.lock().get(topic)
    }

    /// The properties of a topic without sensitive ones, as the leader of one of its partitions tells them, cached for
    /// 10 s. Waiting calls share a request.
    ///
    /// # Errors
    /// [`ReadError`], within `socket.timeout.ms`: also if the cluster's user has no right to know.
    ///
    /// # Cancel safety
    /// Dropping the call has no effect.
    pub async fn properties(&self, source: ClientKey, topic: &str) -> Result<Properties, ReadError> {
        let (brokers, cache) = (&self.inner.brokers, &self.inner.properties);
        let partition = brokers.led_partition(topic).unwrap_or_default();
        let target = TopicPartition::parse(Log { topic, partition })?;
        let send = |recipient: Recipient| async move {
            let request = ConfigRequest { resource: Resource::Topic(target.topic()), name: None };
            let ConfigAnswer { error, properties } = recipient.send(&request).await?;
            Ok(error.map_or_else(|| Reply::Success(properties), Reply::Error))
        };
        let request = || async {
            // From when it is sent: others can share the request.
            let (sent, deadline) = (Instant::now(), in_future(brokers.config().request_timeout));
            let attempt = Attempt::at_leader(target, deadline, jitter);
            let properties: Properties = leader_call(brokers, source, attempt, send).await?.into();
            cache.kept.lock().put(topic, &properties, sent);
            Ok(properties)
        };
        let known = || self.known_properties(topic).map(Ok);
        let answer = cache.requests.run(topic.to_owned(), |_| false, known, request);
        timeout(brokers.config().request_timeout, answer)
            .await
            .unwrap_or_else(|_| Err(brokers.unreachable(BrokerFailures::default())))
    }
}

/// The time for which the properties of a topic are cached.
const MAX_AGE: Duration = Duration::from_secs(10);

/// Names and values of all cached properties: of a thousand topics of Kafka's 40 properties each.
const MAX_BYTES: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn properties_are_kept_for_a_while_and_bounded() {
        let mut kept = Kept::default();
        let of = |bytes: usize| -> Properties { [("p".to_owned(), "x".repeat(bytes))].into() };
        kept.put("a", &of(1), Instant::now());
        tokio::time::advance(MAX_AGE - Duration::from_millis(1)).await;
        kept.put("b", &of(MAX_BYTES / 2), Instant::now());
        assert_eq!((kept.get("a"), kept.get("b")), (Some(of(1)), Some(of(MAX_BYTES / 2))));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(kept.get("a"), None, "too old");
        // The same again takes no more room, others do.
        for _ in 0..3 {
            kept.put("b", &of(MAX_BYTES / 2), Instant::now());
        }
        assert_eq!(kept.topics.len(), 2);
        kept.put("c", &of(MAX_BYTES / 2), Instant::now());
        assert!(kept.get("b").is_none() && kept.get("c").is_some() && kept.bytes <= MAX_BYTES);
        kept.put("d", &of(MAX_BYTES), Instant::now());
        assert!(kept.get("d").is_none() && kept.bytes == 0);
    }
}

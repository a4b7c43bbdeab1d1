//! Writes of idempotent producers: batches for one partition, which the leader writes once however often they are sent.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use parking_lot::Mutex;
use sluicegate_fair_share::ClientKey;
use sluicegate_shared_log::{Log, SingleFlight};
use tokio::time::{Instant, timeout, timeout_at};

use super::{DESCRIPTION_AGE, Inner, Reader};
use crate::api::{
    ConfigAnswer, ConfigRequest, DescribeProducersRequest, KnownProducer, ProduceAnswer, ProduceRequest,
    Resource,
};
use crate::attempt::{Attempt, Reply};
use crate::backoff::{in_future, jitter};
use crate::broker_failures::BrokerFailures;
use crate::error::{ErrorCode, ReadError};
use crate::leader_call::{Recipient, leader_call};
use crate::topic_partition::TopicPartition;

/// The leader's answer to a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Produced {
    /// All replicas in sync have it.
    Written {
        /// The offset of its first record; −1 if the leader does not know it any more.
        offset: i64,
        /// The leader's time of writing. −1 if the records keep their own, unless the batch was there already: it has
        /// the latest of its records then.
        appended_at: i64,
    },
    /// It does not follow what the leader has of the producer. Nothing was written.
    OutOfOrder,
    /// The producer has a later epoch. Nothing was written.
    Fenced,
    /// The topic has another id than the producer's records are known to be in. Nothing was written.
    Recreated,
}

/// A batch that was not acknowledged.
#[derive(Debug)]
pub struct NotProduced {
    /// The failure of the last try.
    pub error: ReadError,
    /// The places of the records that the leader does not accept, if it tells.
    pub invalid: Vec<usize>,
    /// Whether one of the tries may have written it.
    pub may_be_written: bool,
}

/// Questions about the producers of a topic's partition.
pub(super) type ProducerRequests = SingleFlight<(String, i32), Result<Producers, ReadError>>;

/// The producers of a partition with high ids, and the epoch of the leader that tells; −1 if unknown.
pub(super) type Producers = Arc<(HashMap<i64, KnownProducer>, i32)>;

impl Reader {
    /// Writes a batch of an idempotent producer to a partition, if its topic still has this id. Each try encodes it, once the
    /// broker has a place for it: those that wait are not in memory twice. Tries again until the deadline. Gives as well
    /// whether a try before the last one may have written it.
    ///
    /// # Errors
    /// [`NotProduced`]: also if a record is refused.
    ///
    /// # Cancel safety
    /// The batch may be written all the same.
    pub async fn produce(
        &self,
        source: ClientKey,
        log: Log<'_>,
        topic_id: Option<u128>,
        encode: impl Fn() -> Bytes,
        deadline: Instant,
    ) -> Result<(Produced, bool), NotProduced> {
        let not_sent = |error| NotProduced { error, invalid: Vec::new(), may_be_written: false };
        let target = TopicPartition::parse(log).map_err(not_sent)?;
        let brokers = &self.inner.brokers;
        let (may_be_written, invalid) = (&AtomicBool::new(false), &Mutex::new(Vec::new()));
        let (holder, encode) = (self.holder(source), &encode);
        let send = |recipient: Recipient| async move {
            if let (Some(known), Some(found)) = (topic_id, recipient.call.topic_id)
                && known != found
            {
                return Ok(Reply::Success(Produced::Recreated));
            }
            let _place = recipient.broker.write_place(holder).await;
            let request = ProduceRequest {
                topic: target.topic(),
                topic_id: recipient.call.topic_id,
                partition: target.partition(),
                timeout: brokers.config().response_timeout(),
                batch: &encode(),
            };
            let was_unknown = may_be_written.swap(true, Ordering::Relaxed);
            let answer = recipient.send(&request).await?;
            let ProduceAnswer { error, offset, appended_at, .. } = answer;
            *invalid.lock() = answer.invalid;
            let outcome = match error {
                None => Reply::Success(Produced::Written { offset, appended_at }),
                Some(ErrorCode(ResponseError::DuplicateSequenceNumber)) => {
                    Reply::Success(Produced::Written { offset: -1, appended_at })
                }
                Some(ErrorCode(
                    ResponseError::OutOfOrderSequenceNumber | ResponseError::UnknownProducerId,
                )) => Reply::Success(Produced::OutOfOrder),
                Some(ErrorCode(ResponseError::InvalidProducerEpoch | ResponseError::ProducerFenced)) => {
                    Reply::Success(Produced::Fenced)
                }
                Some(code) => Reply::Error(code),
            };
            may_be_written.store(was_unknown || error.is_some_and(may_follow_writing), Ordering::Relaxed);
            Ok(outcome)
        };
        let produced = leader_call(brokers, source, Attempt::at_leader(target, deadline, jitter), send).await;
        let may_be_written = may_be_written.load(Ordering::Relaxed);
        match produced {
            Ok(produced) => Ok((produced, may_be_written)),
            Err(error) => {
                Err(NotProduced { error, invalid: std::mem::take(&mut invalid.lock()), may_be_written })
            }
        }
    }

    /// The producer with this id, of those from [`FROM_ID`] on, as the leader of a partition knows it now, and the leader's
    /// epoch; `None`: it does not know it. The leader tells of all producers, so that calls share a request, which is sent
    /// after each of them began.
    ///
    /// # Errors
    /// [`ReadError`], within `socket.timeout.ms`: also if the cluster's user has no right to know, or the leader cannot
    /// tell.
    ///
    /// # Cancel safety
    /// Dropping the call has no effect.
    pub async fn known_producer(
        &self,
        source: ClientKey,
        log: Log<'_>,
        id: i64,
    ) -> Result<Option<(KnownProducer, i32)>, ReadError> {
        let target = TopicPartition::parse(log)?;
        let Inner { brokers, producers, .. } = &*self.inner;
        let (Log { topic, partition }, holder) = (log, self.holder(source));
        let send = |recipient: Recipient| async move {
            let request = DescribeProducersRequest { topic, partition, from_id: FROM_ID };
            let _place = recipient.broker.producers_place(holder).await;
            let sent = Instant::now();
            let answer = recipient.send(&request).await;
            recipient.broker.rest_from_producers(sent.elapsed());
            let answer = answer?;
            let known = (answer.producers, recipient.call.leader_epoch);
            Ok(answer.error.map_or_else(|| Reply::Success(Producers::new(known)), Reply::Error))
        };
        let request = || async {
            // From when it is sent: others can share the request.
            let deadline = in_future(brokers.config().request_timeout);
            leader_call(brokers, source, Attempt::at_leader(target, deadline, jitter), send).await
        };
        let told = producers.run((topic.to_owned(), partition), |_| false, || None, request);
        let told: Result<Producers, ReadError> = timeout(brokers.config().request_timeout, told)
            .await
            .unwrap_or_else(|_| Err(brokers.unreachable(BrokerFailures::default())));
        told.map(|told| {
            let (producers, epoch) = &*told;
            producers.get(&id).map(|producer| (*producer, *epoch))
        })
    }
}

impl Reader {
    /// The time after its last record for which partitions know a producer (`producer.id.expiration.ms`), as one of the
    /// brokers tells it; `None`: it does not tell.
    ///
    /// # Errors
    /// [`ReadError`], within `socket.timeout.ms`: also if the cluster's user has no right to know.
    ///
    /// # Cancel safety
    /// Dropping the call has no effect.
    pub async fn producer_life(&self) -> Result<Option<Duration>, ReadError> {
        let brokers = &self.inner.brokers;
        let deadline = in_future(brokers.config().request_timeout);
        let mut failures = BrokerFailures::default();
        for broker in brokers.advertised(DESCRIPTION_AGE, deadline).await? {
            let Some(id) = brokers.node_id(broker.address()) else { continue };
            let request = ConfigRequest { resource: Resource::Broker(id), name: Some(LIFE) };
            match timeout_at(deadline, broker.call(&request)).await {
                Ok(Ok(ConfigAnswer { error: Some(code), .. })) => {
                    return Err(ReadError::Broker { code, detail: format!("broker {id}") });
                }
                Ok(Ok(ConfigAnswer { properties, .. })) => {
                    let millis = properties.first().and_then(|(_, value)| value.parse().ok());
                    return Ok(millis.map(Duration::from_millis));
                }
                Ok(Err(failure)) => failures.add(failure),
                Err(_) => break,
            }
        }
        Err(brokers.unreachable(failures))
    }
}

const LIFE: &str = "producer.id.expiration.ms";

/// Whether a leader can answer with this error although it has written the batch: it does so with most of them while it waits
/// for replicas, and loses the leadership (Kafka's `DelayedProduce`).
fn may_follow_writing(ErrorCode(error): ErrorCode) -> bool {
    !matches!(
        error,
        ResponseError::MessageTooLarge
            | ResponseError::RecordListTooLarge
            | ResponseError::InvalidRecord
            | ResponseError::InvalidTimestamp
            | ResponseError::CorruptMessage
            | ResponseError::NotEnoughReplicas
            | ResponseError::TopicAuthorizationFailed
            | ResponseError::ClusterAuthorizationFailed
            | ResponseError::UnsupportedForMessageFormat
            | ResponseError::PolicyViolation
            | ResponseError::OutOfOrderSequenceNumber
            | ResponseError::UnknownProducerId
            | ResponseError::InvalidProducerEpoch
            | ResponseError::ProducerFenced
            | ResponseError::DuplicateSequenceNumber
            | ResponseError::ThrottlingQuotaExceeded
    )
}

/// The first id that brokers never give out.
pub const FROM_ID: i64 = 1 << 62;

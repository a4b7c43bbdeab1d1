//! The error codes of Kafka's protocol that the bridge knows.

pub(crate) const OFFSET_OUT_OF_RANGE: i32 = 1;
pub(crate) const UNKNOWN_TOPIC_OR_PARTITION: i32 = 3;
const LEADER_NOT_AVAILABLE: i32 = 5;
const NOT_LEADER_OR_FOLLOWER: i32 = 6;
pub(crate) const REQUEST_TIMED_OUT: i32 = 7;
pub(crate) const BROKER_NOT_AVAILABLE: i32 = 8;
const REPLICA_NOT_AVAILABLE: i32 = 9;
pub(crate) const MESSAGE_TOO_LARGE: i32 = 10;
const NETWORK_EXCEPTION: i32 = 13;
pub(crate) const INVALID_TOPIC: i32 = 17;
pub(crate) const RECORD_LIST_TOO_LARGE: i32 = 18;
const NOT_ENOUGH_REPLICAS: i32 = 19;
const NOT_ENOUGH_REPLICAS_AFTER_APPEND: i32 = 20;
pub(crate) const TOPIC_AUTHORIZATION_FAILED: i32 = 29;
pub(crate) const CLUSTER_AUTHORIZATION_FAILED: i32 = 31;
pub(crate) const INVALID_TIMESTAMP: i32 = 32;
pub(crate) const INVALID_REQUEST: i32 = 42;
const OUT_OF_ORDER_SEQUENCE_NUMBER: i32 = 45;
const INVALID_PRODUCER_EPOCH: i32 = 47;
const KAFKA_STORAGE_ERROR: i32 = 56;
const UNKNOWN_PRODUCER_ID: i32 = 59;
pub(crate) const INVALID_RECORD: i32 = 87;
const THROTTLING_QUOTA_EXCEEDED: i32 = 89;

/// Whether a retry of the same record can succeed: new topics, moving leaders, missing replicas, quotas, and errors
/// that end an idempotent producer, which is then replaced.
pub(crate) fn is_retriable(code: i32) -> bool {
    matches!(
        code,
        UNKNOWN_TOPIC_OR_PARTITION
            | LEADER_NOT_AVAILABLE
            | NOT_LEADER_OR_FOLLOWER
            | REQUEST_TIMED_OUT
            | BROKER_NOT_AVAILABLE
            | REPLICA_NOT_AVAILABLE
            | NETWORK_EXCEPTION
            | NOT_ENOUGH_REPLICAS
            | NOT_ENOUGH_REPLICAS_AFTER_APPEND
            | OUT_OF_ORDER_SEQUENCE_NUMBER
            | INVALID_PRODUCER_EPOCH
            | KAFKA_STORAGE_ERROR
            | UNKNOWN_PRODUCER_ID
            | THROTTLING_QUOTA_EXCEEDED
    )
}

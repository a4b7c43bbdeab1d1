//! The error codes of Kafka's protocol that `ErrorResp.code` can have (Kafka protocol guide, "Error Codes").

/// The log has no such offset.
pub const OFFSET_OUT_OF_RANGE: i32 = 1;
/// The topic or partition does not exist.
pub const UNKNOWN_TOPIC_OR_PARTITION: i32 = 3;
/// The partition has no leader at the moment.
pub const LEADER_NOT_AVAILABLE: i32 = 5;
/// The broker does not lead the partition.
pub const NOT_LEADER_OR_FOLLOWER: i32 = 6;
/// The broker did not answer in time.
pub const REQUEST_TIMED_OUT: i32 = 7;
/// No broker can be reached.
pub const BROKER_NOT_AVAILABLE: i32 = 8;
/// The replica is not available.
pub const REPLICA_NOT_AVAILABLE: i32 = 9;
/// The record is larger than the topic accepts.
pub const MESSAGE_TOO_LARGE: i32 = 10;
/// The connection to the broker was lost.
pub const NETWORK_EXCEPTION: i32 = 13;
/// No topic can have this name.
pub const INVALID_TOPIC: i32 = 17;
/// The batch is larger than the segments of the log.
pub const RECORD_LIST_TOO_LARGE: i32 = 18;
/// Too few replicas are in sync. Nothing was written.
pub const NOT_ENOUGH_REPLICAS: i32 = 19;
/// Too few replicas are in sync, as was found after the write.
pub const NOT_ENOUGH_REPLICAS_AFTER_APPEND: i32 = 20;
/// The group has begun another generation since.
pub const ILLEGAL_GENERATION: i32 = 22;
/// The group does not know the member.
pub const UNKNOWN_MEMBER_ID: i32 = 25;
/// The group gives out its logs anew.
pub const REBALANCE_IN_PROGRESS: i32 = 27;
/// The user, or the route, cannot use the topic.
pub const TOPIC_AUTHORIZATION_FAILED: i32 = 29;
/// The user, or the route, cannot use the group.
pub const GROUP_AUTHORIZATION_FAILED: i32 = 30;
/// The user cannot use the cluster in this way.
pub const CLUSTER_AUTHORIZATION_FAILED: i32 = 31;
/// The topic does not accept the timestamp.
pub const INVALID_TIMESTAMP: i32 = 32;
/// The request breaks a rule.
pub const INVALID_REQUEST: i32 = 42;
/// A batch of an idempotent producer is missing.
pub const OUT_OF_ORDER_SEQUENCE_NUMBER: i32 = 45;
/// The producer was replaced by a newer one.
pub const INVALID_PRODUCER_EPOCH: i32 = 47;
/// The broker cannot use its disk.
pub const KAFKA_STORAGE_ERROR: i32 = 56;
/// The broker has forgotten the idempotent producer.
pub const UNKNOWN_PRODUCER_ID: i32 = 59;
/// The topic does not accept the record.
pub const INVALID_RECORD: i32 = 87;
/// The quota is used up.
pub const THROTTLING_QUOTA_EXCEEDED: i32 = 89;

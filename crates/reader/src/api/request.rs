//! A request of Kafka's protocol, and what requests share.

use std::num::NonZeroU128;
use std::ops::RangeInclusive;

use kafka_protocol::messages::{ApiKey, TopicName};
use kafka_protocol::protocol::{Encodable, StrBytes};

use crate::wire::{Wire, WireError};

/// A request and its response.
pub(crate) trait Api {
    const KEY: ApiKey;
    /// The supported versions.
    const VERSIONS: RangeInclusive<i16>;
    /// The first version with varint lengths and tagged fields (KIP-482).
    const FLEXIBLE: i16;
    type Body: Encodable;
    type Answer;

    /// The highest version for this request.
    fn max_version(&self) -> i16 {
        *Self::VERSIONS.end()
    }

    fn body(&self, version: i16) -> Self::Body;

    fn decode(&self, wire: &mut Wire, version: i16) -> Result<Self::Answer, WireError>;
}

/// The id of a topic, which tells it from an earlier one of the same name (KIP-516).
pub(crate) type TopicId = NonZeroU128;

/// A validated name, for `kafka-protocol`.
pub(super) fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

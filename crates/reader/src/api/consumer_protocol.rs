//! Subscriptions and assignments, which members of a group tell each other through the broker.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{consumer_protocol_assignment as assignment, consumer_protocol_subscription};
use kafka_protocol::protocol::Encodable;

use super::{text, topic_name};
use crate::wire::{Wire, WireError};

/// The wishes of a member of a group: version 0 to 3 of Kafka's `ConsumerProtocolSubscription`, and what all versions
/// have in common of later ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subscription {
    /// The topics of which it wants a share.
    pub topics: Vec<Arc<str>>,
    /// Where it says to be (KIP-881).
    pub rack: Option<Arc<str>>,
}

/// The logs of a member, sorted: version 0 to 3 of Kafka's `ConsumerProtocolAssignment`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Assignment(pub Vec<(Arc<str>, i32)>);

impl Subscription {
    /// Without partitions that the member keeps while the group rebalances.
    pub fn encode(&self) -> Bytes {
        let subscription = consumer_protocol_subscription::ConsumerProtocolSubscription::default()
            .with_topics(self.topics.iter().map(|topic| text(topic)).collect())
            .with_rack_id(self.rack.as_deref().map(text));
        encode(&subscription)
    }

    /// `None` if it is none.
    pub fn decode(bytes: Bytes) -> Option<Self> {
        let read = || {
            let mut wire = Wire::new(bytes, false);
            let version = wire.i16()?;
            let topics = (0..wire.array(2)?).map(|_| Ok(wire.string()?.into())).collect::<Result<_, _>>()?;
            wire.bytes()?; // user data
            if version < VERSION {
                return Ok(Self { topics, rack: None });
            }
            for _ in 0..wire.array(6)? {
                wire.string()?; // a topic of which the member keeps partitions
                for _ in 0..wire.array(4)? {
                    wire.i32()?;
                }
            }
            wire.i32()?; // generation
            Ok::<_, WireError>(Self { topics, rack: wire.name()? })
        };
        read().ok()
    }
}

impl Assignment {
    /// For a member.
    pub fn encode(&self) -> Bytes {
        let topic = |logs: &[(Arc<str>, i32)]| {
            let name = logs.first().map(|(topic, _)| topic_name(topic)).unwrap_or_default();
            assignment::TopicPartition::default()
                .with_topic(name)
                .with_partitions(logs.iter().map(|(_, partition)| *partition).collect())
        };
        let topics = self.0.chunk_by(|one, next| one.0 == next.0).map(topic).collect();
        encode(&assignment::ConsumerProtocolAssignment::default().with_assigned_partitions(topics))
    }

    /// `None` if it is none. No bytes are no logs.
    pub fn decode(bytes: Bytes) -> Option<Self> {
        if bytes.is_empty() {
            return Some(Self::default());
        }
        let read = || {
            let mut wire = Wire::new(bytes, false);
            wire.i16()?; // version
            let mut logs = Vec::new();
            for _ in 0..wire.array(6)? {
                let topic: Arc<str> = wire.string()?.into();
                for _ in 0..wire.array(4)? {
                    logs.push((Arc::clone(&topic), wire.i32()?));
                }
            }
            Ok::<_, WireError>(logs)
        };
        let mut logs = read().ok()?;
        logs.sort_unstable();
        logs.dedup();
        Some(Self(logs))
    }
}

fn encode(message: &impl Encodable) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(VERSION);
    // A version that it has, and nothing that is too long for it.
    match message.encode(&mut bytes, VERSION) {
        Ok(()) => bytes.freeze(),
        Err(_) => Bytes::new(),
    }
}

/// The first version with racks. Later ones only add to its end.
const VERSION: i16 = 3;

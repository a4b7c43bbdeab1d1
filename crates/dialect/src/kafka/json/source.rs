//! A topic, and where its partitions begin.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use sluicegate_backend::command::{self, Start};
use sluicegate_backend::{LOG_END, LOG_START};
use sluicegate_delivery::MAX_PARTITIONS;

use crate::json_sessions::int64::Int64;
use crate::json_sessions::list::List;
use crate::json_sessions::subscribe::TopicId;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Source {
    pub(super) topic: String,
    pub(super) partitions: Option<Partitions>,
    pub(super) from: Option<From>,
    pub(super) next: Option<Next>,
    pub(super) topic_id: Option<TopicId>,
}

pub(super) type Partitions = List<i32, MAX_PARTITIONS>;

/// Where to begin: `"earliest"`, or `{"offset": 5}`.
#[derive(serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum From {
    Earliest,
    Latest,
    Offset(Int64),
    Timestamp(Int64),
}

/// The offset to continue from, by partition.
pub(super) struct Next(pub(super) BTreeMap<i32, i64>);

impl std::convert::From<Source> for command::Source {
    fn from(Source { topic, partitions, from, next, topic_id }: Source) -> Self {
        let from = match from {
            Some(From::Earliest) => Start::Timestamp(LOG_START),
            Some(From::Latest) | None => Start::Timestamp(LOG_END),
            Some(From::Offset(Int64(offset))) => Start::Offset(offset),
            Some(From::Timestamp(Int64(timestamp))) => Start::Timestamp(timestamp),
        };
        Self {
            topic,
            partitions: partitions.unwrap_or_default().0,
            from,
            next: next.into_iter().flat_map(|Next(next)| next).collect(),
            topic_id: topic_id.map(TopicId::number),
        }
    }
}

impl<'de> Deserialize<'de> for Next {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Offsets)
    }
}

struct Offsets;

impl<'de> Visitor<'de> for Offsets {
    type Value = Next;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of offsets by partition")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Next, A::Error> {
        let mut next = BTreeMap::new();
        while let Some((partition, Int64(offset))) = members.next_entry::<i32, Int64>()? {
            if next.insert(partition, offset).is_some() {
                return Err(A::Error::custom(format_args!("next: duplicate partition {partition}")));
            }
            if next.len() > MAX_PARTITIONS {
                let message = format_args!("next: more than {MAX_PARTITIONS} partitions");
                return Err(A::Error::custom(message));
            }
        }
        Ok(Next(next))
    }
}

//! Bodies with topics, partitions and offsets.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sluicegate_backend::groups::{Commit, GroupLog};
use sluicegate_delivery::consumers::{MAX_LOGS, MAX_TOPICS, Subscribed};

use crate::http::body::{BodyError, list, object, wrong};
use crate::position::{now, time};

/// The answer of a new consumer.
#[derive(Debug, Serialize)]
pub struct Created<'a> {
    /// The name.
    pub instance_id: &'a str,
    /// The URL of its resources.
    pub base_uri: &'a str,
}

/// The document of commits.
#[derive(Debug, Serialize)]
pub struct Committed {
    offsets: Vec<CommittedOffset>,
}

#[derive(Debug, Serialize)]
struct CommittedOffset {
    topic: String,
    partition: i32,
    offset: i64,
    metadata: String,
}

/// A list of partitions.
#[derive(Debug, Serialize)]
pub struct Places {
    partitions: Vec<Place>,
}

/// A partition.
#[derive(Debug, Serialize)]
struct Place {
    topic: String,
    partition: i32,
}

/// The topics of a subscription; as Strimzi's bridge has it, with the partitions that the consumer has now.
#[derive(Debug, Serialize)]
pub struct Subscription {
    topics: Vec<String>,
    partitions: Vec<BTreeMap<String, Vec<i32>>>,
}

impl Committed {
    /// The document of these commits.
    pub fn of(commits: impl Iterator<Item = Commit>) -> Self {
        let of = |Commit { log: (topic, partition), offset, metadata }: Commit| CommittedOffset {
            topic: topic.to_string(),
            partition,
            offset,
            metadata: metadata.to_string(),
        };
        Self { offsets: commits.map(of).collect() }
    }
}

impl Places {
    /// The document of these logs.
    pub fn of(logs: Vec<GroupLog>) -> Self {
        let of = |(topic, partition): GroupLog| Place { topic: topic.to_string(), partition };
        Self { partitions: logs.into_iter().map(of).collect() }
    }
}

impl Subscription {
    /// The document of these topics and logs.
    pub fn of(topics: Vec<String>, logs: Vec<GroupLog>) -> Self {
        let mut partitions: BTreeMap<String, Vec<i32>> = BTreeMap::new();
        for (topic, partition) in logs {
            partitions.entry(topic.to_string()).or_default().push(partition);
        }
        Self { topics, partitions: partitions.into_iter().map(|topic| BTreeMap::from([topic])).collect() }
    }
}

/// The topics to subscribe to; none for an empty list, which ends the subscription. With a list, a pattern is ignored, as
/// Confluent's proxy does.
///
/// # Errors
/// It has neither.
pub fn subscription(json: &str) -> Result<Option<Subscribed>, BodyError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body<'a> {
        #[serde(borrow)]
        topics: Option<&'a RawValue>,
        #[serde(borrow)]
        topic_pattern: Option<&'a RawValue>,
    }
    let Body { topics, topic_pattern } = object(json, "body")?;
    if let Some(topics) = topics {
        let topics = list(topics, "topics", MAX_TOPICS)?.into_iter().enumerate().map(|(index, topic)| {
            let name: Option<String> = serde_json::from_str(topic.get()).ok();
            name.ok_or_else(|| wrong(&format!("topics[{index}]"), "expected a string"))
        });
        let topics = topics.collect::<Result<Vec<_>, _>>()?;
        return Ok((!topics.is_empty()).then_some(Subscribed::Topics(topics)));
    }
    let Some(pattern) = topic_pattern else { return Err(wrong("body", "expected topics or topic_pattern")) };
    let pattern = serde_json::from_str(pattern.get());
    Ok(Some(Subscribed::Pattern(pattern.map_err(|_| wrong("topic_pattern", "expected a string"))?)))
}

/// The partitions of a body; none if it is empty, or lists none.
///
/// # Errors
/// It has no list, or a partition is invalid.
pub fn assignments(json: &str) -> Result<Vec<GroupLog>, BodyError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body<'a> {
        #[serde(borrow)]
        partitions: Option<&'a RawValue>,
    }
    let Body { partitions } = object(json, "body")?;
    let partitions = partitions.ok_or_else(|| wrong("body", "expected partitions"))?;
    items(partitions, "partitions")?.into_iter().map(|item| Ok(item.log)).collect()
}

/// The positions of a body: each with the offset of the next record.
#[derive(Debug, PartialEq, Eq)]
pub struct Commits {
    /// None: the body has no list, and all that was read is meant.
    pub commits: Option<Vec<Commit>>,
    /// Whether the list has Redpanda's name.
    pub is_partitions: bool,
}

/// The commits of a body.
///
/// # Errors
/// A commit is invalid.
pub fn commits(json: &str) -> Result<Commits, BodyError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body<'a> {
        #[serde(borrow)]
        offsets: Option<&'a RawValue>,
        #[serde(borrow)]
        partitions: Option<&'a RawValue>,
    }
    let Body { offsets, partitions } = object(or_object(json), "body")?;
    let (list, name) = match (offsets, partitions) {
        (None, None) => return Ok(Commits { commits: None, is_partitions: false }),
        (Some(list), None) => (list, "offsets"),
        (None, Some(list)) => (list, "partitions"),
        (Some(_), Some(_)) => return Err(wrong("body", "expected offsets or partitions, not both")),
    };
    let commit =
        |item: Item| Ok(Commit { offset: item.offset()?, log: item.log, metadata: item.metadata.into() });
    let commits: Result<Vec<Commit>, BodyError> = items(list, name)?.into_iter().map(commit).collect();
    Ok(Commits { commits: Some(commits?), is_partitions: partitions.is_some() })
}

/// Positions to read from: offsets, and the first records at or after times, in milliseconds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Positions {
    /// Each with the offset of the next record.
    pub offsets: Vec<(GroupLog, i64)>,
    /// Each with its time.
    pub times: Vec<(GroupLog, i64)>,
}

/// The positions of a body.
///
/// # Errors
/// A position is invalid.
pub fn positions(json: &str) -> Result<Positions, BodyError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body<'a> {
        #[serde(borrow)]
        offsets: Option<&'a RawValue>,
        #[serde(borrow)]
        timestamps: Option<&'a RawValue>,
    }
    let Body { offsets, timestamps } = object(json, "body")?;
    if offsets.is_none() && timestamps.is_none() {
        return Err(wrong("body", "expected offsets or timestamps"));
    }
    let mut positions = Positions::default();
    for item in offsets.map(|list| items(list, "offsets")).transpose()?.into_iter().flatten() {
        let offset = item.offset()?;
        positions.offsets.push((item.log, offset));
    }
    for item in timestamps.map(|list| items(list, "timestamps")).transpose()?.into_iter().flatten() {
        let millis = item.timestamp.as_deref().and_then(|text| time(text, now()));
        let expected = "expected a timestamp such as 2026-01-31T12:00:00Z";
        positions.times.push((item.log, millis.ok_or_else(|| wrong(&item.place, expected))?));
    }
    Ok(positions)
}

/// A partition, and what is said of it.
struct Item {
    place: String,
    log: GroupLog,
    offset: Option<i64>,
    metadata: String,
    timestamp: Option<String>,
}

impl Item {
    fn offset(&self) -> Result<i64, BodyError> {
        self.offset.ok_or_else(|| wrong(&self.place, "expected an offset"))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ItemBody<'a> {
    #[serde(borrow)]
    topic: Option<&'a RawValue>,
    #[serde(borrow)]
    partition: Option<&'a RawValue>,
    #[serde(borrow)]
    offset: Option<&'a RawValue>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
}

fn items(array: &RawValue, name: &str) -> Result<Vec<Item>, BodyError> {
    let item = |(index, item): (usize, &RawValue)| {
        let place = format!("{name}[{index}]");
        let ItemBody { topic, partition, offset, metadata, timestamp } = object(item.get(), &place)?;
        let topic = topic.and_then(scalar).flatten().filter(|topic| !topic.is_empty());
        let topic = topic.ok_or_else(|| wrong(&place, "expected a topic"))?;
        let whole =
            |value: &RawValue| scalar(value).flatten()?.parse::<i64>().ok().filter(|number| *number >= 0);
        let partition = partition.and_then(whole).and_then(|number| i32::try_from(number).ok());
        let partition = partition.ok_or_else(|| wrong(&place, "expected the number of a partition"))?;
        let offset = offset
            .map(|value| {
                whole(value)
                    .ok_or_else(|| wrong(&format!("{place}.offset"), "expected a whole number from 0"))
            })
            .transpose()?;
        let metadata = metadata.and_then(scalar).flatten().unwrap_or_default();
        let timestamp = timestamp.and_then(scalar).flatten();
        Ok(Item { place, log: (topic.into(), partition), offset, metadata, timestamp })
    };
    list(array, name, MAX_LOGS)?.into_iter().enumerate().map(item).collect()
}

/// A body; an empty one is an object without members.
pub(super) fn or_object(json: &str) -> &str {
    if json.is_empty() { "{}" } else { json }
}

/// The text of a string, a number or a boolean, inner None for null: the proxies' clients send each as another.
pub(super) fn scalar(value: &RawValue) -> Option<Option<String>> {
    match value.get().as_bytes().first()? {
        b'"' => serde_json::from_str(value.get()).ok().map(Some),
        b'n' => Some(None),
        b'[' | b'{' => None,
        _ => Some(Some(value.get().to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(topic: &str, partition: i32) -> GroupLog {
        (topic.into(), partition)
    }

    #[test]
    fn lists_of_all_proxies_are_taken() {
        let commit = Commit { log: log("t", 1), offset: 20, metadata: "m".into() };
        let of = |is_partitions| Commits { commits: Some(vec![commit.clone()]), is_partitions };
        let item = r#"[{"topic":"t","partition":"1","offset":20,"metadata":"m"}]"#;
        assert_eq!(commits(&format!(r#"{{"offsets":{item}}}"#)).unwrap(), of(false));
        assert_eq!(commits(&format!(r#"{{"partitions":{item}}}"#)).unwrap(), of(true));
        let empty = |commits| Commits { commits, is_partitions: false };
        assert_eq!(commits(r#"{"offsets":[]}"#).unwrap(), empty(Some(vec![])));
        assert_eq!((commits("").unwrap(), commits("{}").unwrap()), (empty(None), empty(None)));
        let times = r#"{"timestamps":[{"topic":"t","partition":0,"timestamp":"1970-01-01T00:00:01Z"}]}"#;
        let want = Positions { times: vec![(log("t", 0), 1000)], ..Positions::default() };
        assert_eq!(positions(times).unwrap(), want);
        let both = subscription(r#"{"topics":["a"],"topic_pattern":"b"}"#).unwrap();
        assert_eq!(both, Some(Subscribed::Topics(vec!["a".into()])));
        assert_eq!(subscription(r#"{"topics":[]}"#).unwrap(), None);
    }

    #[test]
    fn invalid_items_are_named() {
        let error = |json: &str| match commits(json) {
            Err(BodyError::Unfit(text) | BodyError::TooLarge(text)) => text,
            Ok(commits) => panic!("{json}: {commits:?}"),
        };
        let number = "offsets[0].offset: expected a whole number from 0";
        for (item, want) in [
            (r#"{"partition":0,"offset":1}"#, "offsets[0]: expected a topic"),
            (r#"{"topic":"t","partition":-1,"offset":1}"#, "offsets[0]: expected the number of a partition"),
            (r#"{"topic":"t","partition":0}"#, "offsets[0]: expected an offset"),
            (r#"{"topic":"t","partition":0,"offset":-1}"#, number),
            (r#"{"topic":"t","partition":0,"offset":1.5}"#, number),
            ("1", "offsets[0]: expected an object"),
        ] {
            assert_eq!(error(&format!(r#"{{"offsets":[{item}]}}"#)), want);
        }
        let many = format!(r#"{{"offsets":[0{}]}}"#, ",0".repeat(MAX_LOGS));
        assert!(error(&many).contains("expected at most 4096 elements, got 4097"));
        assert!(error(r#"{"offsets":1}"#).contains("expected an array"));
        assert!(subscription("{}").is_err() && subscription(r#"{"topics":["a",1]}"#).is_err());
        assert!(assignments("{}").is_err() && positions("{}").is_err());
    }
}

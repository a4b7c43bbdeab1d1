//! The command `metadata`, and its answer, from encodings that commands share.

use bytes::Bytes;
use prost::Message;
use serde::{Deserialize, Serialize};
use sluicegate_backend::Partition;
use sluicegate_backend::command::{Command, TopicNames};
use sluicegate_delivery::cluster::{DescribedTopic, MetadataPage};
use sluicegate_protocol::wire::number::{KAFKA_METADATA, TOPICS};
use sluicegate_protocol::{CmdKafkaMetadata, KafkaMetadataResp, PartitionMetadata, TopicMetadata};

use super::SYSTEM;
use crate::json::list::List;
use crate::session::answer::{Answer, Encoding, field_len, put_head_of};
use crate::session::bounds::{MAX_PREFIXES, MAX_TOPICS};
use crate::session::error::{Error, MAX_RECORD_ERROR_BYTES, error_resp};
use crate::session::members::or_default;
use crate::session::text::{Outcome, shrunk};

pub(super) fn of_protobuf(CmdKafkaMetadata { topics, prefixes, after }: CmdKafkaMetadata) -> Command {
    Command::Describe(TopicNames { topics, prefixes, after })
}

/// The command in JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Metadata {
    #[serde(default, deserialize_with = "or_default")]
    topics: List<String, MAX_TOPICS>,
    #[serde(default, deserialize_with = "or_default")]
    prefixes: List<String, MAX_PREFIXES>,
    #[serde(default, deserialize_with = "or_default")]
    after: String,
}

impl From<Metadata> for Command {
    fn from(Metadata { topics, prefixes, after }: Metadata) -> Self {
        Self::Describe(TopicNames { topics: topics.0, prefixes: prefixes.0, after })
    }
}

impl Answer {
    /// The answer with a page of topics. In protobuf, a single topic is shared; all others are copied.
    pub fn described(sequence: i64, page: &MetadataPage, encoding: Encoding) -> Self {
        let topics: Vec<Bytes> = page.topics.iter().map(|topic| encoded(topic, encoding)).collect();
        if let Encoding::Json(_) = encoding {
            return Self::Text(json(sequence, &topics, page.more));
        }
        let mut rest = KafkaMetadataResp { topics: Vec::new(), more: page.more }.encode_to_vec();
        let encoded = match &topics[..] {
            [topic] => {
                put_head_of(TOPICS, topic.len(), &mut rest);
                topic.clone()
            }
            topics => {
                let len = topics.iter().map(|topic| field_len(TOPICS, topic.len()));
                let mut encoded = Vec::with_capacity(len.fold(0, usize::saturating_add));
                for topic in topics {
                    put_head_of(TOPICS, topic.len(), &mut encoded);
                    encoded.extend_from_slice(topic);
                }
                encoded.into()
            }
        };
        Self::Shared { sequence, number: KAFKA_METADATA, encoded, rest }
    }

    /// The bytes that a topic takes in an answer.
    pub fn topic_bytes(topic: &DescribedTopic, encoding: Encoding) -> usize {
        let encoded = encoded(topic, encoding).len();
        match encoding {
            Encoding::Protobuf => encoded,
            // With a comma.
            Encoding::Json(_) => encoded.saturating_add(1),
        }
    }
}

/// A topic in an answer. Each description is encoded once for all answers.
fn encoded(topic: &DescribedTopic, encoding: Encoding) -> Bytes {
    let encode = || {
        let topic = topic_metadata(topic);
        match encoding {
            Encoding::Protobuf => topic.encode_to_vec().into(),
            Encoding::Json(_) => in_json(&topic),
        }
    };
    match (&topic.description, encoding) {
        (Ok(description), Encoding::Protobuf) => description.protobuf.get_or_init(encode).clone(),
        (Ok(description), Encoding::Json(_)) => description.json.get_or_init(encode).clone(),
        (Err(_), _) => encode(),
    }
}

/// A topic's description in protobuf, or the error in its place.
fn topic_metadata(topic: &DescribedTopic) -> TopicMetadata {
    let name = topic.name.clone();
    match &topic.description {
        Ok(description) => {
            let partitions = description.partitions.iter().map(partition_metadata).collect();
            TopicMetadata { name, partitions, error: None }
        }
        Err(error) => {
            let error = Some(error_resp(error.clone(), SYSTEM, MAX_RECORD_ERROR_BYTES));
            TopicMetadata { name, partitions: Vec::new(), error }
        }
    }
}

fn partition_metadata(partition: &Partition) -> PartitionMetadata {
    let in_sync = partition.replicas.iter().filter(|replica| replica.in_sync);
    PartitionMetadata {
        partition: partition.partition,
        leader: partition.leader.unwrap_or(-1),
        replicas: partition.replicas.iter().map(|replica| replica.broker).collect(),
        in_sync_replicas: in_sync.map(|replica| replica.broker).collect(),
    }
}

/// The answer with a page of topics, each in JSON.
fn json(sequence: i64, topics: &[Bytes], more: bool) -> Bytes {
    let begin = format!("{{\"id\":{sequence},\"topics\":[");
    let end = format!("],\"more\":{more}}}");
    let mut parts = vec![begin.as_bytes()];
    for (number, topic) in topics.iter().enumerate() {
        if number > 0 {
            parts.push(b",");
        }
        parts.push(topic);
    }
    parts.push(end.as_bytes());
    parts.concat().into()
}

/// A topic of an answer in JSON.
fn in_json(topic: &TopicMetadata) -> Bytes {
    let TopicMetadata { name, partitions, error } = topic;
    let partitions = partitions.iter().map(Described::of).collect();
    let described = match error {
        Some(error) => Outcome::Failed { error: Error::of_result(error) },
        None => Outcome::Done(Partitions { partitions }),
    };
    let topic = Topic { name, described };
    // Cannot fail: all names are strings.
    shrunk(serde_json::to_vec(&topic).unwrap_or_default())
}

#[derive(Serialize)]
struct Topic<'a> {
    name: &'a str,
    #[serde(flatten)]
    described: Outcome<'a, Partitions<'a>>,
}

#[derive(Serialize)]
struct Partitions<'a> {
    partitions: Vec<Described<'a>>,
}

#[derive(Serialize)]
struct Described<'a> {
    partition: i32,
    leader: i32,
    replicas: &'a [i32],
    in_sync_replicas: &'a [i32],
}

impl<'a> Described<'a> {
    fn of(described: &'a PartitionMetadata) -> Self {
        let PartitionMetadata { partition, leader, replicas, in_sync_replicas } = described;
        Self { partition: *partition, leader: *leader, replicas, in_sync_replicas }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::BytesMut;
    use sluicegate_backend::{CommandError, Description, Fault, Replica};
    use sluicegate_protocol::PubSubResp;
    use sluicegate_protocol::codec::Codec;
    use sluicegate_protocol::pub_sub_resp::Resp;

    use super::*;
    use crate::json::format::Format;
    use crate::session::answer::tests::check;
    use crate::session::records::tests::text;

    const JSON: Encoding = Encoding::Json(Format::Json);

    fn described(partitions: i32) -> Arc<Description> {
        let partition = |partition| Partition {
            partition,
            leader: (partition % 3 > 0).then_some(partition % 3),
            replicas: [1, 2].map(|broker| Replica { broker, in_sync: broker == partition % 3 }).into(),
        };
        Arc::new(Description::new(None, (0..partitions).map(partition).collect()))
    }

    fn topic(name: &str, description: &Arc<Description>) -> DescribedTopic {
        DescribedTopic { name: name.to_owned(), description: Ok(Arc::clone(description)) }
    }

    fn failed(name: &str) -> DescribedTopic {
        let error = CommandError::new(Fault::Forbidden, 0, "denied");
        DescribedTopic { name: name.to_owned(), description: Err(error) }
    }

    #[test]
    fn answer_has_the_bytes_of_its_message() {
        for partitions in [0, 1, 5_000] {
            let description = described(partitions);
            for more in [false, true] {
                for topics in [
                    vec![],
                    vec![topic("a", &description)],
                    vec![failed("a")],
                    vec![topic("a", &description), failed("b")],
                    vec![failed("b"), topic("a", &description), topic("a", &description)],
                ] {
                    let page = MetadataPage { topics, more };
                    let topics = page.topics.iter().map(topic_metadata).collect();
                    let resp = Resp::KafkaMetadataResp(KafkaMetadataResp { topics, more });
                    let want = PubSubResp { sequence: 7, resp: Some(resp) };
                    let message = check(Answer::described(7, &page, Encoding::Protobuf), &want);
                    assert!(more || message == want.encode_to_vec());
                    for topic in &page.topics {
                        let bytes = Answer::topic_bytes(topic, Encoding::Protobuf);
                        assert_eq!(bytes, topic_metadata(topic).encoded_len());
                    }
                }
            }
        }
    }

    #[test]
    fn answer_in_json_has_the_members_of_each_topic() {
        let described = concat!(
            r#"{"name":"a","partitions":[{"partition":0,"leader":-1,"replicas":[1,2],"#,
            r#""in_sync_replicas":[]}]}"#,
        );
        let denied = r#"{"name":"b","error":{"reason":"DENIED","message":"denied","retriable":false}}"#;
        let one = || topic("a", &self::described(1));
        assert_eq!(Answer::topic_bytes(&one(), JSON), described.len() + 1);
        for (topics, want) in [
            (vec![one(), failed("b")], format!("{described},{denied}")),
            (vec![one()], described.to_owned()),
            (vec![], String::new()),
        ] {
            let page = MetadataPage { topics, more: true };
            let want = format!(r#"{{"id":7,"topics":[{want}],"more":true}}"#);
            assert_eq!(text(Answer::described(7, &page, JSON)), want);
        }
    }

    #[test]
    fn description_is_encoded_once_for_all() {
        let description = described(5_000);
        let page = || MetadataPage { topics: vec![topic("a", &description)], more: false };
        for encoding in [Encoding::Protobuf, JSON] {
            let [one, other] = [(); 2].map(|()| encoded(&page().topics[0], encoding));
            assert_eq!(one.as_ptr(), other.as_ptr(), "{encoding:?}");
        }
        let large = |sequence| {
            let answer = Answer::described(sequence, &page(), Encoding::Protobuf);
            answer.encode(Codec::Protobuf, &mut BytesMut::new())
        };
        let [one, other] = [1, 2].map(|sequence| large(sequence).unwrap());
        assert_eq!(one.as_ptr(), other.as_ptr());
        let changed = topic("a", &described(4_999));
        assert_ne!(encoded(&changed, Encoding::Protobuf), one);
    }
}

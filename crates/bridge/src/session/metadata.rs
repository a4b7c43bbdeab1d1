//! The answer to a metadata command, from encodings that commands share.

use bytes::Bytes;
use prost::Message;
use sluicegate_delivery::cluster::{DescribedTopic, MetadataPage};
use sluicegate_dialect::topic_metadata;
use sluicegate_protocol::KafkaMetadataResp;
use sluicegate_protocol::wire::number::{KAFKA_METADATA, TOPICS};

use super::answer::{Answer, field_len, put_head_of};
use super::encoding::Encoding;
use super::json;

/// The answer with a page of topics. In protobuf, a single topic is shared; all others are copied.
pub(super) fn answer(sequence: i64, page: &MetadataPage, encoding: Encoding) -> Answer {
    let topics: Vec<Bytes> = page.topics.iter().map(|topic| encoded(topic, encoding)).collect();
    if let Encoding::Json(_) = encoding {
        return Answer::Text(json::metadata(sequence, &topics, page.more));
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
    Answer::Shared { sequence, number: KAFKA_METADATA, encoded, rest }
}

/// The bytes that a topic takes in an answer.
pub(super) fn size(topic: &DescribedTopic, encoding: Encoding) -> usize {
    let encoded = encoded(topic, encoding).len();
    match encoding {
        Encoding::Protobuf => encoded,
        // With a comma.
        Encoding::Json(_) => encoded.saturating_add(1),
    }
}

/// A topic in an answer. Each description is encoded once for all answers.
fn encoded(topic: &DescribedTopic, encoding: Encoding) -> Bytes {
    let encode = || {
        let topic = topic_metadata(topic);
        match encoding {
            Encoding::Protobuf => topic.encode_to_vec().into(),
            Encoding::Json(_) => json::topic(&topic),
        }
    };
    match (&topic.description, encoding) {
        (Ok(description), Encoding::Protobuf) => description.protobuf.get_or_init(encode).clone(),
        (Ok(description), Encoding::Json(_)) => description.json.get_or_init(encode).clone(),
        (Err(_), _) => encode(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::BytesMut;
    use sluicegate_backend::{CommandError, Description, Fault, Partition, Replica};
    use sluicegate_dialect::json::format::Format;
    use sluicegate_protocol::codec::Codec;
    use sluicegate_protocol::pub_sub_resp::Resp;
    use sluicegate_protocol::{PubSubResp, grpc};

    use super::*;

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
        let error = CommandError::new(Fault::Forbidden, 29, "denied");
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
                    check(&MetadataPage { topics, more });
                }
            }
        }
    }

    #[track_caller]
    fn check(page: &MetadataPage) {
        let topics = page.topics.iter().map(topic_metadata).collect();
        let resp = Resp::KafkaMetadataResp(KafkaMetadataResp { topics, more: page.more });
        let want = PubSubResp { sequence: 7, resp: Some(resp) };
        let mut small = BytesMut::new();
        let large = answer(7, page, Encoding::Protobuf).encode(Codec::Protobuf, &mut small);
        let wire = [&small[..], &large.unwrap_or_default()].concat();
        let (head, message) = wire.split_first_chunk().unwrap();
        assert_eq!(grpc::message_len(*head), Ok(u32::try_from(message.len()).unwrap()));
        assert_eq!(PubSubResp::decode(message).unwrap(), want);
        if !page.more {
            assert_eq!(message, want.encode_to_vec());
        }
        for topic in &page.topics {
            assert_eq!(size(topic, Encoding::Protobuf), topic_metadata(topic).encoded_len());
        }
    }

    #[test]
    fn description_is_encoded_once_for_all() {
        let description = described(5_000);
        let page = || MetadataPage { topics: vec![topic("a", &description)], more: false };
        let shared = |encoding| {
            let [one, other] = [(); 2].map(|()| encoded(&page().topics[0], encoding));
            assert_eq!(one.as_ptr(), other.as_ptr(), "{encoding:?}");
        };
        shared(Encoding::Protobuf);
        shared(JSON);
        let large = |sequence| {
            answer(sequence, &page(), Encoding::Protobuf).encode(Codec::Protobuf, &mut BytesMut::new())
        };
        let [one, other] = [1, 2].map(|sequence| large(sequence).unwrap());
        assert_eq!(one.as_ptr(), other.as_ptr());
        let changed = topic("a", &described(4_999));
        assert_ne!(encoded(&changed, Encoding::Protobuf), one);
    }
}

//! Concurrent commands of one session.

use std::collections::BTreeMap;

use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdEmpty, CmdKafkaFetch, CmdKafkaListOffset, PubSubResp};
use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_way;

use crate::sessions::peer::{Peer, ping, request};
use crate::sessions::stacks::committed;

async fn answers_carry_the_sequences_of_their_requests(way: Way) {
    let stack = committed(way).await;
    let kafka = Kafka::shared().await.unwrap();
    let topic = kafka.topic("many", 1, &[]).await.unwrap();
    let records: Vec<Record> = (0..10).map(|n| Record::of(format!("value {n}"))).collect();
    kafka.produce(&topic, 0, &records, Write::default()).await.unwrap();
    let mut peer = Peer::open(&stack).await;

    let requests = (0..300).map(|sequence| match sequence % 6 {
        0 => ping(sequence, &sequence.to_be_bytes()),
        1 => fetch(sequence, &topic, sequence % 10),
        2 => list(sequence, &topic, -1),
        3 => list(sequence, "no-such-topic", -1),
        4 => request(sequence, Req::CmdEmpty(CmdEmpty {})),
        _ => fetch(sequence, &topic, 10), // the log end: it waits
    });
    peer.send_together(requests).await;
    let mut answers = BTreeMap::new();
    for _ in 0..300 {
        let PubSubResp { sequence, resp } = peer.answer().await;
        assert!(answers.insert(sequence, resp.unwrap()).is_none(), "{sequence} was answered twice");
    }
    peer.is_idle().await;

    assert!(answers.keys().copied().eq(0..300), "{:?}", answers.keys());
    for (sequence, resp) in answers {
        let matches = match (sequence % 6, &resp) {
            (0, Resp::PongResp(pong)) => pong.state == sequence.to_be_bytes().as_slice(),
            (1, Resp::KafkaFetchResp(fetched)) => {
                fetched.messages.iter().map(|message| message.offset).eq(sequence % 10..10)
                    && fetched
                        .messages
                        .iter()
                        .all(|m| m.value.as_deref() == Some(format!("value {}", m.offset).as_bytes()))
            }
            (2, Resp::KafkaListOffsetResp(offset)) => offset.offset == 10,
            (3, Resp::ErrorResp(error)) => {
                error.message.starts_with("failed to list offset, topic: no-such-topic, partition: 0, err: ")
            }
            (4, Resp::ErrorResp(error)) => error.message == "unknown command",
            (5, Resp::KafkaFetchResp(fetched)) => fetched.messages.is_empty(),
            _ => false,
        };
        assert!(matches, "{sequence} got {resp:?}");
    }
}

fn fetch(sequence: i64, topic: &str, offset: i64) -> Vec<u8> {
    request(
        sequence,
        Req::CmdKafkaFetch(CmdKafkaFetch {
            topic: topic.to_owned(),
            partition: 0,
            offset,
            ..Default::default()
        }),
    )
}

fn list(sequence: i64, topic: &str, timestamp: i64) -> Vec<u8> {
    let list = CmdKafkaListOffset { topic: topic.to_owned(), partition: 0, timestamp };
    request(sequence, Req::CmdKafkaListOffset(list))
}

in_every_way! {
    answers_carry_the_sequences_of_their_requests
}

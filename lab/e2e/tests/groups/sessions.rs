//! Sessions that are members of a group, through Envoy: one in protobuf, one in JSON, of which one ends without a word.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sluicegate_protocol::kafka_subscription_event::{Assigned, Event};
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    CmdKafkaCommit, CmdKafkaSubscribe, KafkaSource, PartitionOffset, ProduceRecord, kafka_source,
};
use sluicegate_stack::json_socket::JsonSocket;
use sluicegate_stack::socket::Socket;
use sluicegate_stack::way::Way;

use crate::pool::standard;

const PARTITIONS: i32 = 4;
/// The records of each partition.
const RECORDS: i64 = 25;

/// Where each partition begins or continues.
type Places = BTreeMap<i32, i64>;

/// A session in protobuf, whose only subscription has sequence 1.
struct Member<'a> {
    socket: Socket,
    topic: &'a str,
    /// The number of its share.
    assignment: u64,
}

impl Member<'_> {
    /// The next share, and whether one before was revoked first. Deliveries on the way are of the one before.
    async fn assigned(&mut self) -> (Places, bool) {
        let mut was_revoked = false;
        loop {
            match self.socket.receive().await.1 {
                Resp::KafkaSubscriptionEvent(event) => match event.event.unwrap() {
                    Event::Revoked(_) => was_revoked = true,
                    Event::Assigned(Assigned { topics, assignment }) => {
                        self.assignment = assignment;
                        let places = topics.into_iter().flat_map(|topic| topic.partitions);
                        let places = places.map(|next| (next.partition, next.offset)).collect();
                        return (places, was_revoked);
                    }
                    _ => {}
                },
                Resp::KafkaDeliveryResp(_) => assert!(!was_revoked, "a delivery between two shares"),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Reads these partitions to the end: each record once, and none of others.
    async fn read(&mut self, mut places: Places) {
        while places.values().any(|next| *next < RECORDS) {
            let Resp::KafkaDeliveryResp(delivery) = self.socket.receive().await.1 else { continue };
            let next = places.get_mut(&delivery.partition).unwrap();
            for message in delivery.messages {
                assert_eq!(message.offset, *next);
                *next += 1;
            }
        }
    }

    /// The codes of the results of commits for an assignment.
    async fn commit(&mut self, assignment: u64, offsets: &Places) -> Vec<i32> {
        let topic = self.topic.to_owned();
        let offset = |(partition, offset): (&i32, &i64)| PartitionOffset {
            topic: topic.clone(),
            partition: *partition,
            offset: *offset,
        };
        let offsets = offsets.iter().map(offset).collect();
        let commit = CmdKafkaCommit { subscription: 1, offsets, assignment };
        let asked = self.socket.send(Req::CmdKafkaCommit(commit)).await;
        loop {
            match self.socket.receive().await {
                (sequence, Resp::KafkaCommitResp(answer)) if sequence == asked => {
                    return answer
                        .results
                        .into_iter()
                        .map(|of| of.error.map_or(0, |error| error.code))
                        .collect();
                }
                (sequence, other) => assert_ne!(sequence, asked, "{other:?}"),
            }
        }
    }
}

/// The next text with this member.
async fn heard(socket: &mut JsonSocket, member: &str) -> Value {
    loop {
        let text = socket.receive().await;
        assert!(text["error"].is_null(), "{text}");
        if !text[member].is_null() {
            return text;
        }
    }
}

fn all(offset: i64) -> Places {
    (0..PARTITIONS).map(|partition| (partition, offset)).collect()
}

#[tokio::test]
async fn sessions_share_a_topic_and_go_on_from_what_was_committed() {
    let (kafka, stack) = standard(Way::Tunnel).await;
    let topic = &kafka.topic("session-groups", PARTITIONS, &[]).await.unwrap();

    let mut socket = Socket::open(&stack).await;
    let from = Some(kafka_source::From::Timestamp(-2));
    let sources = vec![KafkaSource { topic: topic.clone(), from, ..Default::default() }];
    let subscribe = CmdKafkaSubscribe { sources, group: Some("sessions".into()), ..Default::default() };
    let Resp::KafkaSubscribedResp(subscribed) = socket.ask(Req::CmdKafkaSubscribe(subscribe)).await else {
        panic!("not subscribed")
    };
    assert_eq!((&subscribed.topics[0].topic, &subscribed.topics[0].partitions[..]), (topic, &[][..]));
    let mut first = Member { socket, topic, assignment: 0 };
    assert_eq!(first.assigned().await, (all(0), false));
    let record = |number: i64| ProduceRecord {
        topic: topic.clone(),
        partition: Some(i32::try_from(number % i64::from(PARTITIONS)).unwrap()),
        value: Some("1".into()),
        ..Default::default()
    };
    let records: Vec<_> = (0..RECORDS * i64::from(PARTITIONS)).map(record).collect();
    let mut writer = Socket::open(&stack).await;
    assert!(writer.produce(records).await.unwrap().iter().all(|produced| produced.error.is_none()));
    first.read(all(0)).await;
    let before = first.assignment;
    assert_eq!(first.commit(before, &all(10)).await, [0; 4]);

    let mut second = JsonSocket::open(&stack).await;
    let subscribe = json!({"topic": topic, "group": "sessions", "from": "earliest"});
    second.send(json!({"id": 1, "subscribe": subscribe}).to_string()).await;
    let assigned = heard(&mut second, "assigned").await;
    let (share, was_revoked) = first.assigned().await;
    assert!(was_revoked);
    let others: Places =
        all(10).into_iter().filter(|(partition, _)| !share.contains_key(partition)).collect();
    assert_eq!((share.len(), share.values().all(|next| *next == 10)), (2, true), "{share:?}");
    assert_eq!(assigned["assigned"][0]["partitions"], json!(others));
    first.read(share.clone()).await;
    // These are read again: the commits are of records that came before the rebalance.
    assert_eq!(first.commit(before, &share).await, [22; 2]);
    let mut left = 2 * (RECORDS - 10);
    while left > 0 {
        let delivery = heard(&mut second, "messages").await;
        left -= i64::try_from(delivery["messages"].as_array().unwrap().len()).unwrap();
    }
    // Commits of partitions that are another session's are refused, each by itself.
    let (mine, other) = (*others.keys().next().unwrap(), *share.keys().next().unwrap());
    let offset = |partition: i32| json!({"topic": topic, "partition": partition, "offset": RECORDS});
    let of = &assigned["assignment"];
    let commit = json!({"subscription": 1, "assignment": of, "offsets": [offset(other), offset(mine)]});
    second.send(json!({"id": 2, "commit": commit}).to_string()).await;
    let results = heard(&mut second, "results").await;
    assert_eq!((&results["id"], &results["results"][0]["error"]["code"]), (&json!(2), &json!(27)));
    assert_eq!(results["results"][1], json!({"topic": topic, "partition": mine}));

    drop(second);
    let (share, was_revoked) = first.assigned().await;
    let mut want = all(10);
    want.insert(mine, RECORDS);
    assert_eq!((&share, was_revoked), (&want, true), "what the session had not committed comes again");
    first.read(share).await;
}

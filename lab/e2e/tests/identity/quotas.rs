//! The most that one person can have and do on a route, while nobody else notices.

use std::net::Ipv4Addr;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use sluicegate_client::{At, Client};
use sluicegate_protocol::{CmdKafkaProduce, CmdPing, ProduceRecord, Reason, pub_sub_req::Req};
use sluicegate_stack::http::client::{Request, Response};
use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::raw::{Raw, Upgrade, request};
use sluicegate_stack::stack::Stack;
use sluicegate_stack::way::Way;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::http::answers::retry_after;
use crate::identity::ending::events;
use crate::identity::stacks::{BELIEVED, by_gateway, command, config, http, offsets, open, session, token};

fn of(person: &str) -> String {
    token(person, &json!({}), 600)
}

/// The answer to an upgrade of the person with `token`, from this address.
async fn upgrade(stack: &Stack, token: &str, address: [u8; 4]) -> (Raw, Response) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::from(address), 0).into()).unwrap();
    let mut raw = Raw::over(socket.connect(stack.gateway()).await.unwrap());
    let upgrade = Upgrade::default().with("authorization", format!("Bearer {token}"));
    let response = raw.ask(&upgrade.bytes()).await;
    (raw, response)
}

fn records(topic: &str, count: usize) -> Vec<ProduceRecord> {
    let record =
        ProduceRecord { topic: topic.to_owned(), value: Some(vec![b'v'; 100].into()), ..Default::default() };
    vec![record; count]
}

#[track_caller]
fn is_limited(response: &Response) {
    assert_eq!(response.status, 429, "{response:?}");
    retry_after(response);
}

#[tokio::test]
async fn each_limit_of_a_quota_refuses_or_slows_one_person() {
    let kafka = Kafka::shared().await.unwrap();
    let topic = &kafka.topic("quotas", 1, &[]).await.unwrap();
    let quota = json!({"sessions": 2, "subscriptions": 2, "commands_per_second": 10, "records_per_second": 10,
        "read_bytes_per_second": 10_000, "write_bytes_per_second": 1_000_000});
    let keys = json!({"identity": by_gateway(), "write": true, "quota": quota});
    let stack = config(Way::Tunnel, &keys, BELIEVED).await.own().await;
    let [alice, bob] = ["alice", "bob"].map(of);

    let client = session(&stack, Some(&alice)).await.unwrap();
    let mut socket = open(&stack, &alice).await;
    let (_, refused) = upgrade(&stack, &of("alice"), [127, 0, 0, 3]).await;
    is_limited(&refused);
    assert!(refused.text().contains("too many sessions of this identity"), "{}", refused.text());
    let bystander = session(&stack, Some(&bob)).await.unwrap();

    for id in 1..=3 {
        let answer = command(&mut socket, id, "subscribe", json!({"topic": topic})).await;
        assert_eq!(answer["error"]["reason"].as_str(), (id == 3).then_some("QUOTA_EXCEEDED"), "{answer}");
    }
    // Each route counts for itself.
    let [first, second, third] = [(); 3].map(|()| events(&stack, topic, &alice));
    let (first, second) = (first.await, second.await);
    assert_eq!((first.head.status, second.head.status), (200, 200));
    is_limited(&third.await.head);

    // Half of it can be written in advance, and the rest is owed.
    client.produce(records(topic, 100)).await.unwrap();
    let error = client.produce(records(topic, 1)).await.unwrap().remove(0).unwrap_err();
    assert_eq!((error.reason, error.retriable), (Reason::QuotaExceeded, true), "{error:?}");
    assert!(error.retry_after.unwrap() <= Duration::from_secs(5), "{error:?}");
    let post = |count: usize| {
        let body = json!({"records": vec![json!({"value": 1}); count]}).to_string();
        let post = Request::post(format!("/kafka/topics/{topic}"), body);
        post.with("content-type", "application/vnd.kafka.json.v2+json")
    };
    assert_eq!(http(&stack, Some(&alice), post(100)).await.status, 200);
    is_limited(&http(&stack, Some(&alice), post(1)).await);
    bystander.produce(records(topic, 1)).await.unwrap();
    assert_eq!(http(&stack, Some(&bob), post(1)).await.status, 200);

    // Many at a time: a busy machine does less than ten a second one after the other.
    let limited = timeout(Duration::from_secs(60), async {
        loop {
            let responses = (0..20).map(|_| http(&stack, Some(&alice), offsets(topic)));
            let responses = join_all(responses).await;
            if let Some(response) = responses.into_iter().find(|response| response.status == 429) {
                return response;
            }
        }
    });
    is_limited(&limited.await.unwrap());
    assert_eq!(http(&stack, Some(&bob), offsets(topic)).await.status, 200);
    // In a session the command waits for its time.
    assert!(client.list_offset(topic, 0, At::Earliest).await.is_ok());

    // The first 50 KB can be read at once, and 10 KB a second of the rest. Nothing is lost.
    kafka.produce(topic, 0, &vec![Record::of("x".repeat(1_000)); 80], Write::default()).await.unwrap();
    let (began, mut next) = (Instant::now(), 0);
    while next < 282 {
        let message = socket.receive().await;
        let id = message["id"].as_i64();
        for record in message["messages"].as_array().into_iter().flatten().filter(|_| id == Some(1)) {
            assert_eq!(record["offset"], next, "{message}");
            next += 1;
        }
    }
    // Both subscriptions have them.
    assert!(began.elapsed() > Duration::from_secs(6), "{:?}", began.elapsed());
}

/// Many tokens of one person, and then many people at one address who write without pause.
#[tokio::test]
async fn crowds_leave_room_to_others() {
    let keys = json!({"identity": by_gateway(), "write": true});
    let stack = config(Way::Tunnel, &keys, BELIEVED).await.own().await;
    let mut open = Vec::new();
    for number in 0..200_u8 {
        // Each with a token of its own, from twenty addresses.
        let token = token("alice", &json!({"jti": number.to_string()}), 600);
        let (session, response) = upgrade(&stack, &token, [127, 0, 1, number % 20 + 1]).await;
        assert_eq!(response.status, 101, "{number}: {response:?}");
        open.push(session);
    }
    for _ in 0..3 {
        is_limited(&upgrade(&stack, &of("alice"), [127, 0, 2, 1]).await.1);
        let (mut bystander, response) = upgrade(&stack, &of("bob"), [127, 0, 1, 1]).await;
        assert_eq!(response.status, 101, "{response:?}");
        bystander.write(request(1, Req::CmdPing(CmdPing::default()))).await;
        bystander.answer().await;
    }
    // A place is free once a session has ended.
    drop(open.pop());
    let free = async { while upgrade(&stack, &of("alice"), [127, 0, 2, 1]).await.1.status != 101 {} };
    timeout(Duration::from_secs(10), free).await.unwrap();
    drop(open);

    let topic = Kafka::shared().await.unwrap().topic("flooded", 1, &[]).await.unwrap();
    let mut attack = JoinSet::new();
    for number in 0..20 {
        let client = session(&stack, Some(&of(&format!("attacker-{number}")))).await.unwrap();
        attack.spawn(flood(client, topic.clone()));
    }
    let (mut bystander, response) = upgrade(&stack, &of("bob"), [127, 0, 0, 2]).await;
    assert_eq!(response.status, 101, "{response:?}");
    let command = CmdKafkaProduce { records: records(&topic, 1), ..CmdKafkaProduce::default() };
    let command = request(1, Req::CmdKafkaProduce(command));
    let mut times = Vec::new();
    for _ in 0..50 {
        let began = Instant::now();
        bystander.write(&command).await;
        let answer = bystander.answer().await;
        assert!(format!("{answer:?}").contains("KafkaProduceResp"), "{answer:?}");
        times.push(began.elapsed());
    }
    times.sort_unstable();
    assert!(times[45] < Duration::from_secs(3), "{:?}", &times[40..]);
    assert!(attack.try_join_next().is_none(), "an attacker was closed");
}

/// Writes as much as it can until it is dropped.
async fn flood(client: Client, topic: String) {
    loop {
        let written = client.produce(records(&topic, 500)).await.unwrap();
        assert!(written.iter().flat_map(|written| written.as_ref().err()).all(|error| error.retriable));
    }
}

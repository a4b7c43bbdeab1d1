//! Identities that are renewed on the open socket.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use sluicegate_client::Client;
use sluicegate_protocol::ProduceRecord;
use sluicegate_stack::json_socket::{JsonSocket, upgrade};
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::stack::Stack;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_profile;

use crate::identity::stacks::{session, start, token};
use crate::identity::tokens::verifier;

in_every_profile! {
    renewal_changes_rights_on_the_open_socket
    subscription_has_no_gap_while_its_client_renews
    identity_of_the_gateway_is_renewed_by_the_bridge
    renewal_that_races_the_end_is_whole
}

/// A token of alice for so many seconds, with her teams.
fn alice(teams: &[&str], seconds: i64) -> String {
    token("alice", &json!({"aud": "app", "teams": teams}), seconds)
}

pub(crate) async fn open(stack: &Stack, token: &str) -> JsonSocket {
    let mut request = upgrade(&stack.url());
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    JsonSocket::open_with(request).await
}

pub(crate) async fn auth(socket: &mut JsonSocket, id: i64, token: &str) {
    socket.send(json!({"id": id, "auth": {"token": token}}).to_string()).await;
}

/// The next message with this id; those of others are left out.
pub(crate) async fn answer(socket: &mut JsonSocket, id: i64) -> Value {
    loop {
        let message = socket.receive().await;
        if message["id"] == id {
            return message;
        }
    }
}

fn route(shared: &str, from: &str) -> String {
    format!(
        r#""identity": {{{from}, "name": "main"}}, "claims": {{"teams": ["teams"]}},
           "read": ["{shared}", "{shared}.team.${{teams}}"], "write": ["{shared}"]"#
    )
}

async fn renewal_changes_rights_on_the_open_socket(way: Way) {
    let kafka = Kafka::shared().await.unwrap();
    let shared = kafka.topic("renewed", 1, &[]).await.unwrap();
    let of = |team: &str| format!("{shared}.team.{team}");
    for team in ["red", "blue"] {
        kafka.make_topic(&of(team), 1, &[]).await.unwrap();
    }
    let stack = start(way, kafka, &route(&shared, r#""from": "token""#), &verifier()).await;
    let mut socket = open(&stack, &alice(&["red"], 8)).await;
    let over = tokio::time::Instant::now() + Duration::from_secs(9);
    socket.send(r#"{"id": 1, "session": {}}"#).await;
    let left = answer(&mut socket, 1).await["session"]["expires_in_ms"].as_u64().unwrap();
    assert!(left <= 8_000, "{left}");
    for (id, topic) in [(2, &shared), (3, &of("red"))] {
        let topic = json!({"id": id, "subscribe": {"topic": topic}});
        socket.send(topic.to_string()).await;
        assert!(answer(&mut socket, id).await["subscribed"] != Value::Null);
    }
    // Neither another person's token nor an old one changes anything.
    let bob = token("bob", &json!({"aud": "app"}), 600);
    for (id, other) in [(4, bob), (5, alice(&["blue"], -1)), (6, "a.b.c".to_owned())] {
        auth(&mut socket, id, &other).await;
        assert_eq!(answer(&mut socket, id).await["error"]["reason"], "DENIED");
    }
    let expiring = answer(&mut socket, 1).await["expiring"]["expires_in_ms"].as_u64().unwrap();
    assert!(expiring <= 2_000, "{expiring}");
    auth(&mut socket, 7, &alice(&["blue"], 600)).await;
    let [denied, renewed] = [socket.receive().await, socket.receive().await];
    let (denied, renewed) = if denied["id"] == 7 { (renewed, denied) } else { (denied, renewed) };
    assert_eq!((&denied["id"], &denied["error"]["reason"]), (&json!(3), &json!("DENIED")));
    assert!(renewed["auth"]["expires_in_ms"].as_u64().unwrap() > 500_000, "{renewed}");
    for (id, topic, granted) in [(8, of("red"), false), (9, of("blue"), true)] {
        socket
            .send(json!({"id": id, "fetch": {"topic": topic, "partition": 0, "offset": 0}}).to_string())
            .await;
        assert_eq!(answer(&mut socket, id).await["error"].is_null(), granted, "{topic}");
    }
    // The first identity is over, and the other subscription goes on.
    tokio::time::sleep_until(over).await;
    write(&stack, &shared, 0..1).await;
    assert_eq!(answer(&mut socket, 2).await["messages"][0]["value"], 0);
}

async fn write(stack: &Stack, topic: &str, numbers: std::ops::Range<i32>) {
    let writer = session(stack, Some(&alice(&[], 600))).await.unwrap();
    produce(&writer, topic, numbers).await;
}

async fn produce(writer: &Client, topic: &str, numbers: std::ops::Range<i32>) {
    for number in numbers {
        let value = Some(number.to_string().into());
        let record = ProduceRecord { topic: topic.to_owned(), value, ..Default::default() };
        writer.produce(vec![record]).await.unwrap().remove(0).unwrap();
    }
}

async fn subscription_has_no_gap_while_its_client_renews(way: Way) {
    const RECORDS: i32 = 600;
    let kafka = Kafka::shared().await.unwrap();
    let shared = kafka.topic("renewed-busy", 1, &[]).await.unwrap();
    let stack = start(way, kafka, &route(&shared, r#""from": "token""#), &verifier()).await;
    let mut socket = open(&stack, &alice(&[], 3)).await;
    socket.send(json!({"id": 1, "subscribe": {"topic": shared}}).to_string()).await;
    answer(&mut socket, 1).await;
    let writer = session(&stack, Some(&alice(&[], 600))).await.unwrap();
    let (mut next, mut renewals) = (0, 0);
    let reads = async {
        auth(&mut socket, 2, &alice(&[], 3)).await;
        while next < RECORDS || renewals < 5 {
            let message = socket.receive().await;
            if message["id"] == 2 {
                assert!(message["auth"].is_object(), "{message}");
                renewals += 1;
                auth(&mut socket, 2, &alice(&[], 3)).await;
            }
            for record in message["messages"].as_array().into_iter().flatten() {
                assert_eq!(record["value"], next);
                next += 1;
            }
        }
    };
    tokio::join!(reads, produce(&writer, &shared, 0..RECORDS));
}

async fn identity_of_the_gateway_is_renewed_by_the_bridge(way: Way) {
    let kafka = Kafka::shared().await.unwrap();
    let shared = kafka.topic("renewed-gateway", 1, &[]).await.unwrap();
    let from = r#""from": "jwt_authn", "payload": "claims""#;
    let tables = verifier().replace("[identity]\n", "[identity]\nfrom_gateway = true\n");
    let stack = start(way, kafka, &route(&shared, from), &tables).await;
    let mut socket = open(&stack, &alice(&[], 2)).await;
    auth(&mut socket, 1, &alice(&[], 600)).await;
    assert!(answer(&mut socket, 1).await["auth"].is_object());
    tokio::time::sleep(Duration::from_secs(3)).await;
    socket.send(r#"{"id": 2, "ping": {}}"#).await;
    assert!(answer(&mut socket, 2).await["pong"].is_object());
}

/// A session whose renewal was acknowledged goes on, and another one is closed.
async fn renewal_that_races_the_end_is_whole(way: Way) {
    let kafka = Kafka::shared().await.unwrap();
    let shared = kafka.topic("renewed-late", 1, &[]).await.unwrap();
    let stack = start(way, kafka, &route(&shared, r#""from": "token""#), &verifier()).await;
    let short = alice(&[], 4);
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let end = Duration::from_secs(since_1970.as_secs() + 4);
    let race = async |number: u64| {
        let mut socket = open(&stack, &short).await;
        // From 0.5 s before the end, where it is certainly renewed, to a moment before it.
        let early = Duration::from_millis(500 - 12 * number);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        tokio::time::sleep((end - early).saturating_sub(now)).await;
        auth(&mut socket, 1, &alice(&[], 600)).await;
        match socket.receive_or_close().await {
            Ok(renewed) => {
                assert!(renewed["auth"].is_object(), "{renewed}");
                tokio::time::sleep(Duration::from_secs(1)).await;
                socket.send(r#"{"id": 2, "ping": {}}"#).await;
                assert!(socket.receive().await["pong"].is_object());
                true
            }
            Err(close) => {
                assert_eq!(close, (3000, "identity expired".to_owned()));
                false
            }
        }
    };
    let renewed = futures_util::future::join_all((0..40).map(race)).await;
    assert!(renewed[0], "{renewed:?}");
}

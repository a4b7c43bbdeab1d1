//! Identities that are renewed on the open socket.

use std::time::Duration;

use serde_json::json;
use sluicegate_protocol::ProduceRecord;
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::tokens::Signer;
use sluicegate_stack::way::Way;
use tokio::time::{Instant, sleep_until};

use crate::identity::stacks::{
    ISSUER, answer, command, good, now, of_bridge, of_gateway, open, session, token,
};

/// A token of alice for so many seconds, with her teams.
fn alice(teams: &[&str], seconds: i64) -> String {
    token("alice", &json!({"aud": "app", "teams": teams}), seconds)
}

#[tokio::test]
async fn renewal_changes_rights_on_the_open_socket() {
    let kafka = Kafka::shared().await.unwrap();
    let shared = kafka.topic("open-renewed", 1, &[]).await.unwrap();
    let of = |team: &str| format!("team.{team}");
    for team in ["red", "blue"] {
        kafka.make_topic(&of(team), 1, &[]).await.unwrap();
    }
    let stack = of_bridge(Way::Tunnel).await;
    let mut socket = open(&stack, &alice(&["red"], 8)).await;
    let over = Instant::now() + Duration::from_secs(9);
    let limits = command(&mut socket, 1, "session", json!({})).await;
    assert!(limits["session"]["expires_in_ms"].as_u64().unwrap() <= 8_000, "{limits}");
    for (id, topic) in [(2, &shared), (3, &of("red"))] {
        let subscribed = command(&mut socket, id, "subscribe", json!({"topic": topic})).await;
        assert!(!subscribed["subscribed"].is_null(), "{subscribed}");
    }
    // Tokens of another person, old ones and forged ones change nothing.
    let claims = json!({"iss": ISSUER, "sub": "alice", "aud": "app", "exp": now() + 600});
    let forged = Signer::new().unwrap().sign_json(&claims).unwrap();
    for (id, other) in [(4, good("bob")), (5, alice(&["blue"], -1)), (6, "a.b.c".to_owned()), (10, forged)] {
        let refused = command(&mut socket, id, "auth", json!({"token": other})).await;
        assert_eq!(refused["error"]["reason"], "DENIED", "{refused}");
        assert!(!refused.to_string().contains(&other), "{refused}");
    }
    let expiring = answer(&mut socket, 1).await["expiring"]["expires_in_ms"].as_u64().unwrap();
    assert!(expiring <= 2_000, "{expiring}");
    socket.send(json!({"id": 7, "auth": {"token": alice(&["blue"], 600)}}).to_string()).await;
    let [denied, renewed] = [socket.receive().await, socket.receive().await];
    let (denied, renewed) = if denied["id"] == 7 { (renewed, denied) } else { (denied, renewed) };
    assert_eq!((&denied["id"], &denied["error"]["reason"]), (&json!(3), &json!("DENIED")));
    assert!(renewed["auth"]["expires_in_ms"].as_u64().unwrap() > 500_000, "{renewed}");
    for (id, topic, granted) in [(8, of("red"), false), (9, of("blue"), true)] {
        let fetch = json!({"topic": topic, "partition": 0, "offset": 0});
        let fetched = command(&mut socket, id, "fetch", fetch).await;
        assert_eq!(fetched["error"].is_null(), granted, "{topic}");
    }
    // The first identity is over, and the other subscription goes on.
    sleep_until(over).await;
    let writer = session(&stack, Some(&alice(&[], 600))).await.unwrap();
    let record = ProduceRecord { topic: shared, value: Some("0".into()), ..Default::default() };
    writer.produce(vec![record]).await.unwrap().remove(0).unwrap();
    assert_eq!(answer(&mut socket, 2).await["messages"][0]["value"], 0);
}

#[tokio::test]
async fn identity_of_the_gateway_is_renewed_by_the_bridge() {
    let stack = of_gateway(Way::Tunnel).await;
    let mut socket = open(&stack, &alice(&[], 2)).await;
    let over = Instant::now() + Duration::from_secs(3);
    let renewed = command(&mut socket, 1, "auth", json!({"token": good("alice")})).await;
    assert!(renewed["auth"].is_object(), "{renewed}");
    sleep_until(over).await;
    assert!(command(&mut socket, 2, "ping", json!({})).await["pong"].is_object());
}

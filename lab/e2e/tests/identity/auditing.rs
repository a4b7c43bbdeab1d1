//! The audit log of a real bridge: sessions, refusals and denied commands with their people. `sluicegate-telemetry` tests
//! the file and its rotation.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use sluicegate_stack::http::client::Request;
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::waiting::{becomes, until};
use sluicegate_stack::way::Way;

use crate::identity::ending::{events, rest};
use crate::identity::stacks::{
    ISSUER, audit_log, close, command, good, http, of_bridge, open, revoked, session, token,
};

/// The lines of a person, whom no other test knows, once there are all but some denials.
async fn lines(log: &Path) -> Vec<Value> {
    until("the audit log is complete", Duration::from_secs(5), async || {
        let text = std::fs::read_to_string(log).map_err(|error| error.to_string())?;
        let is_hers = |line: &Value| line["subject"] == "audrey";
        let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok()).filter(is_hers);
        let lines: Vec<Value> = lines.collect();
        let ends = lines.iter().filter(|line| line["event"] == "closed").count();
        let others = lines.iter().filter(|line| line["event"] != "denied").count();
        match (ends, others) == (2, 7) {
            true => Ok(lines),
            false => Err(text),
        }
    })
    .await
}

#[tokio::test]
async fn audit_log_names_people_of_sessions_refusals_and_denials() {
    let kafka = Kafka::shared().await.unwrap();
    let topic = kafka.topic("open-audited", 1, &[]).await.unwrap();
    let (stack, list) = (of_bridge(Way::Tunnel).await, revoked());
    let hers = |id: &str| token("audrey", &json!({"aud": "app", "jti": id, "email": "a@shop.example"}), 600);

    let mut socket = open(&stack, &hers("one")).await;
    for id in 1..=20 {
        let denied = command(&mut socket, id, "subscribe", json!({"topic": "other"})).await;
        assert_eq!(denied["error"]["reason"], "DENIED");
    }
    let renewed = command(&mut socket, 30, "auth", json!({"token": hers("two")})).await;
    assert!(renewed["auth"].is_object(), "{renewed}");
    let denied = command(&mut socket, 31, "auth", json!({"token": good("bob")})).await;
    assert_eq!(denied["error"]["reason"], "DENIED");
    let events = events(&stack, &topic, &hers("two")).await;
    assert_eq!(http(&stack, Some(&hers("two")), Request::get("/kafka/topics/other")).await.status, 403);
    let entry = json!({"iss": ISSUER, "sub": "audrey", "issued_until": 1_u64 << 40, "until": 1_u64 << 40});
    std::fs::write(&list, format!("{entry}\n")).unwrap();
    rest(events).await;
    assert_eq!(close(&mut socket).await.0, 3000);
    // A line that is none takes nothing back.
    std::fs::write(&list, "audrey\n").unwrap();
    let invalid = async || stack.bridge.count("sluicegate_revocations_invalid_lines", "").await;
    becomes("sluicegate_revocations_invalid_lines", Ok(1.0), Duration::from_secs(10), invalid).await;
    let forged = token("audrey", &json!({"aud": "other"}), 600);
    session(&stack, Some(&forged)).await.unwrap_err();
    assert_eq!(http(&stack, Some(&forged), Request::get("/kafka/topics")).await.status, 401);
    session(&stack, Some(&hers("three"))).await.unwrap_err();

    let log = audit_log(Way::Tunnel);
    let found = lines(&log).await;
    let has = |line: &Value, names: &[&str]| names.iter().all(|name| !line[*name].is_null());
    for line in &found {
        assert!(has(line, &["timestamp", "event", "kind", "route", "address", "cluster"]), "{line}");
    }
    let event = |line: &Value| {
        let [event, kind, token_id, reason, command] = ["event", "kind", "token_id", "reason", "command"]
            .map(|name| line[name].as_str().unwrap_or("-").to_owned());
        let what = if reason == "-" { command } else { reason };
        format!("{event} {what} {kind} {token_id}")
    };
    let mut told: Vec<String> = found.iter().map(event).collect();
    // Both end at once.
    told.sort_unstable();
    let denials = told.iter().filter(|line| *line == "denied subscribe session one").count();
    assert!((1..20).contains(&denials), "{told:#?}");
    told.retain(|line| *line != "denied subscribe session one");
    let expected = [
        "closed revoked events two",
        "closed revoked session two",
        "denied topics http two",
        "opened - events two",
        "opened - session one",
        "refused identity_other session two",
        "refused identity_revoked session three",
        "renewed - session two",
    ];
    assert_eq!(told, expected);
    let denied = found.iter().find(|line| line["event"] == "denied" && line["kind"] == "http").unwrap();
    assert_eq!((&denied["right"], &denied["topic"]), (&json!("read"), &json!("other")), "{denied}");
    let closed = found.iter().find(|line| line["event"] == "closed" && line["kind"] == "session").unwrap();
    assert_eq!((&closed["commands"], &closed["denied"]), (&json!(20), &json!(20)), "{closed}");
    assert!(closed["sent_bytes"].as_u64() > Some(100) && closed["received_bytes"].as_u64() > Some(100));
    assert_eq!(closed["claims"], json!({"email": "a@shop.example"}));
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(!text.contains("eyJ"), "a token");
    // A forged token names nobody: its lines are none of hers.
    let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    for kind in ["session", "http"] {
        let is_forged = |line: &Value| line["kind"] == kind && line["reason"] == "identity_invalid";
        let forged = lines.iter().find(|line| is_forged(line)).unwrap();
        assert!(forged["event"] == "refused" && forged["subject"].is_null(), "{forged}");
    }
}

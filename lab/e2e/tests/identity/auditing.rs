//! The audit log of a real bridge: sessions, refusals and denied commands with their people. `sluicegate-telemetry` tests
//! the file and its rotation.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use sluicegate_stack::folder::Folder;
use sluicegate_stack::http::client::Request;
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::waiting::{becomes, until};
use sluicegate_stack::way::Way;

use crate::identity::ending::{events, rest};
use crate::identity::stacks::{
    ISSUER, SIGNER, by_bridge, close, command, config, good, http, open, session, token, verifier,
};

/// The lines of an audit log, once it has all but some denials.
async fn lines(log: &Path) -> Vec<Value> {
    until("the audit log is complete", Duration::from_secs(5), async || {
        let text = std::fs::read_to_string(log).map_err(|error| error.to_string())?;
        // Lines of the readiness check are of nobody.
        let is_told = |line: &Value| line["reason"] != "identity_missing";
        let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok()).filter(is_told);
        let lines: Vec<Value> = lines.collect();
        let ends = lines.iter().filter(|line| line["event"] == "closed").count();
        let others = lines.iter().filter(|line| line["event"] != "denied").count();
        match (ends, others) == (2, 9) {
            true => Ok(lines),
            false => Err(text),
        }
    })
    .await
}

#[tokio::test]
async fn audit_log_names_people_of_sessions_refusals_and_denials() {
    let kafka = Kafka::shared().await.unwrap();
    let topic = kafka.topic("audited", 1, &[]).await.unwrap();
    let folder = Folder::new("audited").unwrap();
    let (log, list) = (folder.path().join("audit.jsonl"), folder.path().join("revoked.jsonl"));
    std::fs::write(&list, "").unwrap();
    let audit = format!("[audit]\nfile = {log:?}\nclaims = [\"email\", \"absent\"]");
    let tables = format!("{}[revocation]\nlist_file = {list:?}\n{audit}", verifier());
    let keys = json!({"identity": by_bridge(), "topics": [topic]});
    let stack = config(Way::Tunnel, &keys, &tables).await.own().await;
    let alice = |id: &str| token("alice", &json!({"aud": "app", "jti": id, "email": "a@shop.example"}), 600);

    let mut hers = open(&stack, &alice("one")).await;
    for id in 1..=20 {
        let denied = command(&mut hers, id, "subscribe", json!({"topic": "other"})).await;
        assert_eq!(denied["error"]["reason"], "DENIED");
    }
    let renewed = command(&mut hers, 30, "auth", json!({"token": alice("two")})).await;
    assert!(renewed["auth"].is_object(), "{renewed}");
    let denied = command(&mut hers, 31, "auth", json!({"token": good("bob")})).await;
    assert_eq!(denied["error"]["reason"], "DENIED");
    let events = events(&stack, &topic, &alice("two")).await;
    assert_eq!(http(&stack, Some(&alice("two")), Request::get("/kafka/topics/other")).await.status, 403);
    let forged = SIGNER.sign_json(&json!({"iss": ISSUER, "sub": "admin", "aud": "other"})).unwrap();
    session(&stack, Some(&forged)).await.unwrap_err();
    assert_eq!(http(&stack, Some(&forged), Request::get("/kafka/topics")).await.status, 401);
    let entry = json!({"iss": ISSUER, "sub": "alice", "issued_until": 1_u64 << 40, "until": 1_u64 << 40});
    std::fs::write(&list, format!("{entry}\n")).unwrap();
    rest(events).await;
    assert_eq!(close(&mut hers).await.0, 3000);
    // A line that is none takes nothing back.
    std::fs::write(&list, "alice\n").unwrap();
    let invalid = async || stack.bridge.count("sluicegate_revocations_invalid_lines", "").await;
    becomes("sluicegate_revocations_invalid_lines", Ok(1.0), Duration::from_secs(10), invalid).await;
    session(&stack, Some(&alice("three"))).await.unwrap_err();

    let found = lines(&log).await;
    let has = |line: &Value, names: &[&str]| names.iter().all(|name| !line[*name].is_null());
    for line in &found {
        assert!(has(line, &["timestamp", "event", "kind", "route", "address", "cluster"]), "{line}");
    }
    let event = |line: &Value| {
        let [event, kind, subject, token_id, reason, command] =
            ["event", "kind", "subject", "token_id", "reason", "command"]
                .map(|name| line[name].as_str().unwrap_or("-").to_owned());
        let what = if reason == "-" { command } else { reason };
        format!("{event} {what} {kind} {subject} {token_id}")
    };
    let mut told: Vec<String> = found.iter().map(event).collect();
    // Both end at once.
    told.sort_unstable();
    let denials = told.iter().filter(|line| *line == "denied subscribe session alice one").count();
    assert!((1..20).contains(&denials), "{told:#?}");
    told.retain(|line| *line != "denied subscribe session alice one");
    let expected = [
        "closed revoked events alice two",
        "closed revoked session alice two",
        "denied topics http alice two",
        "opened - events alice two",
        "opened - session alice one",
        "refused identity_invalid http - -",
        "refused identity_invalid session - -",
        "refused identity_other session alice two",
        "refused identity_revoked session alice three",
        "renewed - session alice two",
    ];
    assert_eq!(told, expected);
    let denied = found.iter().find(|line| line["event"] == "denied" && line["kind"] == "http").unwrap();
    assert_eq!((&denied["right"], &denied["topic"]), (&json!("read"), &json!("other")), "{denied}");
    let closed = found.iter().find(|line| line["event"] == "closed" && line["kind"] == "session").unwrap();
    assert_eq!((&closed["commands"], &closed["denied"]), (&json!(20), &json!(20)), "{closed}");
    assert!(closed["sent_bytes"].as_u64() > Some(100) && closed["received_bytes"].as_u64() > Some(100));
    assert_eq!(closed["claims"], json!({"email": "a@shop.example"}));
    assert!(!std::fs::read_to_string(&log).unwrap().contains("eyJ"), "a token");
}

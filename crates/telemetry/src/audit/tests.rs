use super::*;

/// A directory that is removed at the end, and a log in it.
fn log() -> (tempfile::TempDir, std::path::PathBuf, AuditLog, Counter) {
    let directory = tempfile::tempdir().unwrap();
    let (path, dropped) = (directory.path().join("audit.jsonl"), Counter::default());
    let log = AuditLog::open(&path, dropped.clone()).unwrap();
    (directory, path, log, dropped)
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn source(address: &str) -> ClientKey {
    ClientKey::parse(address.as_bytes())
}

#[tokio::test]
async fn line_has_what_is_known() {
    let (_directory, path, log, _) = log();
    let claims = serde_json::json!({"email": "alice@shop.example\n"});
    let client = Client {
        id: Some(17),
        kind: Some("session"),
        address: source("192.0.2.1").address(),
        subject: Some("alice\"\u{2028}\n"),
        claims: claims.as_object(),
        ..Client::default()
    };
    log.log(source("192.0.2.1"), client, Event::Opened);
    let event =
        Event::Closed { reason: "left", age_ms: 1, received_bytes: 2, sent_bytes: 3, commands: 4, denied: 5 };
    log.log(source("192.0.2.1"), Client::default(), event);
    log.flush().await;
    let mut lines = lines(&path);
    for line in &mut lines {
        let timestamp = line.as_object_mut().unwrap().remove("timestamp").unwrap();
        OffsetDateTime::parse(timestamp.as_str().unwrap(), &Rfc3339).unwrap();
    }
    let expected = [
        serde_json::json!({
            "event": "opened", "id": 17, "kind": "session", "address": "192.0.2.1",
            "subject": "alice\"\u{2028}\n", "claims": claims,
        }),
        serde_json::json!({
            "event": "closed", "reason": "left", "age_ms": 1, "received_bytes": 2, "sent_bytes": 3,
            "commands": 4, "denied": 5,
        }),
    ];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn denials_of_one_person_do_not_hide_those_of_others() {
    let (_directory, path, log, _) = log();
    let person = |subject| Client { subject: Some(subject), ..Client::default() };
    for subject in ["mallory", "mallory", "alice", "mallory"] {
        log.log(source("192.0.2.1"), person(subject), Event::Denied { command: "fetch" });
    }
    log.log(source("192.0.2.1"), person("mallory"), Event::Denied { command: "produce" });
    log.flush().await;
    let lines = lines(&path);
    let found: Vec<_> =
        lines.iter().map(|line| (line["subject"].as_str(), line["command"].as_str())).collect();
    let line = |subject, command| (Some(subject), Some(command));
    assert_eq!(found, [line("mallory", "fetch"), line("alice", "fetch"), line("mallory", "produce")]);
}

#[tokio::test]
async fn file_is_opened_anew_after_a_rotation() {
    let (directory, path, log, dropped) = log();
    log.log(source("192.0.2.1"), Client::default(), Event::Opened);
    log.flush().await;
    let rotated = directory.path().join("audit.jsonl.1");
    std::fs::rename(&path, &rotated).unwrap();
    log.log(source("192.0.2.1"), Client::default(), Event::Renewed);
    log.reopen();
    log.log(source("192.0.2.1"), Client::default(), Event::Opened);
    log.flush().await;
    let events = |path| lines(path).iter().map(|line| line["event"].clone()).collect::<Vec<_>>();
    assert_eq!(
        (events(&rotated), events(&path)),
        (vec!["opened".into(), "renewed".into()], vec!["opened".into()])
    );
    std::fs::remove_dir_all(directory.path()).unwrap();
    log.reopen();
    log.log(source("192.0.2.1"), Client::default(), Event::Opened);
    log.flush().await;
    assert_eq!(dropped.get(), 0, "the open file stays in use");
}

/// A pipe that nobody reads is full soon.
#[tokio::test]
async fn flood_of_one_source_drops_no_line_of_another() {
    let directory = tempfile::tempdir().unwrap();
    let (path, dropped) = (directory.path().join("pipe"), Counter::default());
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    // Opened for both directions, which does not wait for a writer.
    let mut reader = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let log = AuditLog::open(&path, dropped.clone()).unwrap();
    let long = "x".repeat(1000);
    let attacker = Client { subject: Some(&long), ..Client::default() };
    let mut sent = 0;
    while dropped.get() == 0 {
        log.log(source("192.0.2.1"), attacker, Event::Opened);
        sent += 1;
        assert!(sent < 100_000, "the queue has no end");
    }
    let bystander = Client { subject: Some("alice"), ..Client::default() };
    for _ in 0..100 {
        log.log(source("192.0.2.2"), bystander, Event::Opened);
    }
    assert_eq!(dropped.get(), 1);
    drop(log);
    let read = std::thread::spawn(move || {
        use std::io::{BufRead, BufReader};
        let lines = BufReader::new(&mut reader).lines().map(Result::unwrap);
        lines.filter(|line| line.contains("alice")).take(100).count()
    });
    assert_eq!(read.join().unwrap(), 100);
}

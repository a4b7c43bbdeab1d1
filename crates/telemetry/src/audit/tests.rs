//! Lines as they stand in the file, when it is rotated, full, or read by nobody.

use serde_json::{Value, json};

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

fn denied<'a>(command: &'static str, right: &'static str, topic: &'a str) -> Event<'a> {
    Event::Denied { command, right: Some(right), topic: Some(topic) }
}

#[tokio::test]
async fn line_has_what_is_known() {
    let (_directory, path, log, _) = log();
    let claims = serde_json::value::to_raw_value(&json!({"email": "alice@shop.example\n"})).unwrap();
    let long = "é".repeat(300);
    let client = Client {
        id: Some(17),
        kind: Some("session"),
        address: source("192.0.2.1").address(),
        route: Some(&long),
        subject: Some("alice\"\u{2028}\u{9b}31m\n"),
        claims: Some(&claims),
        ..Client::default()
    };
    log.log(source("192.0.2.1"), client, Event::Opened);
    let event =
        Event::Closed { reason: "left", age_ms: 1, received_bytes: 2, sent_bytes: 3, commands: 4, denied: 5 };
    log.log(source("192.0.2.1"), Client::default(), event);
    log.flush().await;
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o137, 0, "only owner and group read it");
    let text = std::fs::read_to_string(&path).unwrap();
    let is_plain = |character: char| !character.is_control() && character != '\u{2028}';
    assert!(text.chars().all(|character| character == '\n' || is_plain(character)));
    let mut lines = lines(&path);
    for line in &mut lines {
        let timestamp = line.as_object_mut().unwrap().remove("timestamp").unwrap();
        assert_eq!(timestamp.as_str().map(str::len), Some("2026-11-25T05:00:00.123Z".len()));
    }
    let expected = [
        json!({
            "event": "opened", "id": 17, "kind": "session", "address": "192.0.2.1",
            "route": shown::name(&long), "subject": "alice\"\u{2028}\u{9b}31m\n",
            "claims": {"email": "alice@shop.example\n"},
        }),
        json!({
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
        log.log(source("192.0.2.1"), person(subject), denied("fetch", "read", "t"));
    }
    log.log(source("192.0.2.1"), person("mallory"), denied("produce", "write", "t"));
    log.flush().await;
    let lines = lines(&path);
    let found = lines.iter().map(|line| ["subject", "command"].map(|member| line[member].as_str().unwrap()));
    let found: Vec<_> = found.collect();
    assert_eq!(found, [["mallory", "fetch"], ["alice", "fetch"], ["mallory", "produce"]]);
}

#[tokio::test]
async fn denial_names_right_topic_and_trace() {
    let (_directory, path, log, _) = log();
    let context = traces::current();
    let logged = async {
        log.log(source("192.0.2.1"), Client::default(), denied("produce", "write", "orders\n"));
        // Clients choose topics: of many, only a few have lines.
        for number in 0..1_000 {
            log.log(source("192.0.2.1"), Client::default(), denied("fetch", "read", &number.to_string()));
        }
        traces::current_id()
    };
    let id = context.scope(logged).await;
    log.flush().await;
    let mut lines = lines(&path);
    let line = lines.remove(0);
    let found = ["command", "right", "topic", "trace_id"].map(|member| line[member].as_str());
    assert_eq!(found, ["produce", "write", "orders\n", id.as_str()].map(Some));
    assert!((2..=8).contains(&lines.len()), "{lines:?}");
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
    assert_eq!(events(&rotated), ["opened", "renewed"]);
    assert_eq!(events(&path), ["opened"]);
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
    assert!(AuditLog::open(&path, dropped.clone()).is_err(), "nobody reads it");
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
    assert_eq!(["192.0.2.1", "192.0.2.2"].map(|of| log.has_room(source(of))), [false, true]);
    drop(log);
    let read = std::thread::spawn(move || {
        use std::io::{BufRead, BufReader};
        let lines = BufReader::new(&mut reader).lines().map(Result::unwrap);
        lines.filter(|line| line.contains("alice")).take(100).count()
    });
    assert_eq!(read.join().unwrap(), 100);
}

#[tokio::test]
async fn full_disk_loses_lines_and_nothing_else() {
    let (directory, dropped) = (tempfile::tempdir().unwrap(), Counter::default());
    let path = directory.path().join("audit.jsonl");
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let log = AuditLog::open(&path, dropped.clone()).unwrap();
    assert!(log.has_room(source("192.0.2.1")));
    for _ in 0..3 {
        log.log(source("192.0.2.1"), Client::default(), Event::Opened);
    }
    assert!(!log.flush().await);
    assert!(dropped.get() == 3 && !log.has_room(source("192.0.2.1")));
    // Somebody makes room.
    std::fs::remove_file(&path).unwrap();
    log.reopen();
    log.log(source("192.0.2.1"), Client::default(), Event::Opened);
    assert!(log.flush().await);
    assert!(dropped.get() == 3 && log.has_room(source("192.0.2.1")));
}

#[test]
fn line_after_a_torn_one_begins_anew() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let mut file = File::open(&path, Counter::default()).unwrap();
    file.is_torn = true;
    file.write(b"second\n");
    file.write(b"third\n");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "\nsecond\nthird\n");
}
